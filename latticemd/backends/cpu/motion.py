"""Strings of letters and overdamped moves, a block at a time, and the noise in them."""

from __future__ import annotations

import numpy as np
from numba import prange

from cuda_kernels.letters import DRIFT, KICK, ROTATION
from latticemd.backends.cpu.compiling import BLOCK, Array, blocks_of, jit, jit_parallel, rows_of, words_of
from latticemd.backends.cpu.noise import add_block_normals
from latticemd.backends.cpu.reductions import add_block_sums, block_dot


def normals(key: int, stream: int, occurrence: int, step: int, first_replica: int, out: Array) -> None:
    """See `specification.normals`."""
    rows = rows_of(out)
    blocks, per_replica, parallel = blocks_of(rows)
    fill = _normals_parallel if parallel else _normals_serial
    fill(blocks, per_replica, words_of(key, stream, occurrence, step, first_replica), rows)


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
) -> None:
    """See `specification.split`."""
    key, stream, step, first_replica = noise
    rows = rows_of(x)
    blocks, per_replica, parallel = blocks_of(rows)
    given = np.empty((len(rows), per_replica))
    words = words_of(key, stream, occurrence, step, first_replica)
    sweep = _split_parallel if parallel else _split_serial
    sweep(blocks, per_replica, letters, coefficients, rows, rows_of(p), rows_of(f), words, inverse_mass, given)
    add_block_sums(given, heat)


def overdamped(
    x: Array, f: Array, mobility: float, amplitudes: tuple[float, float], noise: tuple[int, int, int, int], moved: Array
) -> None:
    """See `specification.overdamped`."""
    key, stream, step, first_replica = noise
    rows = rows_of(x)
    blocks, per_replica, parallel = blocks_of(rows)
    words = words_of(key, stream, 0, step, first_replica)
    sweep = _overdamped_parallel if parallel else _overdamped_serial
    sweep(blocks, per_replica, mobility, np.array(amplitudes), rows, rows_of(f), words, rows_of(moved))


@jit
def _normals_of_block(block: int, per_replica: int, words: Array, out: Array) -> None:
    r, b = block // per_replica, block % per_replica
    span = out[r, b * BLOCK : (b + 1) * BLOCK]
    span[:] = 0.0
    add_block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), b * BLOCK, 0.0, 1.0, span)


@jit
def _normals_serial(blocks: int, per_replica: int, words: Array, out: Array) -> None:
    for block in range(blocks):
        _normals_of_block(block, per_replica, words, out)


@jit_parallel
def _normals_parallel(blocks: int, per_replica: int, words: Array, out: Array) -> None:
    for block in prange(blocks):
        _normals_of_block(block, per_replica, words, out)


@jit
def _split_block(
    block: int,
    per_replica: int,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    inverse_mass: float,
    heat: Array,
) -> None:
    r, b = block // per_replica, block % per_replica
    start = b * BLOCK
    xs, ps, fs = x[r, start : start + BLOCK], p[r, start : start + BLOCK], f[r, start : start + BLOCK]
    n = xs.size
    occurrence = words[2]
    given = 0.0
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
            given -= block_dot(ps, ps)
            add_block_normals(words[0], words[1], occurrence, words[3], words[4] + np.uint64(r), start, a, c, ps)
            occurrence += np.uint64(1)
            given += block_dot(ps, ps)
    heat[r, b] = 0.5 * inverse_mass * given


@jit
def _split_serial(
    blocks: int,
    per_replica: int,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    inverse_mass: float,
    heat: Array,
) -> None:
    for block in range(blocks):
        _split_block(block, per_replica, letters, coefficients, x, p, f, words, inverse_mass, heat)


@jit_parallel
def _split_parallel(
    blocks: int,
    per_replica: int,
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    words: Array,
    inverse_mass: float,
    heat: Array,
) -> None:
    for block in prange(blocks):
        _split_block(block, per_replica, letters, coefficients, x, p, f, words, inverse_mass, heat)


@jit
def _overdamped_block(
    block: int,
    per_replica: int,
    mobility: float,
    amplitudes: Array,
    x: Array,
    f: Array,
    words: Array,
    moved: Array,
) -> None:
    r, b = block // per_replica, block % per_replica
    start = b * BLOCK
    xs, fs, ms = x[r, start : start + BLOCK], f[r, start : start + BLOCK], moved[r, start : start + BLOCK]
    for i in range(xs.size):
        ms[i] = mobility * fs[i]
    for later in range(2):
        if amplitudes[later] != 0.0:
            step = words[3] + np.uint64(later)
            add_block_normals(
                words[0], words[1], words[2], step, words[4] + np.uint64(r), start, 1.0, amplitudes[later], ms
            )
    for i in range(xs.size):
        xs[i] += ms[i]


@jit
def _overdamped_serial(
    blocks: int, per_replica: int, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in range(blocks):
        _overdamped_block(block, per_replica, mobility, amplitudes, x, f, words, moved)


@jit_parallel
def _overdamped_parallel(
    blocks: int, per_replica: int, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in prange(blocks):
        _overdamped_block(block, per_replica, mobility, amplitudes, x, f, words, moved)
