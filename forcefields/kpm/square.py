"""Probing on the square lattice with one real hopping, compiled for the CPU.

One vector at a time, T_k and T_{k-1} lie in two buffers, and T_{k+1} overwrites T_{k-1}. Several steps run at once as waves
that follow each other down the lattice, two rows apart, so that a large lattice crosses the memory bus once for all of them.
From every T_k v only what the vector was made for is taken: the sites of its colour. What is computed is written down plainly
in `forcefields.kpm.probing`. Neither threads nor other replicas change a bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from forcefields.kpm.chebyshev import Interval, Series
from forcefields.kpm.colouring import colours_along
from forcefields.kpm.probing import Probed, Random
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]

_WAVES = 24  # Chebyshev steps at once
_GROUP = 12288  # numbers in the rows that a wave covers before the next wave moves; those of all waves stay in cache
_LINE = 64  # bytes of a cache line: rows begin with one, as loads across two lines take twice as long
_PARALLEL_FROM = 2**25  # sites times steps times vectors, some ten milliseconds

_jit = njit(error_model="numpy", fastmath={"contract"}, cache=True, nogil=True)
_jit_parallel = njit(error_model="numpy", fastmath={"contract"}, cache=True, nogil=True, parallel=True)


@dataclass(frozen=True)
class OnSquare:
    """Probing a square lattice of `shape` sites with one real `hopping` [energy].

    The vectors are random if such are given, otherwise those of `square_colours` for this distance: with `signs` (N,) in the
    place of ones if these are given, and only those of the colours `asked` (V,) if these are.
    """

    shape: tuple[int, int]
    hopping: float
    distance: int
    random: Random | None
    precision: Any  # the NumPy type of the vectors; sums are double
    signs: Array | None = None
    asked: Array | None = None

    def propagate(
        self, hamiltonian: Hamiltonian, intervals: list[Interval], series: list[Series], pairs: bool = False
    ) -> Probed:
        """See `probing.OnGraph.propagate`; pairs are never seen here, nor needed."""
        levels = hamiltonian.levels
        replicas, longest = len(levels), max(one.moments for one in series)
        centre = np.array([interval.centre for interval in intervals])
        scale = np.array([2.0 / interval.half_width for interval in intervals])
        padded = np.zeros((replicas, 2, longest))
        for r, one in enumerate(series):
            padded[r, :, : one.moments] = one.density, one.energy
        down, across = (colours_along(extent, self.distance) for extent in self.shape)
        numbers, weight = np.arange((down.max() + 1) * (across.max() + 1)), 1.0
        signs = np.zeros((0, *self.shape), np.int8)
        if self.random:
            numbers, weight = np.arange(self.random.count), self.random.weight
            signs = self.random.signs.reshape(-1, *self.shape)
        elif self.signs is not None:
            signs = self.signs.reshape(1, *self.shape)
        if self.asked is not None:
            numbers = self.asked
        count = len(numbers)
        found = np.zeros((replicas, count if self.random else 1, 2, *self.shape))
        traces = np.zeros((replicas, count, longest))
        work = count * sum(one.moments for one in series) * levels.shape[1]
        workers = min(get_num_threads(), replicas * count) if work >= _PARALLEL_FROM else 1
        run = _shares_parallel if workers > 1 else _shares_serial
        run(
            workers,
            (scale[:, None] * (levels - centre[:, None])).reshape(-1, *self.shape).astype(self.precision),
            (scale * self.hopping).astype(self.precision),
            padded,
            np.array([one.moments for one in series]),
            down,
            across,
            self.random is not None,
            signs,
            numbers,
            found,
            traces,
        )
        summed = weight * traces.sum(axis=1)
        density, energy = (weight * found[:, :, n].sum(axis=1).reshape(levels.shape) for n in range(2))
        return Probed(density, energy, None, [summed[r, : one.moments] for r, one in enumerate(series)])


def working_bytes(shape: tuple[int, int], precision: Any) -> int:
    """Memory of the buffers of all threads [byte]."""
    itemsize = np.dtype(precision).itemsize
    return get_num_threads() * 3 * (_buffer_size(*shape, itemsize) * itemsize + _LINE)


@_jit
def stride_of(columns: int, itemsize: int) -> int:
    """Numbers from one row of a buffer to the next: a row, what lies beyond its two ends, and the rest of a cache line."""
    line = _LINE // itemsize
    return (columns + 2 + line - 1) // line * line


@_jit
def _buffer_size(rows: int, columns: int, itemsize: int) -> int:
    """Numbers in a buffer: all rows, one more above and below, a cache line before and one after."""
    return (rows + 2) * stride_of(columns, itemsize) + 2 * (_LINE // itemsize)


@_jit
def make_buffer(rows: int, columns: int, like: Array) -> Array:
    """Zeros whose first number begins a cache line."""
    size = _buffer_size(rows, columns, like.itemsize)
    whole = np.zeros(size + _LINE // like.itemsize, like.dtype)
    first = (-whole.ctypes.data % _LINE) // like.itemsize
    return whole[first : first + size]


@_jit
def row_of(row: int, stride: int, itemsize: int) -> int:
    """Where a row begins."""
    return (row + 1) * stride + _LINE // itemsize


@_jit
def _step(
    first: int, rows: int, columns: int, stride: int, diagonal: Array, hop: Any, now: Array, before: Array
) -> None:
    """T_{k+1} = 2 h T_k - T_{k-1} in some rows, the first of which begins at `first`; overwrites `before`.

    What stands between these rows is computed with them, so that the loop is long; nobody asks for it.
    """
    n = (rows - 1) * stride + columns
    own, above, below = now[first : first + n], now[first - stride :], now[first + stride :]
    left, right = now[first - 1 :], now[first + 1 :]
    level, out = diagonal[first:], before[first:]
    for i in range(n):
        out[i] = level[i] * own[i] + hop * ((above[i] + below[i]) + (left[i] + right[i])) - out[i]


@_jit
def close_rows(begin: int, end: int, shape: tuple[int, int], stride: int, t: Array) -> None:
    """Copy the ends of rows begin ... end - 1, and the first and the last row, to where their periodic neighbours look."""
    rows, columns = shape
    for row in range(begin, end):
        first = row_of(row, stride, t.itemsize)
        t[first - 1], t[first + columns] = t[first + columns - 1], t[first]
    top, bottom = row_of(0, stride, t.itemsize), row_of(rows - 1, stride, t.itemsize)
    if begin == 0:
        t[bottom + stride - 1 : bottom + stride + columns + 1] = t[top - 1 : top + columns + 1]
    if end == rows:
        t[top - stride - 1 : top - stride + columns + 1] = t[bottom - 1 : bottom + columns + 1]


@_jit
def _take(
    begin: int, end: int, stride: int, rows: Array, columns: Array, signs: Array, c: Array, t: Array, found: Array
) -> float:
    """Add c v T_k v on the sites of the vector in rows begin ... end - 1 to `found`, and return the sum of v T_k v.

    Those sites are `columns` of the rows that `rows` marks; `found` (2, Lx, columns), for the c (2,) of density and energy, has
    no gaps, so that it stays in cache.
    """
    total = 0.0
    for row in range(begin, end):
        if rows[row]:
            first, sums, stored = row_of(row, stride, t.itemsize), found[0, row], found[1, row]
            if signs.size and columns.size == signs.shape[1]:
                for n in range(columns.size):
                    value = signs[row, n] * float(t[first + n])
                    sums[n] += c[0] * value
                    stored[n] += c[1] * value
                    total += value
            elif signs.size:
                for n in range(columns.size):
                    value = signs[row, columns[n]] * float(t[first + columns[n]])
                    sums[n] += c[0] * value
                    stored[n] += c[1] * value
                    total += value
            else:
                for n in range(columns.size):
                    value = float(t[first + columns[n]])
                    sums[n] += c[0] * value
                    stored[n] += c[1] * value
                    total += value
    return total


@_jit
def _advance(
    begin: int,
    end: int,
    shape: tuple[int, int],
    stride: int,
    level: Array,
    hop: Any,
    now: Array,
    before: Array,
    rows: Array,
    columns: Array,
    signs: Array,
    c: Array,
    found: Array,
) -> float:
    """The next Chebyshev step in rows begin ... end - 1, and what they give: see `_step` and `_take`."""
    _step(row_of(begin, stride, level.itemsize), end - begin, shape[1], stride, level, hop, now, before)
    close_rows(begin, end, shape, stride, before)
    return _take(begin, end, stride, rows, columns, signs, c, before, found)


@_jit
def _do_vector(
    diagonal: Array,
    hop: Any,
    c: Array,
    rows: Array,
    columns: Array,
    signs: Array,
    level: Array,
    even: Array,
    odd: Array,
    density: Array,
    trace: Array,
) -> None:
    """Add what one vector gives to density and energy (2, Lx, Ly) and to the traces (M,)."""
    found = np.zeros((2, diagonal.shape[0], columns.size))
    begin_vector(diagonal, hop, c, rows, columns, signs, level, even, odd, found, trace)
    for start in range(2, len(c), _WAVES):
        waves = min(_WAVES, len(c) - start)
        run_waves(start, waves, diagonal.shape, hop, c, rows, columns, signs, level, even, odd, found, trace)
    end_vector(rows, columns, found, density)


@_jit
def end_vector(rows: Array, columns: Array, found: Array, density: Array) -> None:
    """Add what was found (2, Lx, columns) to density and energy (2, Lx, Ly)."""
    for row in range(rows.size):
        if rows[row]:
            for n in range(columns.size):
                density[0, row, columns[n]] += found[0, row, n]
                density[1, row, columns[n]] += found[1, row, n]


@_jit
def begin_vector(
    diagonal: Array,
    hop: Any,
    c: Array,
    rows: Array,
    columns: Array,
    signs: Array,
    level: Array,
    even: Array,
    odd: Array,
    found: Array,
    trace: Array,
) -> None:
    """T_0 v and T_1 v, and what they give."""
    shape = diagonal.shape
    stride = stride_of(shape[1], diagonal.itemsize)
    even[:] = 0.0
    odd[:] = 0.0
    for row in range(shape[0]):
        first = row_of(row, stride, diagonal.itemsize)
        level[first : first + shape[1]] = diagonal[row]
        if rows[row]:
            for n in range(columns.size):
                even[first + columns[n]] = signs[row, columns[n]] if signs.size else 1
    close_rows(0, shape[0], shape, stride, even)
    trace[0] = _take(0, shape[0], stride, rows, columns, signs, c[0], even, found)
    _step(row_of(0, stride, diagonal.itemsize), shape[0], shape[1], stride, level, hop, even, odd)
    for i in range(odd.size):
        odd[i] *= 0.5  # T_1 = h T_0
    close_rows(0, shape[0], shape, stride, odd)
    trace[1] = _take(0, shape[0], stride, rows, columns, signs, c[1], odd, found)


@_jit
def run_waves(
    start: int,
    waves: int,
    shape: tuple[int, int],
    hop: Any,
    c: Array,
    rows: Array,
    columns: Array,
    signs: Array,
    level: Array,
    even: Array,
    odd: Array,
    found: Array,
    trace: Array,
) -> None:
    """T_k v for k = start, ..., start + waves - 1, and what they give."""
    stride = stride_of(shape[1], level.itemsize)
    group = max(2, _GROUP // stride)
    for last in range(group, shape[0] + 2 * (waves - 1) + group, group):
        for wave in range(waves):
            # Wave n starts n rows down and stays two rows behind wave n - 1, which has then finished the rows on both sides:
            # there it left the T_k that wave n needs, and has no more use for the T_{k-1} that wave n overwrites.
            done, ahead = max(0, last - group - 2 * wave), min(shape[0], last - 2 * wave)
            if done >= ahead:
                continue
            k, offset = start + wave, wave % shape[0]
            now, before = (odd, even) if k % 2 == 0 else (even, odd)
            for turn in (0, shape[0]):  # rows up to the last one, and those that go on with the first
                begin, end = max(offset + done - turn, 0), min(offset + ahead - turn, shape[0])
                if begin < end:
                    trace[k] += _advance(
                        begin, end, shape, stride, level, hop, now, before, rows, columns, signs, c[k], found
                    )


@_jit
def _do_share(
    worker: int,
    workers: int,
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    random: bool,
    signs: Array,
    numbers: Array,
    density: Array,
    traces: Array,
) -> None:
    """Every workers-th vector: its density and energy (R, 1 or V, 2, Lx, Ly) and traces (R, V, M).

    `numbers` (V,) are those of the vectors; `signs` (V, Lx, Ly) of random ones, (1, Lx, Ly) or none of coloured ones.
    """
    rows, columns = diagonal.shape[1:]
    level, even = make_buffer(rows, columns, diagonal), make_buffer(rows, columns, diagonal)
    odd = make_buffer(rows, columns, diagonal)
    vectors, beside = traces.shape[1], across.max() + 1
    for task in range(worker, traces.shape[0] * vectors, workers):
        r, v = task // vectors, task % vectors
        number, own = numbers[v], v if random else 0
        _do_vector(
            diagonal[r],
            hop[r],
            coefficients[r, :, : counts[r]].T.copy(),
            np.ones(rows, np.bool_) if random else down == number // beside,
            np.arange(columns) if random else np.nonzero(across == number % beside)[0],
            signs[own : own + 1].reshape(-1, columns),
            level,
            even,
            odd,
            density[r, own],
            traces[r, v],
        )


# The loop over shares comes twice, with range and with prange: compiled from one function with two sets of options they would
# share, and overwrite, one entry of numba's cache.
@_jit
def _shares_serial(
    workers: int,
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    random: bool,
    signs: Array,
    numbers: Array,
    density: Array,
    traces: Array,
) -> None:
    for worker in range(workers):
        _do_share(
            worker, workers, diagonal, hop, coefficients, counts, down, across, random, signs, numbers, density, traces
        )


@_jit_parallel
def _shares_parallel(
    workers: int,
    diagonal: Array,
    hop: Array,
    coefficients: Array,
    counts: Array,
    down: Array,
    across: Array,
    random: bool,
    signs: Array,
    numbers: Array,
    density: Array,
    traces: Array,
) -> None:
    for worker in prange(workers):
        _do_share(
            worker, workers, diagonal, hop, coefficients, counts, down, across, random, signs, numbers, density, traces
        )
