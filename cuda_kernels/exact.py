"""Sums without rounding on the device: the integers, and so the result, are those of `latticemd.backends.cpu.exact`.

A block cuts its addends at the multiples of BITS into integers, adds these up in trees, window by window from the highest that an
addend reaches to the lowest, and at last adds its tally to that of its row: integers may be added in any order, so atomic additions
are as good as any. The last block of a row to arrive rounds the sum. Numbers are cut by their bits: no floating-point operation is
left that a compiler could contract.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels import tally as ground
from cuda_kernels.device import THREADS, device, kernel, shared_source
from cuda_kernels.summing import largest_of_block, sum_of_block
from cuda_kernels.tally import BITS, UNITS, WINDOWS
from cuda_kernels.threads import row_and_block

Array = Any

ADDENDS = 8  # of a thread at a time
PER_TURN = ADDENDS * THREADS  # of a block at a time
MOST_BLOCKS = 512  # of a row: four for each multiprocessor of a large card
LENGTH = WINDOWS + 1

_tally = shared_source(ground, "carry", "rounded")
_carry, _rounded = _tally.carry, _tally.rounded

_MANTISSA = np.int64((1 << 52) - 1)
_IMPLICIT = np.int64(1 << 52)
_DIGIT = np.int64((1 << BITS) - 1)


@device
def _exponent(value: float) -> Any:
    """The place of the lowest bit of a double, counted from that of the smallest: 2^place 2^LOWEST mantissa."""
    biased = (np.float64(value).view(np.int64) >> np.int64(52)) & np.int64(0x7FF)
    return max(biased, np.int64(1)) - np.int64(1)


@device
def _digit(value: float, window: int) -> Any:
    """What a double contributes to the integer of a window."""
    bits = np.float64(value).view(np.int64)
    mantissa = bits & _MANTISSA
    if (bits >> np.int64(52)) & np.int64(0x7FF):
        mantissa |= _IMPLICIT
    ahead = _exponent(value) - np.int64(BITS * window)
    if ahead >= BITS or ahead <= -53:
        return np.int64(0)
    digit = (mantissa & (_DIGIT >> ahead)) << ahead if ahead >= 0 else (mantissa >> -ahead) & _DIGIT
    return -digit if bits < 0 else digit


@device
def add_to_tally(own: Array, tally: Array, scratch: Array, counts: Array) -> None:
    """Add the doubles `own` (ADDENDS,) of all threads of a block to its tally, all three in shared memory; all come here."""
    highest, lowest = -1.0, -4096.0
    for n in range(ADDENDS):
        if own[n] != 0.0:  # also where it is not a number
            place = float(_exponent(own[n]))
            highest, lowest = max(highest, place), max(lowest, -place)
    highest = largest_of_block(highest, scratch)
    lowest = -largest_of_block(lowest, scratch)
    if highest < 0.0:
        return
    top = (int(highest) + 52) // BITS
    if top >= WINDOWS:
        if cuda.threadIdx.x == 0:
            tally[WINDOWS] += 1
        return
    for window in range(int(lowest) // BITS, top + 1):
        digits = np.int64(0)
        for n in range(ADDENDS):
            digits += _digit(own[n], window)
        digits = sum_of_block(digits, counts)
        if cuda.threadIdx.x == 0:
            over = digits >> np.int64(BITS)
            tally[window] += digits - (over << np.int64(BITS))
            if window + 1 < WINDOWS:
                tally[window + 1] += over
            else:
                tally[window] += over << np.int64(BITS)


@device
def sum_of_tallies(row: int, blocks: int, tally: Array, tallies: Array, arrived: Array, last: Array) -> float:
    """The rounded sum of the tallies of all blocks of a row, in thread 0 of the last block to arrive, where `last` (1,) is then 1.

    `tallies` (R, LENGTH) and `arrived` (R,), all zero before and after, are in global memory; `tally` and `last` are shared.
    """
    t = cuda.threadIdx.x
    cuda.syncthreads()
    for k in range(t, LENGTH, cuda.blockDim.x):
        if tally[k] != 0:
            cuda.atomic.add(tallies, (row, k), tally[k])
    cuda.threadfence()
    cuda.syncthreads()
    if t == 0:
        last[0] = 1 if cuda.atomic.add(arrived, row, 1) == blocks - 1 else 0
    cuda.syncthreads()
    found = 0.0
    if last[0] == 1:
        cuda.threadfence()
        for k in range(t, LENGTH, cuda.blockDim.x):
            tally[k] = tallies[row, k]
            tallies[row, k] = 0
        cuda.syncthreads()
        if t == 0:
            units = cuda.const.array_like(UNITS)
            _carry(tally)
            found = _rounded(tally, units)
            arrived[row] = 0
    return found


@kernel
def dot(a: Array, b: Array, factor: float, blocks: int, tallies: Array, arrived: Array, out: Array) -> None:
    """out[r] = factor sum_e a[r, e] b[r, e] of arrays (R, n), of the products rounded to double precision."""
    tally = cuda.shared.array(LENGTH, np.int64)
    scratch = cuda.shared.array(THREADS, np.float64)
    counts = cuda.shared.array(THREADS, np.int64)
    last = cuda.shared.array(1, np.int32)
    own = cuda.local.array(ADDENDS, np.float64)
    r, block = row_and_block(blocks)
    n = a.shape[1]
    for k in range(cuda.threadIdx.x, LENGTH, cuda.blockDim.x):
        tally[k] = 0
    for start in range(block * PER_TURN, n, blocks * PER_TURN):
        for turn in range(ADDENDS):
            e = start + turn * THREADS + cuda.threadIdx.x
            own[turn] = float(a[r, e]) * float(b[r, e]) if e < n else 0.0
        add_to_tally(own, tally, scratch, counts)
    found = sum_of_tallies(r, blocks, tally, tallies, arrived, last)
    if last[0] == 1 and cuda.threadIdx.x == 0:
        out[r] = factor * found


@kernel
def total(a: Array, blocks: int, tallies: Array, arrived: Array, out: Array) -> None:
    """out[r] = sum_e a[r, e] of an array (R, n)."""
    tally = cuda.shared.array(LENGTH, np.int64)
    scratch = cuda.shared.array(THREADS, np.float64)
    counts = cuda.shared.array(THREADS, np.int64)
    last = cuda.shared.array(1, np.int32)
    own = cuda.local.array(ADDENDS, np.float64)
    r, block = row_and_block(blocks)
    n = a.shape[1]
    for k in range(cuda.threadIdx.x, LENGTH, cuda.blockDim.x):
        tally[k] = 0
    for start in range(block * PER_TURN, n, blocks * PER_TURN):
        for turn in range(ADDENDS):
            e = start + turn * THREADS + cuda.threadIdx.x
            own[turn] = float(a[r, e]) if e < n else 0.0
        add_to_tally(own, tally, scratch, counts)
    found = sum_of_tallies(r, blocks, tally, tallies, arrived, last)
    if last[0] == 1 and cuda.threadIdx.x == 0:
        out[r] = found
