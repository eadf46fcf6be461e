"""Unit spins, a block of sites at a time: the arithmetic is that of `cuda_kernels.spins`."""

from __future__ import annotations

import numpy as np
from numba import prange

from cuda_kernels import spins
from latticemd.backends.cpu.compiling import Array, jit, jit_parallel, rows_of, words_of, worth_threads
from latticemd.backends.cpu.noise import add_block_normals
from latticemd.backends.cpu.reductions import add_block_sums

SITES = 512  # per block: its arrays stay in cache, and its first degree of freedom is even, as the noise asks

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
) -> None:
    """See `specification.spins_first_half`."""
    key, stream, step, first_replica = noise
    work = np.empty((len(x), -(-x.shape[1] // SITES)))
    words = words_of(key, stream, 0, step, first_replica)
    sweep = _first_parallel if worth_threads(x.size) else _first_serial
    sweep(rows_of(x), rows_of(f), time, damping, amplitude, words, rows_of(base), rows_of(moved), work)
    add_block_sums(work, heat)


def spins_second_half(x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, heat: Array) -> None:
    """See `specification.spins_second_half`."""
    work = np.empty((len(x), -(-x.shape[1] // SITES)))
    sweep = _second_parallel if worth_threads(x.size) else _second_serial
    sweep(rows_of(x), rows_of(f), time, damping, rows_of(base), rows_of(moved), work)
    add_block_sums(work, heat)


@jit
def _first_of_block(
    block: int,
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
    r, b = block // work.shape[1], block % work.shape[1]
    start, end = 3 * SITES * b, min(3 * SITES * (b + 1), x.shape[1])
    ss, fs, ms, ds = x[r, start:end], f[r, start:end], base[r, start:end], moved[r, start:end]
    ds[:] = 0.0
    if amplitude != 0.0:
        add_block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), start, 0.0, amplitude, ds)
    total = 0.0
    for i in range(0, end - start, 3):
        mx, my, mz, dx, dy, dz, gx, gy, gz, done = _first_half(
            ss[i], ss[i + 1], ss[i + 2], fs[i], fs[i + 1], fs[i + 2], ds[i], ds[i + 1], ds[i + 2], time, damping
        )
        ms[i], ms[i + 1], ms[i + 2] = mx, my, mz
        ds[i], ds[i + 1], ds[i + 2] = dx, dy, dz
        ss[i], ss[i + 1], ss[i + 2] = gx, gy, gz
        total -= done
    work[r, b] = total


@jit
def _first_serial(
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
    for block in range(work.size):
        _first_of_block(block, x, f, time, damping, amplitude, words, base, moved, work)


@jit_parallel
def _first_parallel(
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
    for block in prange(work.size):
        _first_of_block(block, x, f, time, damping, amplitude, words, base, moved, work)


@jit
def _second_of_block(
    block: int, x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array
) -> None:
    r, b = block // work.shape[1], block % work.shape[1]
    start, end = 3 * SITES * b, min(3 * SITES * (b + 1), x.shape[1])
    ss, fs, ms, ds = x[r, start:end], f[r, start:end], base[r, start:end], moved[r, start:end]
    total = 0.0
    for i in range(0, end - start, 3):
        sx, sy, sz, done = _second_half(
            ms[i], ms[i + 1], ms[i + 2], ds[i], ds[i + 1], ds[i + 2], ss[i], ss[i + 1], ss[i + 2],
            fs[i], fs[i + 1], fs[i + 2], time, damping,
        )  # fmt: skip
        ss[i], ss[i + 1], ss[i + 2] = sx, sy, sz
        total -= done
    work[r, b] = total


@jit
def _second_serial(x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array) -> None:
    for block in range(work.size):
        _second_of_block(block, x, f, time, damping, base, moved, work)


@jit_parallel
def _second_parallel(x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, work: Array) -> None:
    for block in prange(work.size):
        _second_of_block(block, x, f, time, damping, base, moved, work)
