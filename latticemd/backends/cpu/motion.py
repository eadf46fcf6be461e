"""Strings of letters and overdamped moves, a block at a time, and the noise in them."""

from __future__ import annotations

import numpy as np
from numba import prange

from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from latticemd.backends.cpu.compiling import Array, jit, jit_parallel, pieces_of, rows_of, words_of, worth_threads
from latticemd.backends.cpu.exact import tally_block
from latticemd.backends.cpu.noise import add_block_normals
from latticemd.backends.cpu.reductions import empty_parts, finished
from latticemd.backends.place import WHOLE, Place


def normals(
    key: int, stream: int, occurrence: int, step: int, first_replica: int, out: Array, place: Place = WHOLE
) -> None:
    """See `specification.normals`."""
    rows, pieces = rows_of(out), pieces_of(out, place)
    fill = _normals_parallel if worth_threads(out.size) else _normals_serial
    fill(len(rows) * len(pieces), pieces, words_of(key, stream, occurrence, step, first_replica), rows)


def split(
    letters: Array,
    coefficients: Array,
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
    key, stream, step, first_replica = noise
    rows, pieces = rows_of(x), pieces_of(x, place)
    given = empty_parts(len(rows), len(pieces) if ORNSTEIN_UHLENBECK in letters.tobytes() else 0)
    words = words_of(key, stream, occurrence, step, first_replica)
    sweep = _split_parallel if worth_threads(x.size) else _split_serial
    sweep(len(rows) * len(pieces), pieces, letters, coefficients, rows, rows_of(p), rows_of(f), words, given)
    if given.size:
        heat += 0.5 * inverse_mass * finished(given, place)


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
    key, stream, step, first_replica = noise
    rows, pieces = rows_of(x), pieces_of(x, place)
    words = words_of(key, stream, 0, step, first_replica)
    sweep = _overdamped_parallel if worth_threads(x.size) else _overdamped_serial
    sweep(len(rows) * len(pieces), pieces, mobility, np.array(amplitudes), rows, rows_of(f), words, rows_of(moved))


@jit
def _normals_of_block(block: int, pieces: Array, words: Array, out: Array) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, first, length = pieces[b]
    span = out[r, start : start + length]
    span[:] = 0.0
    add_block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), first, 0.0, 1.0, span)


@jit
def _normals_serial(blocks: int, pieces: Array, words: Array, out: Array) -> None:
    for block in range(blocks):
        _normals_of_block(block, pieces, words, out)


@jit_parallel
def _normals_parallel(blocks: int, pieces: Array, words: Array, out: Array) -> None:
    for block in prange(blocks):
        _normals_of_block(block, pieces, words, out)


@jit
def _split_block(
    block: int,
    pieces: Array,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    given: Array,
) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, first, n = pieces[b]
    xs, ps, fs = x[r, start : start + n], p[r, start : start + n], f[r, start : start + n]
    occurrence = words[2]
    for k in range(letters.size):
        a, c, s = coefficients[k, 0], coefficients[k, 1], coefficients[k, 2]
        if letters[k] == DRIFT:
            for i in range(n):
                xs[i] += a * ps[i]
        elif letters[k] == KICK:
            if c == 0.0:
                for i in range(n):
                    ps[i] += a * fs[i]
            else:
                for i in range(n):
                    ps[i] += a * fs[i] + c * xs[i]
        elif letters[k] == ROTATION:
            for i in range(n):
                turned = a * xs[i] + c * ps[i]
                ps[i] = a * ps[i] - s * xs[i]
                xs[i] = turned
        else:
            gained, scratch = np.empty(n), np.empty(n)
            for i in range(n):
                gained[i] = -(ps[i] * ps[i])
            add_block_normals(words[0], words[1], occurrence, words[3], words[4] + np.uint64(r), first, a, c, ps)
            occurrence += np.uint64(1)
            for i in range(n):
                gained[i] += ps[i] * ps[i]
            tally_block(gained, scratch, given[r, b])


@jit
def _split_serial(
    blocks: int,
    pieces: Array,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    given: Array,
) -> None:
    for block in range(blocks):
        _split_block(block, pieces, letters, coefficients, x, p, f, words, given)


@jit_parallel
def _split_parallel(
    blocks: int,
    pieces: Array,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    given: Array,
) -> None:
    for block in prange(blocks):
        _split_block(block, pieces, letters, coefficients, x, p, f, words, given)


@jit
def _overdamped_block(
    block: int,
    pieces: Array,
    mobility: float,
    amplitudes: Array,
    x: Array,
    f: Array,
    words: Array,
    moved: Array,
) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, first, n = pieces[b]
    xs, fs, ms = x[r, start : start + n], f[r, start : start + n], moved[r, start : start + n]
    for i in range(xs.size):
        ms[i] = mobility * fs[i]
    for later in range(2):
        if amplitudes[later] != 0.0:
            step = words[3] + np.uint64(later)
            add_block_normals(
                words[0], words[1], words[2], step, words[4] + np.uint64(r), first, 1.0, amplitudes[later], ms
            )
    for i in range(xs.size):
        xs[i] += ms[i]


@jit
def _overdamped_serial(
    blocks: int, pieces: Array, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in range(blocks):
        _overdamped_block(block, pieces, mobility, amplitudes, x, f, words, moved)


@jit_parallel
def _overdamped_parallel(
    blocks: int, pieces: Array, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in prange(blocks):
        _overdamped_block(block, pieces, mobility, amplitudes, x, f, words, moved)
