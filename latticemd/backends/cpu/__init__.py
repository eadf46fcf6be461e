"""The kernels of `latticemd.backends.specification`, compiled by numba for the CPU.

Arrays are swept in blocks that stay in cache: a whole string of letters is applied to a block before the next one is
touched, so each array crosses the memory bus once. Sums are exact until the end (`latticemd.backends.cpu.exact`), so they
depend neither on the number of threads nor on how many replicas share a call, nor on which sites are here.
"""

from __future__ import annotations

from latticemd.backends.cpu.motion import normals, overdamped, split
from latticemd.backends.cpu.reductions import all_bounded, dot, kinetic_energy, total
from latticemd.backends.cpu.spins import spins_first_half, spins_second_half
from latticemd.backends.cpu.stencil import neighbour_sum
from latticemd.backends.cpu.thermostats import nose_hoover, resampling
from latticemd.backends.specification import cut_bonds, group_sums, listed_sum

__all__ = [
    "all_bounded",
    "cut_bonds",
    "dot",
    "group_sums",
    "kinetic_energy",
    "listed_sum",
    "neighbour_sum",
    "normals",
    "nose_hoover",
    "overdamped",
    "resampling",
    "spins_first_half",
    "spins_second_half",
    "split",
    "total",
]
