"""Unit spins on the device: the arithmetic is that of `cuda_kernels.spins`.

A thread takes two spins, whose six components have their noise from three calls of the generator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels import spins
from cuda_kernels.device import THREADS, device, kernel, shared_source
from cuda_kernels.noise import normal_pair
from cuda_kernels.summing import sum_of_row
from cuda_kernels.threads import row_and_block

Array = Any

SPINS_PER_BLOCK = 2 * THREADS

_spins = shared_source(spins, "cross", "rotated", "turned", "first_half", "second_half")
_first_half, _second_half = _spins.first_half, _spins.second_half


@device
def _first_of_spin(
    r: int,
    i: int,
    bx: float,
    by: float,
    bz: float,
    x: Array,
    f: Array,
    time: float,
    damping: float,
    base: Array,
    moved: Array,
) -> float:
    mx, my, mz, dx, dy, dz, gx, gy, gz, work = _first_half(
        float(x[r, i, 0]), float(x[r, i, 1]), float(x[r, i, 2]),
        float(f[r, i, 0]), float(f[r, i, 1]), float(f[r, i, 2]), bx, by, bz, time, damping,
    )  # fmt: skip
    base[r, i, 0], base[r, i, 1], base[r, i, 2] = mx, my, mz
    moved[r, i, 0], moved[r, i, 1], moved[r, i, 2] = dx, dy, dz
    x[r, i, 0], x[r, i, 1], x[r, i, 2] = gx, gy, gz
    return work


@kernel
def first_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    key: int,
    stream: int,
    step: int,
    first: int,
    per_row: int,
    base: Array,
    moved: Array,
    heat: Array,
    parts: Array,
    arrived: Array,
) -> None:
    """See `latticemd.backends.specification.spins_first_half`; arrays (R, N, 3)."""
    scratch = cuda.shared.array(THREADS, np.float64)
    last = cuda.shared.array(1, np.int32)
    r, block = row_and_block(per_row)
    i = 2 * (block * THREADS + cuda.threadIdx.x)
    work = 0.0
    if i < x.shape[1]:
        a0, a1, a2, b0, b1, b2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        if amplitude != 0.0:
            zero, replica, pair = np.uint64(0), first + np.uint64(r), np.uint64(3 * (i // 2))
            a0, a1 = normal_pair(key, stream, zero, step, replica, pair)
            a2, b0 = normal_pair(key, stream, zero, step, replica, pair + np.uint64(1))
            b1, b2 = normal_pair(key, stream, zero, step, replica, pair + np.uint64(2))
        w = amplitude
        work += _first_of_spin(r, i, w * a0, w * a1, w * a2, x, f, time, damping, base, moved)
        if i + 1 < x.shape[1]:
            work += _first_of_spin(r, i + 1, w * b0, w * b1, w * b2, x, f, time, damping, base, moved)
    total = sum_of_row(work, r, block, per_row, parts, arrived, scratch, last)
    if last[0] == 1 and cuda.threadIdx.x == 0:
        heat[r] -= total


@kernel
def second_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    per_row: int,
    base: Array,
    moved: Array,
    heat: Array,
    parts: Array,
    arrived: Array,
) -> None:
    """See `latticemd.backends.specification.spins_second_half`; arrays (R, N, 3)."""
    scratch = cuda.shared.array(THREADS, np.float64)
    last = cuda.shared.array(1, np.int32)
    r, block = row_and_block(per_row)
    work = 0.0
    for turn in range(2):
        i = 2 * block * THREADS + turn * THREADS + cuda.threadIdx.x
        if i < x.shape[1]:
            sx, sy, sz, done = _second_half(
                float(base[r, i, 0]), float(base[r, i, 1]), float(base[r, i, 2]),
                float(moved[r, i, 0]), float(moved[r, i, 1]), float(moved[r, i, 2]),
                float(x[r, i, 0]), float(x[r, i, 1]), float(x[r, i, 2]),
                float(f[r, i, 0]), float(f[r, i, 1]), float(f[r, i, 2]), time, damping,
            )  # fmt: skip
            x[r, i, 0], x[r, i, 1], x[r, i, 2] = sx, sy, sz
            work += done
    total = sum_of_row(work, r, block, per_row, parts, arrived, scratch, last)
    if last[0] == 1 and cuda.threadIdx.x == 0:
        heat[r] -= total
