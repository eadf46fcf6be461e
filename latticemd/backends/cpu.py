"""The kernels of `latticemd.backends.specification`, compiled by numba for the CPU.

Arrays are swept in blocks that stay in cache: a whole string of letters is applied to a block before the next one is
touched, so each array crosses the memory bus once. Sums are taken per block and then over blocks in order, so they
depend neither on the number of threads nor on how many replicas share a call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numba.extending import register_jitable

from cuda_kernels import philox
from latticemd.backends.specification import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION, Array

_BLOCK = 2048  # degrees of freedom; x, p, f and the noise of a block take 64 KiB
_PARALLEL_FROM = 65536  # degrees of freedom below which waking the threads costs more than they save

for _function in (
    philox.philox_round,
    philox.philox4x32,
    philox.uniform,
    philox.log,
    philox.sincos_turn,
    philox.counter,
    philox.normal_pair,
):
    # Inlined by force: the loops over sites become SIMD code only when no call is left in them (13 times faster).
    register_jitable(error_model="numpy", forceinline=True)(_function)

# Each sweep over blocks comes twice, with range and with prange: compiled from one function with two sets of options they
# would share, and overwrite, one entry of numba's cache.
_normal_pair = philox.normal_pair
_jit = njit(error_model="numpy", cache=True, nogil=True)
_jit_parallel = njit(error_model="numpy", cache=True, nogil=True, parallel=True)


@_jit
def _block_normals(key: Any, stream: Any, occurrence: Any, step: Any, replica: Any, first: int, out: Array) -> None:
    """Normals of the degrees of freedom first, first + 1, ... of one replica; `first` is even."""
    pairs = out.size // 2
    half = np.uint64(first // 2)
    for j in range(pairs):
        even, odd = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(j))
        out[2 * j] = even
        out[2 * j + 1] = odd
    if out.size % 2:
        even, _ = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(pairs))
        out[-1] = even


@_jit
def _normals_of_block(block: int, per_replica: int, words: Array, out: Array) -> None:
    r, b = block // per_replica, block % per_replica
    span = out[r, b * _BLOCK : (b + 1) * _BLOCK]
    _block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), b * _BLOCK, span)


@_jit
def _normals_serial(blocks: int, per_replica: int, words: Array, out: Array) -> None:
    for block in range(blocks):
        _normals_of_block(block, per_replica, words, out)


@_jit_parallel
def _normals_parallel(blocks: int, per_replica: int, words: Array, out: Array) -> None:
    for block in prange(blocks):
        _normals_of_block(block, per_replica, words, out)


@_jit
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
    start = b * _BLOCK
    xs, ps, fs = x[r, start : start + _BLOCK], p[r, start : start + _BLOCK], f[r, start : start + _BLOCK]
    n = xs.size
    xi = np.empty(n)
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
            _block_normals(words[0], words[1], occurrence, words[3], words[4] + np.uint64(r), start, xi)
            occurrence += np.uint64(1)
            for i in range(n):
                old = ps[i]
                new = a * old + c * xi[i]
                ps[i] = new
                xi[i] = new * new - old * old
            given += _sum(xi)
    heat[r, b] = 0.5 * inverse_mass * given


@_jit
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


@_jit_parallel
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


@_jit
def _sum(values: Array) -> float:
    """Sum in eight interleaved lanes: a fixed order that compilers can keep in one vector register."""
    lanes = np.zeros(8)
    whole = values.size // 8 * 8
    for i in range(0, whole, 8):
        for lane in range(8):
            lanes[lane] += values[i + lane]
    total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    for i in range(whole, values.size):
        total += values[i]
    return total


@_jit
def _dot_rows(a: Array, b: Array, out: Array) -> None:
    products = np.empty(_BLOCK)
    for r in range(a.shape[0]):
        total = 0.0
        for start in range(0, a.shape[1], _BLOCK):
            n = min(_BLOCK, a.shape[1] - start)
            for i in range(n):
                products[i] = a[r, start + i] * b[r, start + i]
            total += _sum(products[:n])
        out[r] = total


@_jit
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
    start = b * _BLOCK
    xs, fs, ms = x[r, start : start + _BLOCK], f[r, start : start + _BLOCK], moved[r, start : start + _BLOCK]
    xi = np.empty(xs.size)
    for i in range(xs.size):
        ms[i] = mobility * fs[i]
    for later in range(2):
        if amplitudes[later] != 0.0:
            step = words[3] + np.uint64(later)
            _block_normals(words[0], words[1], words[2], step, words[4] + np.uint64(r), start, xi)
            for i in range(xs.size):
                ms[i] += amplitudes[later] * xi[i]
    for i in range(xs.size):
        xs[i] += ms[i]


@_jit
def _overdamped_serial(
    blocks: int, per_replica: int, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in range(blocks):
        _overdamped_block(block, per_replica, mobility, amplitudes, x, f, words, moved)


@_jit_parallel
def _overdamped_parallel(
    blocks: int, per_replica: int, mobility: float, amplitudes: Array, x: Array, f: Array, words: Array, moved: Array
) -> None:
    for block in prange(blocks):
        _overdamped_block(block, per_replica, mobility, amplitudes, x, f, words, moved)


@_jit
def _neighbour_sum_block(
    block: int, per_replica: int, neighbours: Array, x: Array, own: float, theirs: float, out: Array
) -> None:
    r, b = block // per_replica, block % per_replica
    for i in range(b * _BLOCK, min((b + 1) * _BLOCK, x.shape[1])):
        for d in range(x.shape[2]):
            total = 0.0
            for n in range(neighbours.shape[1]):
                total += x[r, neighbours[i, n], d]
            out[r, i, d] += own * x[r, i, d] + theirs * total


@_jit
def _neighbour_sum_serial(
    blocks: int, per_replica: int, neighbours: Array, x: Array, own: float, theirs: float, out: Array
) -> None:
    for block in range(blocks):
        _neighbour_sum_block(block, per_replica, neighbours, x, own, theirs, out)


@_jit_parallel
def _neighbour_sum_parallel(
    blocks: int, per_replica: int, neighbours: Array, x: Array, own: float, theirs: float, out: Array
) -> None:
    for block in prange(blocks):
        _neighbour_sum_block(block, per_replica, neighbours, x, own, theirs, out)


@_jit
def _finite(values: Array) -> bool:
    # A difference with itself is 0 for every finite number and NaN otherwise; one sum is cheaper than a test per element.
    total = 0.0
    for i in range(values.size):
        total += values[i] - values[i]
    return total == 0.0


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _blocks(rows: Array) -> tuple[int, int, bool]:
    per_replica = -(-rows.shape[1] // _BLOCK)
    return len(rows) * per_replica, per_replica, rows.size >= _PARALLEL_FROM and get_num_threads() > 1


def _words(key: int, stream: int, occurrence: int, step: int, first_replica: int) -> Array:
    return np.array([key, stream, occurrence, step, first_replica], dtype=np.uint64)


def normals(key: int, stream: int, occurrence: int, step: int, first_replica: int, out: Array) -> None:
    """See `specification.normals`."""
    rows = _rows(out)
    blocks, per_replica, parallel = _blocks(rows)
    fill = _normals_parallel if parallel else _normals_serial
    fill(blocks, per_replica, _words(key, stream, occurrence, step, first_replica), rows)


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
) -> int:
    """See `specification.split`."""
    key, stream, step, first_replica = noise
    rows = _rows(x)
    blocks, per_replica, parallel = _blocks(rows)
    given = np.zeros((len(rows), per_replica))
    words = _words(key, stream, occurrence, step, first_replica)
    sweep = _split_parallel if parallel else _split_serial
    sweep(blocks, per_replica, letters, coefficients, rows, _rows(p), _rows(f), words, inverse_mass, given)
    drawn = int(np.count_nonzero(letters == ORNSTEIN_UHLENBECK))
    if drawn:
        heat += given.sum(axis=1)
    return drawn


def overdamped(
    x: Array, f: Array, mobility: float, amplitudes: tuple[float, float], noise: tuple[int, int, int, int], moved: Array
) -> None:
    """See `specification.overdamped`."""
    key, stream, step, first_replica = noise
    rows = _rows(x)
    blocks, per_replica, parallel = _blocks(rows)
    words = _words(key, stream, 0, step, first_replica)
    sweep = _overdamped_parallel if parallel else _overdamped_serial
    sweep(blocks, per_replica, mobility, np.array(amplitudes), rows, _rows(f), words, _rows(moved))


def neighbour_sum(neighbours: Array, x: Array, own: float, theirs: float, out: Array) -> None:
    """See `specification.neighbour_sum`."""
    per_replica = -(-x.shape[1] // _BLOCK)
    parallel = x.size >= _PARALLEL_FROM and get_num_threads() > 1
    sweep = _neighbour_sum_parallel if parallel else _neighbour_sum_serial
    sweep(len(x) * per_replica, per_replica, neighbours, x, own, theirs, out)


def dot(a: Array, b: Array) -> Array:
    """See `specification.dot`."""
    out = np.empty(len(a))
    _dot_rows(_rows(a), _rows(b), out)
    return out


def kinetic_energy(p: Array, inverse_mass: float) -> Array:
    """See `specification.kinetic_energy`."""
    return 0.5 * inverse_mass * dot(p, p)


def all_finite(x: Array) -> bool:
    """See `specification.all_finite`."""
    return bool(_finite(x.reshape(-1)))
