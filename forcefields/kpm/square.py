"""Probing on the square lattice with one real hopping, compiled for the CPU.

Each vector is a task of its own: T_k and T_{k-1} lie in two buffers, T_{k+1} overwrites T_{k-1}. Several steps run at once as
waves that follow each other down the lattice, two groups of rows apart, so that a large lattice crosses the memory bus once
for all of them. From every T_k v only what the vector was made for is taken: the sites of its colour. What is computed is
written down plainly in `forcefields.kpm.probing`. Neither threads nor other replicas change a bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from forcefields.kpm.chebyshev import Interval
from forcefields.kpm.colouring import colours_along
from forcefields.kpm.probing import Random

Array = NDArray[Any]

_WAVES = 8  # Chebyshev steps at once
_GROUP = 4096  # numbers in the rows that a wave covers before the next wave moves: two buffers of them stay in cache
_LINE = 64  # bytes of a cache line: rows begin with one, as loads across two lines take twice as long
_PARALLEL_FROM = 2**25  # sites times steps times vectors, some ten milliseconds

_jit = njit(error_model="numpy", fastmath={"contract"}, cache=True, nogil=True)
_jit_parallel = njit(error_model="numpy", fastmath={"contract"}, cache=True, nogil=True, parallel=True)


@dataclass(frozen=True)
class OnSquare:
    """Probing a square lattice of `shape` sites with one real `hopping` [energy].

    The vectors are random if such are given, otherwise those of `square_colours` for this distance.
    """

    shape: tuple[int, int]
    hopping: float
    distance: int
    random: Random | None
    precision: Any  # the NumPy type of the vectors; sums are double

    def propagate(
        self, levels: Array, intervals: list[Interval], coefficients: list[Array]
    ) -> tuple[Array, list[Array]]:
        """See `probing.OnGraph.propagate`."""
        replicas, longest = len(levels), max(len(c) for c in coefficients)
        centre = np.array([interval.centre for interval in intervals])
        scale = np.array([2.0 / interval.half_width for interval in intervals])
        padded = np.zeros((replicas, longest))
        for r, c in enumerate(coefficients):
            padded[r, : len(c)] = c
        down, across = (colours_along(extent, self.distance) for extent in self.shape)
        count, weight = (down.max() + 1) * (across.max() + 1), 1.0
        signs = np.zeros((0, *self.shape), np.int8)
        if self.random:
            count, weight = self.random.count, self.random.weight
            signs = self.random.signs.reshape(count, *self.shape)
        density = np.zeros((replicas, len(signs) or 1, *self.shape))
        traces = np.zeros((replicas, count, longest))
        work = count * sum(len(c) for c in coefficients) * levels.shape[1]
        run = _vectors_parallel if work >= _PARALLEL_FROM and get_num_threads() > 1 else _vectors_serial
        run(
            (scale[:, None] * (levels - centre[:, None])).reshape(-1, *self.shape).astype(self.precision),
            (scale * self.hopping).astype(self.precision),
            padded,
            np.array([len(c) for c in coefficients]),
            down,
            across,
            signs,
            density,
            traces,
        )
        summed = weight * traces.sum(axis=1)
        whole = weight * density.sum(axis=1).reshape(levels.shape)
        return whole, [summed[r, : len(c)] for r, c in enumerate(coefficients)]


def working_bytes(shape: tuple[int, int], precision: Any) -> int:
    """Memory of the buffers of all threads [byte]."""
    return (
        get_num_threads()
        * 3
        * (_buffer_size(*shape, np.dtype(precision).itemsize) * np.dtype(precision).itemsize + _LINE)
    )


@_jit
def _stride(columns: int, itemsize: int) -> int:
    """Numbers from one row of a buffer to the next: a row, what lies beyond its two ends, and the rest of a cache line."""
    line = _LINE // itemsize
    return (columns + 2 + line - 1) // line * line


@_jit
def _buffer_size(rows: int, columns: int, itemsize: int) -> int:
    """Numbers in a buffer: all rows, one more above and below, a cache line before and one after."""
    return (rows + 2) * _stride(columns, itemsize) + 2 * (_LINE // itemsize)


@_jit
def _buffer(rows: int, columns: int, like: Array) -> Array:
    """Zeros whose first number begins a cache line."""
    size = _buffer_size(rows, columns, like.itemsize)
    whole = np.zeros(size + _LINE // like.itemsize, like.dtype)
    first = (-whole.ctypes.data % _LINE) // like.itemsize
    return whole[first : first + size]


@_jit
def _row(row: int, stride: int, itemsize: int) -> int:
    """Where a row begins."""
    return (row + 1) * stride + _LINE // itemsize


@_jit
def _step(
    first: int, rows: int, columns: int, stride: int, diagonal: Array, hop: Any, now: Array, before: Array
) -> None:
    """T_{k+1} = 2 h T_k - T_{k-1} in some rows, the first of which begins at `first`; overwrites `before`.

    What stands between these rows is computed with them, so that the loop is long: bounded numbers that nobody asks for.
    """
    n = (rows - 1) * stride + columns
    own, above, below = now[first : first + n], now[first - stride :], now[first + stride :]
    left, right = now[first - 1 :], now[first + 1 :]
    level, out = diagonal[first:], before[first:]
    for i in range(n):
        out[i] = level[i] * own[i] + hop * ((above[i] + below[i]) + (left[i] + right[i])) - out[i]


@_jit
def _close(begin: int, end: int, shape: tuple[int, int], stride: int, t: Array) -> None:
    """Copy the ends of rows begin ... end - 1, and the first and the last row, to where their periodic neighbours look."""
    rows, columns = shape
    for row in range(begin, end):
        first = _row(row, stride, t.itemsize)
        t[first - 1], t[first + columns] = t[first + columns - 1], t[first]
    top, bottom = _row(0, stride, t.itemsize), _row(rows - 1, stride, t.itemsize)
    if begin == 0:
        t[bottom + stride - 1 : bottom + stride + columns + 1] = t[top - 1 : top + columns + 1]
    if end == rows:
        t[top - stride - 1 : top - stride + columns + 1] = t[bottom - 1 : bottom + columns + 1]


@_jit
def _gather(row: int, columns: Array, c: float, t: Array, density: Array) -> float:
    """Add c T_k v to the density of some columns of one row, and return the sum of T_k v over them."""
    total = 0.0
    for column in columns:
        value = float(t[row + column])
        density[column] += c * value
        total += value
    return total


@_jit
def _gather_signed(row: int, signs: Array, c: float, t: Array, density: Array) -> float:
    """Add c v T_k v to the density of one row, and return the sum of v T_k v over it."""
    total = 0.0
    for column in range(signs.size):
        value = signs[column] * float(t[row + column])
        density[column] += c * value
        total += value
    return total


@_jit
def _take(
    begin: int,
    end: int,
    stride: int,
    colour: int,
    c: float,
    t: Array,
    rows: Array,
    columns: Array,
    signs: Array,
    density: Array,
) -> float:
    """What rows begin ... end - 1 of T_k v give to the density, (Lx, Ly), and to the trace of T_k."""
    total = 0.0
    for row in range(begin, end):
        first = _row(row, stride, t.itemsize)
        if signs.size:
            total += _gather_signed(first, signs[row], c, t, density[row])
        elif rows[row] == colour:
            total += _gather(first, columns, c, t, density[row])
    return total


@_jit
def _do_vector(
    task: int,
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    signs: Array,
    density: Array,
    traces: Array,
) -> None:
    """Density (R, 1 or V, Lx, Ly) and traces (R, V, M) of one vector; they are numbered replica by replica."""
    replica, vector = task // traces.shape[1], task % traces.shape[1]
    shape = diagonal.shape[1:]
    stride = _stride(shape[1], diagonal.itemsize)
    level = _buffer(shape[0], shape[1], diagonal)
    even, odd = _buffer(shape[0], shape[1], diagonal), _buffer(shape[0], shape[1], diagonal)
    mine = signs[vector] if len(signs) else np.zeros((0, 0), signs.dtype)
    colour, beside = vector // (across.max() + 1), vector % (across.max() + 1)
    columns = np.nonzero(across == beside)[0]
    target = density[replica, vector if len(signs) else 0]
    trace, c = traces[replica, vector], coefficients[replica]
    for row in range(shape[0]):
        first = _row(row, stride, diagonal.itemsize)
        level[first : first + shape[1]] = diagonal[replica, row]
        if len(signs):
            even[first : first + shape[1]] = mine[row]
        elif down[row] == colour:
            for column in columns:
                even[first + column] = 1.0
    _close(0, shape[0], shape, stride, even)
    trace[0] = _take(0, shape[0], stride, colour, c[0], even, down, columns, mine, target)
    first = _row(0, stride, diagonal.itemsize)
    _step(first, shape[0], shape[1], stride, level, hop[replica], even, odd)
    for i in range(odd.size):
        odd[i] *= 0.5  # T_1 = h T_0
    _close(0, shape[0], shape, stride, odd)
    trace[1] = _take(0, shape[0], stride, colour, c[1], odd, down, columns, mine, target)
    group = max(1, _GROUP // stride)
    groups = (shape[0] + group - 1) // group
    for start in range(2, counts[replica], _WAVES):
        waves = min(_WAVES, counts[replica] - start)
        for time in range(groups + 2 * (waves - 1)):
            for wave in range(waves):
                # Wave n starts n groups down. Where it is now, wave n - 1 has finished the groups on both sides: there it left
                # the T_k that wave n needs, and has no more use for the T_{k-1} that wave n overwrites.
                place = time - 2 * wave
                if 0 <= place < groups:
                    begin = (wave + place) % groups * group
                    end = min(begin + group, shape[0])
                    k = start + wave
                    now, before = (odd, even) if k % 2 == 0 else (even, odd)
                    first = _row(begin, stride, diagonal.itemsize)
                    _step(first, end - begin, shape[1], stride, level, hop[replica], now, before)
                    _close(begin, end, shape, stride, before)
                    trace[k] += _take(begin, end, stride, colour, c[k], before, down, columns, mine, target)


# The loop over vectors comes twice, with range and with prange: compiled from one function with two sets of options they
# would share, and overwrite, one entry of numba's cache.
@_jit
def _vectors_serial(
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    signs: Array,
    density: Array,
    traces: Array,
) -> None:
    for task in range(traces.shape[0] * traces.shape[1]):
        _do_vector(task, diagonal, hop, coefficients, counts, down, across, signs, density, traces)


@_jit_parallel
def _vectors_parallel(
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    signs: Array,
    density: Array,
    traces: Array,
) -> None:
    for task in prange(traces.shape[0] * traces.shape[1]):
        _do_vector(task, diagonal, hop, coefficients, counts, down, across, signs, density, traces)
