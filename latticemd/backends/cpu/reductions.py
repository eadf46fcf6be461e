"""Sums and tests over all degrees of freedom of a replica."""

from __future__ import annotations

import numpy as np

from latticemd.backends.cpu.compiling import BLOCK, Array, jit, rows_of
from latticemd.backends.specification import LARGEST

_EXPONENT = np.int64(0x7FF0000000000000)  # the bits of a double that hold its exponent
_LARGEST = np.float64(LARGEST).view(np.int64)


def dot(a: Array, b: Array) -> Array:
    """See `specification.dot`."""
    out = np.empty(len(a))
    _dot_rows(rows_of(a), rows_of(b), out)
    return out


def kinetic_energy(p: Array, inverse_mass: float) -> Array:
    """See `specification.kinetic_energy`."""
    return 0.5 * inverse_mass * dot(p, p)


def all_bounded(x: Array) -> bool:
    """See `specification.all_bounded`."""
    return bool(_bounded(x.reshape(-1).view(np.int64)))


@jit
def block_dot(a: Array, b: Array) -> float:
    """sum a b in eight interleaved lanes: a fixed order that compilers can keep in one vector register."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = a.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(whole, a.size):
        total += a[i] * b[i]
    return total


@jit
def add_block_sums(parts: Array, out: Array) -> None:
    """out (R,) <- out + sums over the blocks of a replica, parts (R, blocks), in order."""
    for r in range(parts.shape[0]):
        total = 0.0
        for b in range(parts.shape[1]):
            total += parts[r, b]
        out[r] += total


@jit
def _dot_rows(a: Array, b: Array, out: Array) -> None:
    for r in range(a.shape[0]):
        total = 0.0
        for start in range(0, a.shape[1], BLOCK):
            total += block_dot(a[r, start : start + BLOCK], b[r, start : start + BLOCK])
        out[r] = total


@jit
def _bounded(bits: Array) -> bool:
    # Exponents order like integers, with NaN and infinities above all numbers; as integers, eight are tested at a time.
    bad = 0
    for i in range(bits.size):
        bad |= (bits[i] & _EXPONENT) >= _LARGEST
    return bad == 0
