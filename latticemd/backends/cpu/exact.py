"""Sums without rounding: what is added up does not depend on the order, on threads, or on who holds which sites.

A tally is a sum in the making: integers t (WINDOWS + 1,) that stand for sum_k t_k 2^(BITS k + LOWEST). An addend is cut at the
multiples of BITS into two or three of them, which loses nothing, and integers can be added in any order. The last one counts
addends that are not finite, or beyond 2^(BITS WINDOWS + LOWEST). Only the finished sum is rounded, once and to nearest.

Cost: one and a half nanoseconds per addend that is in cache, next to nothing beside a random number.

Reference: Kulisch and Snyder, doi:10.1007/s00607-010-0127-7 (exact accumulation); Demmel and Nguyen,
doi:10.1109/ARITH.2013.9 (cutting by adding a large constant).
"""

from __future__ import annotations

import numpy as np

from cuda_kernels.tally import BITS, LOWEST, UNITS, WINDOWS, carry
from cuda_kernels.tally import rounded as rounded_tally
from latticemd.backends.cpu.compiling import Array, jit

_EXPONENT = np.int64(0x7FF0000000000000)
_MODULUS = np.int64(0x7FFFFFFFFFFFFFFF)
_MANTISSA = 52
_BIAS = 1023
# Adding 3 2^51 units rounds to units, and the bits of what results count them.
_CUTS = UNITS * (1.5 * 2.0**_MANTISSA)
_ZEROS = _CUTS.view(np.int64)


def empty_tally(replicas: int) -> Array:
    """Nothing added yet, (R, WINDOWS + 1)."""
    return np.zeros((replicas, WINDOWS + 1), dtype=np.int64)


def joined(parts: Array) -> Array:
    """The tallies (R, WINDOWS + 1) of replicas from those of the blocks of each, (R, blocks, WINDOWS + 1)."""
    tally = empty_tally(len(parts))
    _join(parts, tally)
    return tally


def rounded(tally: Array) -> Array:
    """The double next to each sum (R,), ties to even; nan where an addend was not finite. Carries within `tally`."""
    out = np.empty(len(tally))
    _round_all(tally, UNITS, out)
    return out


def joined_and_rounded(parts: Array) -> Array:
    """`rounded(joined(parts))`, (R,), in one call: two microseconds less on small lattices."""
    out = np.empty(len(parts))
    _finish(parts, UNITS, out)
    return out


@jit
def tally_block(values: Array, scratch: Array, tally: Array) -> None:
    """Add up to 2^13 values, which are used up, to a tally (WINDOWS + 1,); `scratch` is as long as `values` at least."""
    bits, cut = values.view(np.int64), scratch[: values.size]
    counted = cut.view(np.int64)
    top = np.int64(0)
    for i in range(bits.size):
        top = max(top, bits[i] & _EXPONENT)
    if top == 0:
        for i in range(bits.size):  # zeros, or numbers below all normal ones
            top |= bits[i] & _MODULUS
        if top == 0:
            return
        top = np.int64(1) << _MANTISSA
    window = ((top >> _MANTISSA) - _BIAS - LOWEST) // BITS
    if window >= WINDOWS:
        tally[WINDOWS] += 1
        return
    while True:
        constant, zero = _CUTS[window], _ZEROS[window]
        for i in range(values.size):
            cut[i] = values[i] + constant
            values[i] -= cut[i] - constant
        total, left = np.int64(0), np.int64(0)
        for i in range(bits.size):
            total += counted[i] - zero
            left |= bits[i]
        tally[window] += total
        if left & _MODULUS == 0:
            break
        window -= 1
    carry(tally)


@jit
def _join(parts: Array, tally: Array) -> None:
    for r in range(parts.shape[0]):
        for b in range(parts.shape[1]):
            for k in range(tally.shape[1]):
                tally[r, k] += parts[r, b, k]
            carry(tally[r])


@jit
def _finish(parts: Array, units: Array, out: Array) -> None:
    tally = np.zeros((out.size, WINDOWS + 1), dtype=np.int64)
    _join(parts, tally)
    _round_all(tally, units, out)


@jit
def _round_all(tally: Array, units: Array, out: Array) -> None:
    for r in range(out.size):
        carry(tally[r])
        out[r] = rounded_tally(tally[r], units)
