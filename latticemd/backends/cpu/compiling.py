"""How kernels for the CPU are compiled, and how arrays are cut into blocks for them.

Each sweep over blocks comes twice, with range and with prange: compiled from one function with two sets of options they
would share, and overwrite, one entry of numba's cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import get_num_threads, njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from cuda_kernels import philox, spins, tally, thermostats
from latticemd.backends.place import Place

Array = NDArray[Any]

BLOCK = 2048  # degrees of freedom; x, p and f of a block take 48 KiB
PARALLEL_FROM = 65536  # degrees of freedom below which waking the threads costs more than they save

# The ground floor's sources become callable from compiled code. Those of sites are inlined by force: loops over sites
# become SIMD code only when no call is left in them (13 times faster).
for _site in (
    philox.philox_round,
    philox.philox4x32,
    philox.uniform,
    philox.log,
    philox.sincos_turn,
    philox.counter,
    philox.uniform_pair,
    philox.normal_pair,
    spins.cross,
    spins.rotated,
    spins.turned,
    spins.first_half,
    spins.second_half,
):
    register_jitable(error_model="numpy", forceinline=True)(_site)
for _replica in (
    thermostats.chain_factor,
    thermostats.chain_energy,
    thermostats.resampling_factor,
    tally.carry,
    tally.rounded,
):
    register_jitable(error_model="numpy")(_replica)

jit = njit(error_model="numpy", cache=True, nogil=True)
jit_parallel = njit(error_model="numpy", cache=True, nogil=True, parallel=True)


def worth_threads(degrees: int) -> bool:
    """Whether a sweep over so many degrees of freedom should wake the threads."""
    return degrees >= PARALLEL_FROM and get_num_threads() > 1


def rows_of(array: Array) -> Array:
    """(R, N, D) as (R, N D)."""
    return array.reshape(len(array), -1)


def pieces_of(x: Array, place: Place, most: int = BLOCK) -> Array:
    """How (R, N, ...) is cut for a sweep, (B, 3): see `Place.pieces`."""
    return place.pieces(x.shape[1], math.prod(x.shape[2:]), most)


def words_of(key: int, stream: int, occurrence: int, step: int, first_replica: int) -> Array:
    """Who asks for noise, as the unsigned words that `cuda_kernels.philox` takes."""
    return np.array([key, stream, occurrence, step, first_replica], dtype=np.uint64)
