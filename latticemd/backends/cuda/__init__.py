"""The kernels of `latticemd.backends.specification` on a GPU, for arrays that live there.

They agree with the specification to rounding: GPUs contract multiply-adds. The same device gives the same bytes again.
Nothing crosses the bus but what `to_host` is asked for. A GPU has the whole lattice, so what kernels are told of their `Place` is
left aside.
"""

from __future__ import annotations

from latticemd.backends.cuda.motion import normals, overdamped, split
from latticemd.backends.cuda.reductions import (
    all_bounded,
    cut_bonds,
    dot,
    group_sums,
    kinetic_energy,
    note_unbounded,
    total,
)
from latticemd.backends.cuda.spins import spins_first_half, spins_second_half
from latticemd.backends.cuda.stencil import listed_sum, neighbour_sum
from latticemd.backends.cuda.thermostats import nose_hoover, resampling

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
    "note_unbounded",
    "overdamped",
    "resampling",
    "spins_first_half",
    "spins_second_half",
    "split",
    "total",
]
