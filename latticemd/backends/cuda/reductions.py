"""Sums and tests over all degrees of freedom of a replica, on the device; sums stay there."""

from __future__ import annotations

import math

import numpy as np

from cuda_kernels import exact, observing, summing
from cuda_kernels.device import THREADS
from latticemd.backends.cuda.arrays import Array, empty, launch, resident, tallies, to_host, zeros
from latticemd.backends.cuda.motion import rows_of
from latticemd.backends.place import WHOLE, Place
from latticemd.backends.specification import LARGEST


def total(values: Array, place: Place = WHOLE) -> Array:
    """See `specification.total`."""
    out, blocks = empty(len(values)), _blocks_of(values)
    launch(exact.total, len(values) * blocks, rows_of(values), blocks, *tallies(len(values)), out)
    return out


def dot(a: Array, b: Array, place: Place = WHOLE) -> Array:
    """See `specification.dot`; in double precision whatever that of the arrays is."""
    return _dot(a, b, 1.0)


def kinetic_energy(p: Array, inverse_mass: float, place: Place = WHOLE) -> Array:
    """See `specification.kinetic_energy`."""
    return _dot(p, p, 0.5 * inverse_mass)


def cut_bonds(field: Array, i: Array, j: Array) -> Array:
    """See `specification.cut_bonds`; the lists of bonds, read-only arrays of the host, are copied once."""
    cut = zeros(len(field), np.int64)
    per_row = -(-len(i) // (observing.TURNS * THREADS))
    first, second = resident(i, np.int32), resident(j, np.int32)
    launch(observing.cut_bonds, len(field) * per_row, field, first, second, per_row, cut)
    return cut


def group_sums(values: Array, members: Array, first: Array) -> Array:
    """See `specification.group_sums`; each addition rounded, and the lists, read-only arrays of the host, copied once."""
    out = empty((len(values), len(first) - 1))
    flat = rows_of(values).astype(np.float64)
    launch(observing.group_sums, out.size, flat, resident(members, np.int32), resident(first, np.int32), out)
    return out


def _dot(a: Array, b: Array, factor: float) -> Array:
    out, blocks = empty(len(a)), _blocks_of(a)
    launch(exact.dot, len(a) * blocks, rows_of(a), rows_of(b), float(factor), blocks, *tallies(len(a)), out)
    return out


def _blocks_of(values: Array) -> int:
    """Blocks for each replica of an array (R, ...)."""
    return min(-(-math.prod(values.shape[1:]) // exact.PER_TURN), exact.MOST_BLOCKS)


def note_unbounded(x: Array, alarm: Array) -> None:
    """Set the integer `alarm` (1,) to 1 unless x is bounded as `specification.all_bounded` asks; nothing is waited for."""
    flat = x.reshape(-1)
    launch(summing.note_unbounded, -(-flat.size // THREADS), flat, LARGEST, alarm)


def all_bounded(x: Array) -> bool:
    """See `specification.all_bounded`; waits for the device."""
    alarm = zeros(1, "i4")
    note_unbounded(x, alarm)
    return not to_host(alarm)[0]
