"""Exact sums and tests over all degrees of freedom of a replica."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from latticemd.backends.cpu.compiling import BLOCK, Array, jit, jit_parallel, pieces_of, rows_of, worth_threads
from latticemd.backends.cpu.exact import WINDOWS, joined, joined_and_rounded, rounded, tally_block
from latticemd.backends.place import WHOLE, Place
from latticemd.backends.specification import LARGEST

_EXPONENT = np.int64(0x7FF0000000000000)  # the bits of a double that hold its exponent
_LARGEST = np.float64(LARGEST).view(np.int64)


def total(values: Array, place: Place = WHOLE) -> Array:
    """See `specification.total`."""
    rows, pieces = values.reshape(len(values), -1), WHOLE.pieces(math.prod(values.shape[1:]), 1, BLOCK)
    parts = empty_parts(len(rows), len(pieces))
    sweep = _total_parallel if worth_threads(values.size) else _total_serial
    sweep(len(rows) * len(pieces), pieces, rows, parts)
    return finished(parts, place)


def dot(a: Array, b: Array, place: Place = WHOLE) -> Array:
    """See `specification.dot`."""
    pieces = pieces_of(a, place)
    parts = empty_parts(len(a), len(pieces))
    sweep = _dot_parallel if worth_threads(a.size) else _dot_serial
    sweep(len(a) * len(pieces), pieces, rows_of(a), rows_of(b), parts)
    return finished(parts, place)


def kinetic_energy(p: Array, inverse_mass: float, place: Place = WHOLE) -> Array:
    """See `specification.kinetic_energy`."""
    return 0.5 * inverse_mass * dot(p, p, place)


def all_bounded(x: Array) -> bool:
    """See `specification.all_bounded`."""
    return bool(_bounded(x.reshape(-1).view(np.int64)))


def empty_parts(replicas: int, blocks: int) -> Array:
    """Tallies of every block of every replica, with nothing added yet."""
    return np.zeros((replicas, blocks, WINDOWS + 1), dtype=np.int64)


def finished(parts: Array, place: Place) -> Array:
    """The sums (R,) over the whole lattice of what `empty_parts` has become."""
    return rounded(place.added_up(joined(parts))) if place.divided else joined_and_rounded(parts)


@jit
def _total_of_block(block: int, pieces: Array, values: Array, parts: Array) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, _, n = pieces[b]
    addends, scratch = np.empty(n), np.empty(n)
    addends[:] = values[r, start : start + n]
    tally_block(addends, scratch, parts[r, b])


@jit
def _total_serial(blocks: int, pieces: Array, values: Array, parts: Array) -> None:
    for block in range(blocks):
        _total_of_block(block, pieces, values, parts)


@jit_parallel
def _total_parallel(blocks: int, pieces: Array, values: Array, parts: Array) -> None:
    for block in prange(blocks):
        _total_of_block(block, pieces, values, parts)


@jit
def _dot_of_block(block: int, pieces: Array, a: Array, b: Array, parts: Array) -> None:
    r, k = block // len(pieces), block % len(pieces)
    start, _, n = pieces[k]
    addends, scratch = np.empty(n), np.empty(n)
    first, second = a[r, start : start + n], b[r, start : start + n]
    for i in range(n):
        addends[i] = first[i] * second[i]
    tally_block(addends, scratch, parts[r, k])


@jit
def _dot_serial(blocks: int, pieces: Array, a: Array, b: Array, parts: Array) -> None:
    for block in range(blocks):
        _dot_of_block(block, pieces, a, b, parts)


@jit_parallel
def _dot_parallel(blocks: int, pieces: Array, a: Array, b: Array, parts: Array) -> None:
    for block in prange(blocks):
        _dot_of_block(block, pieces, a, b, parts)


@jit
def _bounded(bits: Array) -> bool:
    # Exponents order like integers, with NaN and infinities above all numbers; as integers, eight are tested at a time.
    bad = 0
    for i in range(bits.size):
        bad |= (bits[i] & _EXPONENT) >= _LARGEST
    return bad == 0
