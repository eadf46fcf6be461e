"""Strings of letters, overdamped moves and normals on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuda_kernels import motion, noise
from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from cuda_kernels.threads import PER_BLOCK
from latticemd.backends.cuda.arrays import Array, launch, parts
from latticemd.backends.place import WHOLE, Place


def normals(
    key: int, stream: int, occurrence: int, step: int, first_replica: int, out: Array, place: Place = WHOLE
) -> None:
    """See `specification.normals`."""
    rows, per_row = rows_of(out), blocks_of(out)
    launch(noise.normals, len(out) * per_row, *words(key, stream, occurrence, step, first_replica), per_row, rows)


def split(
    letters: Any,
    coefficients: Any,
    x: Array,
    p: Array,
    f: Array,
    noise: tuple[int, int, int, int],
    occurrence: int,
    inverse_mass: float,
    heat: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.split`."""
    codes = tuple(int(letter) for letter in letters)
    numbers = tuple(float(number) for number in np.asarray(coefficients).ravel())
    moves = DRIFT in codes or ROTATION in codes
    pulls = any(code == KICK and numbers[3 * k + 1] != 0.0 for k, code in enumerate(codes))
    uses = (moves or pulls, moves, KICK in codes, ORNSTEIN_UHLENBECK in codes)
    key, stream, step, first = words(*noise)
    per_row = blocks_of(p)
    launch(
        motion.split, len(p) * per_row, codes, numbers, uses, rows_of(x), rows_of(p), rows_of(f), key, stream, step, first,
        np.uint64(occurrence), 0.5 * inverse_mass, per_row, heat, *parts(len(p), per_row),
    )  # fmt: skip


def overdamped(
    x: Array,
    f: Array,
    mobility: float,
    amplitudes: tuple[float, float],
    noise: tuple[int, int, int, int],
    moved: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.overdamped`."""
    per_row = blocks_of(x)
    now, later = (float(amplitude) for amplitude in amplitudes)
    launch(
        motion.overdamped, len(x) * per_row, rows_of(x), rows_of(f), float(mobility), now, later, *words(*noise), per_row,
        rows_of(moved),
    )  # fmt: skip


def rows_of(array: Array) -> Array:
    """(R, N, D) as (R, N D)."""
    return array.reshape(len(array), -1)


def blocks_of(array: Array) -> int:
    """Blocks for each replica of an array (R, N, D)."""
    return -(-array[0].size // PER_BLOCK)


def words(*numbers: int) -> tuple[Any, ...]:
    """Numbers of the noise as the unsigned words that `cuda_kernels.philox` takes."""
    return tuple(np.uint64(number) for number in numbers)
