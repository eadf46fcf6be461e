"""A bound on the spectrum of each window, and the rung of the ladder of intervals that holds it, on the device.

What is computed is written down in `forcefields.window.square.OnSquare.reach` and `forcefields.window.expansion.rungs`: two
steps of a power iteration about each site, the largest bound in its window, and a logarithm.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels.device import THREADS, device, kernel
from cuda_kernels.threads import row_and_block

Array = Any

RUNGS_PER_OCTAVE = 16
MARGIN = 1.001


@device
def _level(e: Array, mu: float, x: int, y: int) -> float:
    return float(e[x % e.shape[0], y % e.shape[1]]) - mu


@device
def _shifted(e: Array, mu: float, sign: float, x: int, y: int) -> float:
    """sign e_i and the largest modulus of a level here and beside."""
    here = _level(e, mu, x, y)
    largest = max(
        abs(here),
        max(
            max(abs(_level(e, mu, x - 1, y)), abs(_level(e, mu, x + 1, y))),
            max(abs(_level(e, mu, x, y - 1)), abs(_level(e, mu, x, y + 1))),
        ),
    )
    return sign * here + largest


@device
def _first(e: Array, mu: float, sign: float, h: float, x: int, y: int) -> float:
    v = _shifted(e, mu, sign, x, y) + 4.0 * h
    return v if v > 0.0 else 1.0


@device
def _second(e: Array, mu: float, sign: float, h: float, x: int, y: int) -> float:
    vertical = _first(e, mu, sign, h, x - 1, y) + _first(e, mu, sign, h, x + 1, y)
    horizontal = _first(e, mu, sign, h, x, y - 1) + _first(e, mu, sign, h, x, y + 1)
    v = _shifted(e, mu, sign, x, y) * _first(e, mu, sign, h, x, y) + h * (vertical + horizontal)
    return v if v > 0.0 else 1.0


@kernel
def bounds(levels: Array, mu: float, hopping: float, per_row: int, out: Array) -> None:
    """The quotient of Collatz and Wielandt at each site, of H and of -H the larger: levels, out (R, Lx, Ly)."""
    r, block = row_and_block(per_row)
    i = block * THREADS + cuda.threadIdx.x
    across = levels.shape[2]
    if i >= levels.shape[1] * across:
        return
    x, y, e, h = i // across, i % across, levels[r], abs(hopping)
    largest = 0.0
    for turn in range(2):
        sign = 1.0 - 2.0 * turn
        vertical = _second(e, mu, sign, h, x - 1, y) + _second(e, mu, sign, h, x + 1, y)
        horizontal = _second(e, mu, sign, h, x, y - 1) + _second(e, mu, sign, h, x, y + 1)
        quotient = sign * _level(e, mu, x, y) + h * (vertical + horizontal) / _second(e, mu, sign, h, x, y)
        largest = quotient if turn == 0 else max(largest, quotient)
    out[r, x, y] = largest


@kernel
def along_rows(bound: Array, radius: int, per_row: int, out: Array) -> None:
    """The largest bound within `radius` columns, (R, Lx, Ly)."""
    r, block = row_and_block(per_row)
    i = block * THREADS + cuda.threadIdx.x
    across = bound.shape[2]
    if i >= bound.shape[1] * across:
        return
    x, y = i // across, i % across
    largest = bound[r, x, y]
    for d in range(-radius, radius + 1):
        largest = max(largest, bound[r, x, (y + d) % across])
    out[r, x, y] = largest


@kernel
def rungs(bound: Array, radius: int, temperature: float, per_row: int, out: Array) -> None:
    """The rung of the largest bound within `radius` rows, integers (R, N); see `forcefields.window.expansion.rungs`."""
    r, block = row_and_block(per_row)
    i = block * THREADS + cuda.threadIdx.x
    across = bound.shape[2]
    if i >= bound.shape[1] * across:
        return
    x, y = i // across, i % across
    largest = temperature
    for d in range(-radius, radius + 1):
        largest = max(largest, bound[r, (x + d) % bound.shape[1], y])
    far = largest >= 1e15  # infinite or not a number: no rung, and no integer either
    rung = 32767.0 if far or largest != largest else math.ceil(RUNGS_PER_OCTAVE * math.log2(MARGIN * largest))
    out[r, i] = np.int32(rung)
