"""Sums and tests over all degrees of freedom of a replica, on the device; sums stay there."""

from __future__ import annotations

from cuda_kernels import summing
from cuda_kernels.device import THREADS
from latticemd.backends.cuda.arrays import Array, empty, launch, parts, to_host, zeros
from latticemd.backends.cuda.motion import blocks_of, rows_of
from latticemd.backends.place import WHOLE, Place
from latticemd.backends.specification import LARGEST


def total(values: Array, place: Place = WHOLE) -> Array:
    """See `specification.total`; in double precision, each addition rounded."""
    out, per_row = empty(len(values)), blocks_of(values)
    launch(summing.total, len(values) * per_row, rows_of(values), per_row, *parts(len(values), per_row), out)
    return out


def dot(a: Array, b: Array, place: Place = WHOLE) -> Array:
    """See `specification.dot`; in double precision whatever that of the arrays is, each addition rounded."""
    return _dot(a, b, 1.0)


def kinetic_energy(p: Array, inverse_mass: float, place: Place = WHOLE) -> Array:
    """See `specification.kinetic_energy`."""
    return _dot(p, p, 0.5 * inverse_mass)


def _dot(a: Array, b: Array, factor: float) -> Array:
    out, per_row = empty(len(a)), blocks_of(a)
    launch(summing.dot, len(a) * per_row, rows_of(a), rows_of(b), float(factor), per_row, *parts(len(a), per_row), out)
    return out


def note_unbounded(x: Array, alarm: Array) -> None:
    """Set the integer `alarm` (1,) to 1 unless x is bounded as `specification.all_bounded` asks; nothing is waited for."""
    flat = x.reshape(-1)
    launch(summing.note_unbounded, -(-flat.size // THREADS), flat, LARGEST, alarm)


def all_bounded(x: Array) -> bool:
    """See `specification.all_bounded`; waits for the device."""
    alarm = zeros(1, "i4")
    note_unbounded(x, alarm)
    return not to_host(alarm)[0]
