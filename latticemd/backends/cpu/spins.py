"""Unit spins, a block of sites at a time: the arithmetic is that of `cuda_kernels.spins`."""

from __future__ import annotations

import numpy as np
from numba import prange

from cuda_kernels import spins
from latticemd.backends.cpu.compiling import Array, jit, jit_parallel, pieces_of, rows_of, words_of, worth_threads
from latticemd.backends.cpu.exact import tally_block
from latticemd.backends.cpu.noise import add_block_normals
from latticemd.backends.cpu.reductions import empty_parts, finished
from latticemd.backends.place import WHOLE, Place

_MOST = 3 * 512  # degrees of freedom of a block: its arrays stay in cache, and it holds whole sites

_first_half, _second_half = spins.first_half, spins.second_half


def spins_first_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    noise: tuple[int, int, int, int],
    base: Array,
    moved: Array,
    heat: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.spins_first_half`."""
    key, stream, step, first_replica = noise
    pieces = pieces_of(x, place, _MOST)
    work = empty_parts(len(x), len(pieces))
    words = words_of(key, stream, 0, step, first_replica)
    sweep = _first_parallel if worth_threads(x.size) else _first_serial
    sweep(pieces, rows_of(x), rows_of(f), time, damping, amplitude, words, rows_of(base), rows_of(moved), work)
    heat -= finished(work, place)


def spins_second_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    base: Array,
    moved: Array,
    heat: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.spins_second_half`."""
    pieces = pieces_of(x, place, _MOST)
    work = empty_parts(len(x), len(pieces))
    sweep = _second_parallel if worth_threads(x.size) else _second_serial
    sweep(pieces, rows_of(x), rows_of(f), time, damping, rows_of(base), rows_of(moved), work)
    heat -= finished(work, place)


@jit
def _first_of_block(
    block: int,
    pieces: Array,
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    words: Array,
    base: Array,
    moved: Array,
    work: Array,
) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, first, n = pieces[b]
    end = start + n
    ss, fs, ms, ds = x[r, start:end], f[r, start:end], base[r, start:end], moved[r, start:end]
    ds[:] = 0.0
    if amplitude != 0.0:
        add_block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), first, 0.0, amplitude, ds)
    done, scratch = np.empty(n // 3), np.empty(n // 3)
    for i in range(0, n, 3):
        mx, my, mz, dx, dy, dz, gx, gy, gz, done[i // 3] = _first_half(
            ss[i], ss[i + 1], ss[i + 2], fs[i], fs[i + 1], fs[i + 2], ds[i], ds[i + 1], ds[i + 2], time, damping
        )
        ms[i], ms[i + 1], ms[i + 2] = mx, my, mz
        ds[i], ds[i + 1], ds[i + 2] = dx, dy, dz
        ss[i], ss[i + 1], ss[i + 2] = gx, gy, gz
    tally_block(done, scratch, work[r, b])


@jit
def _first_serial(
    pieces: Array,
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    words: Array,
    base: Array,
    moved: Array,
    work: Array,
) -> None:
    for block in range(len(x) * len(pieces)):
        _first_of_block(block, pieces, x, f, time, damping, amplitude, words, base, moved, work)


@jit_parallel
def _first_parallel(
    pieces: Array,
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    words: Array,
    base: Array,
    moved: Array,
    work: Array,
) -> None:
    for block in prange(len(x) * len(pieces)):
        _first_of_block(block, pieces, x, f, time, damping, amplitude, words, base, moved, work)


@jit
def _second_of_block(
    block: int, pieces: Array, x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array
) -> None:
    r, b = block // len(pieces), block % len(pieces)
    start, _, n = pieces[b]
    end = start + n
    ss, fs, ms, ds = x[r, start:end], f[r, start:end], base[r, start:end], moved[r, start:end]
    done, scratch = np.empty(n // 3), np.empty(n // 3)
    for i in range(0, n, 3):
        sx, sy, sz, done[i // 3] = _second_half(
            ms[i], ms[i + 1], ms[i + 2], ds[i], ds[i + 1], ds[i + 2], ss[i], ss[i + 1], ss[i + 2],
            fs[i], fs[i + 1], fs[i + 2], time, damping,
        )  # fmt: skip
        ss[i], ss[i + 1], ss[i + 2] = sx, sy, sz
    tally_block(done, scratch, work[r, b])


@jit
def _second_serial(
    pieces: Array, x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array
) -> None:
    for block in range(len(x) * len(pieces)):
        _second_of_block(block, pieces, x, f, time, damping, base, moved, work)


@jit_parallel
def _second_parallel(
    pieces: Array, x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array
) -> None:
    for block in prange(len(x) * len(pieces)):
        _second_of_block(block, pieces, x, f, time, damping, base, moved, work)
