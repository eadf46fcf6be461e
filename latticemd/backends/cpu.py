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

from cuda_kernels import philox, thermostats
from latticemd.backends.specification import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION, Array
from latticemd.lattice import Stencil

_BLOCK = 2048  # degrees of freedom; x, p and f of a block take 48 KiB
_EXPONENT = np.int64(0x7FF0000000000000)
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

for _whole in (thermostats.chain_factor, thermostats.chain_energy, thermostats.resampling_factor):
    register_jitable(error_model="numpy")(_whole)

# Each sweep over blocks comes twice, with range and with prange: compiled from one function with two sets of options they
# would share, and overwrite, one entry of numba's cache.
_normal_pair = philox.normal_pair
_chain_factor, _chain_energy = thermostats.chain_factor, thermostats.chain_energy
_resampling_factor = thermostats.resampling_factor
_jit = njit(error_model="numpy", cache=True, nogil=True)
_jit_parallel = njit(error_model="numpy", cache=True, nogil=True, parallel=True)


@_jit
def _add_block_normals(
    key: Any,
    stream: Any,
    occurrence: Any,
    step: Any,
    replica: Any,
    first: int,
    keep: float,
    amplitude: float,
    out: Array,
) -> None:
    """out <- keep out + amplitude xi for the degrees of freedom first, first + 1, ... of one replica; `first` is even."""
    pairs = out.size // 2
    half = np.uint64(first // 2)
    for j in range(pairs):
        even, odd = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(j))
        out[2 * j] = keep * out[2 * j] + amplitude * even
        out[2 * j + 1] = keep * out[2 * j + 1] + amplitude * odd
    if out.size % 2:
        even, _ = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(pairs))
        out[-1] = keep * out[-1] + amplitude * even


@_jit
def _normals_of_block(block: int, per_replica: int, words: Array, out: Array) -> None:
    r, b = block // per_replica, block % per_replica
    span = out[r, b * _BLOCK : (b + 1) * _BLOCK]
    span[:] = 0.0
    _add_block_normals(words[0], words[1], words[2], words[3], words[4] + np.uint64(r), b * _BLOCK, 0.0, 1.0, span)


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
            given -= _dot(ps, ps)
            _add_block_normals(words[0], words[1], occurrence, words[3], words[4] + np.uint64(r), start, a, c, ps)
            occurrence += np.uint64(1)
            given += _dot(ps, ps)
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
def _dot(a: Array, b: Array) -> float:
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


@_jit
def _dot_rows(a: Array, b: Array, out: Array) -> None:
    for r in range(a.shape[0]):
        total = 0.0
        for start in range(0, a.shape[1], _BLOCK):
            total += _dot(a[r, start : start + _BLOCK], b[r, start : start + _BLOCK])
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
    for i in range(xs.size):
        ms[i] = mobility * fs[i]
    for later in range(2):
        if amplitudes[later] != 0.0:
            step = words[3] + np.uint64(later)
            _add_block_normals(
                words[0], words[1], words[2], step, words[4] + np.uint64(r), start, 1.0, amplitudes[later], ms
            )
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
def _add_scaled(factor: float, a: Array, out: Array) -> None:
    for i in range(a.size):
        out[i] += factor * a[i]


@_jit
def _stencil_rows(
    block: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    r, b = block // per_replica, block % per_replica
    width, basis = x.shape[2], 1 + hops[:, 0].max()
    together = max(1, _BLOCK // width)
    for row in range(b * together, min((b + 1) * together, x.shape[1])):
        xs, ys, bs = x[r, row], out[r, row], base[r, row]
        for i in range(width):
            ys[i] = bs[i] + own * xs[i]
        for k in range(len(hops)):
            xs = x[r, rows[k, row]]
            ahead = hops[k, 2] * basis * components
            if basis == 1:
                # A row turned by `ahead` is two whole pieces; slices, because sums of indices do not become SIMD code.
                _add_scaled(theirs, xs[ahead:], ys)
                _add_scaled(theirs, xs[:ahead], ys[width - ahead :])
            else:
                to, start = hops[k, 0] * components, hops[k, 1] * components + ahead
                for cell in range(0, width, basis * components):
                    here = (cell + start) % width
                    for d in range(components):
                        ys[cell + to + d] += theirs * xs[here + d]


@_jit
def _stencil_serial(
    blocks: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    for block in range(blocks):
        _stencil_rows(block, per_replica, rows, hops, components, x, base, own, theirs, out)


@_jit_parallel
def _stencil_parallel(
    blocks: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    for block in prange(blocks):
        _stencil_rows(block, per_replica, rows, hops, components, x, base, own, theirs, out)


@_jit
def _nose_hoover(
    velocity: Array,
    position: Array,
    ratio: Array,
    degrees: float,
    tau: float,
    time: float,
    factor: Array,
    gained: Array,
) -> None:
    for r in range(ratio.size):
        before = _chain_energy(velocity[r], position[r], degrees, tau)
        factor[r] = _chain_factor(velocity[r], position[r], ratio[r], degrees, tau, time)
        gained[r] = _chain_energy(velocity[r], position[r], degrees, tau) - before


@_jit
def _resampling(words: Array, degrees: float, keep: float, ratio: Array, factor: Array) -> None:
    for r in range(ratio.size):
        factor[r] = _resampling_factor(
            words[0], words[1], words[2], words[3], words[4] + np.uint64(r), degrees, keep, ratio[r]
        )


@_jit
def _finite(bits: Array) -> bool:
    # NaN and infinities are the doubles whose exponent bits are all set; as integers, eight are tested at a time.
    bad = 0
    for i in range(bits.size):
        bad |= (bits[i] & _EXPONENT) == _EXPONENT
    return bad == 0


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


def neighbour_sum(stencil: Stencil, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """See `specification.neighbour_sum`."""
    shape = (len(x), stencil.rows.shape[1], -1)
    by_row = x.reshape(shape)
    per_replica = -(-by_row.shape[1] // max(1, _BLOCK // by_row.shape[2]))
    parallel = x.size >= _PARALLEL_FROM and get_num_threads() > 1
    sweep = _stencil_parallel if parallel else _stencil_serial
    sweep(
        len(x) * per_replica,
        per_replica,
        stencil.rows,
        stencil.hops,
        x.shape[2],
        by_row,
        base.reshape(shape),
        own,
        theirs,
        out.reshape(shape),
    )


def nose_hoover(
    velocity: Array, position: Array, ratio: Array, degrees: int, tau: float, time: float
) -> tuple[Array, Array]:
    """See `specification.nose_hoover`."""
    factor, gained = np.empty(len(ratio)), np.empty(len(ratio))
    _nose_hoover(velocity, position, ratio, float(degrees), tau, time, factor, gained)
    return factor, gained


def resampling(noise: tuple[int, int, int, int, int], degrees: int, keep: float, ratio: Array) -> Array:
    """See `specification.resampling`."""
    factor = np.empty(len(ratio))
    _resampling(_words(*noise), float(degrees), keep, ratio, factor)
    return factor


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
    return bool(_finite(x.reshape(-1).view(np.int64)))
