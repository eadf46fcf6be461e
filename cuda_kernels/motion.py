"""Strings of letters and overdamped moves, each one sweep over memory.

A string is a tuple of codes, its coefficients a tuple of numbers: kernels are compiled for each length, and both travel with
the launch, not through memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels.device import THREADS, kernel
from cuda_kernels.letters import DRIFT, KICK, ROTATION
from cuda_kernels.noise import normal_pair
from cuda_kernels.summing import sum_of_row
from cuda_kernels.threads import TURNS, pair_of, row_and_block

Array = Any


@kernel
def split(
    letters: tuple[int, ...],
    coefficients: tuple[float, ...],
    uses: tuple[bool, bool, bool, bool],
    x: Array,
    p: Array,
    f: Array,
    key: int,
    stream: int,
    step: int,
    first: int,
    occurrence: int,
    half_inverse_mass: float,
    per_row: int,
    heat: Array,
    parts: Array,
    arrived: Array,
) -> None:
    """Apply the letters in order to x, p (R, n); three coefficients for each, see `latticemd.backends.specification.split`.

    `uses` says whether the string reads x, writes x, reads f, and gives heat: what it doesn't touch crosses no bus.
    """
    scratch = cuda.shared.array(THREADS, np.float64)
    last = cuda.shared.array(1, np.int32)
    reads_x, writes_x, reads_f, heats = uses
    r, block = row_and_block(per_row)
    n = p.shape[1]
    given = 0.0
    for turn in range(TURNS):
        j = pair_of(block, turn)
        if 2 * j < n:
            both = 2 * j + 1 < n
            x0, x1, p0, p1, f0, f1 = 0.0, 0.0, float(p[r, 2 * j]), 0.0, 0.0, 0.0
            if reads_x:
                x0 = float(x[r, 2 * j])
            if reads_f:
                f0 = float(f[r, 2 * j])
            if both:
                p1 = float(p[r, 2 * j + 1])
                if reads_x:
                    x1 = float(x[r, 2 * j + 1])
                if reads_f:
                    f1 = float(f[r, 2 * j + 1])
            drawn: Any = occurrence
            for k in range(len(letters)):
                a, b, c = coefficients[3 * k], coefficients[3 * k + 1], coefficients[3 * k + 2]
                if letters[k] == DRIFT:
                    x0 += a * p0
                    x1 += a * p1
                elif letters[k] == KICK:
                    p0 += a * f0 + b * x0
                    p1 += a * f1 + b * x1
                elif letters[k] == ROTATION:
                    x0, p0 = a * x0 + b * p0, a * p0 - c * x0
                    x1, p1 = a * x1 + b * p1, a * p1 - c * x1
                else:
                    even, odd = normal_pair(key, stream, drawn, step, first + np.uint64(r), np.uint64(j))
                    drawn += np.uint64(1)
                    given -= p0 * p0 + p1 * p1
                    p0 = a * p0 + b * even
                    if both:
                        p1 = a * p1 + b * odd
                    given += p0 * p0 + p1 * p1
            p[r, 2 * j] = p0
            if writes_x:
                x[r, 2 * j] = x0
            if both:
                p[r, 2 * j + 1] = p1
                if writes_x:
                    x[r, 2 * j + 1] = x1
    if heats:
        total = sum_of_row(given, r, block, per_row, parts, arrived, scratch, last)
        if last[0] == 1 and cuda.threadIdx.x == 0:
            heat[r] += half_inverse_mass * total


@kernel
def overdamped(
    x: Array,
    f: Array,
    mobility: float,
    now: float,
    later: float,
    key: int,
    stream: int,
    step: int,
    first: int,
    per_row: int,
    moved: Array,
) -> None:
    """x <- x + moved, moved = mobility f + now xi(step) + later xi(step + 1), all (R, n)."""
    r, block = row_and_block(per_row)
    n = x.shape[1]
    zero = np.uint64(0)
    for turn in range(TURNS):
        j = pair_of(block, turn)
        if 2 * j < n:
            replica, pair = first + np.uint64(r), np.uint64(j)
            d0, d1 = mobility * float(f[r, 2 * j]), 0.0
            if 2 * j + 1 < n:
                d1 = mobility * float(f[r, 2 * j + 1])
            if now != 0.0:
                even, odd = normal_pair(key, stream, zero, step, replica, pair)
                d0 += now * even
                d1 += now * odd
            if later != 0.0:
                even, odd = normal_pair(key, stream, zero, step + np.uint64(1), replica, pair)
                d0 += later * even
                d1 += later * odd
            moved[r, 2 * j] = d0
            x[r, 2 * j] += d0
            if 2 * j + 1 < n:
                moved[r, 2 * j + 1] = d1
                x[r, 2 * j + 1] += d1
