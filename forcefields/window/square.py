"""`window` on the square lattice with one real nearest-neighbour hopping: compiled, window by window, all in cache.

It computes what `forcefields.window.graph` says. Sites whose windows share an interval are taken LANES at a time; as each
lane does the same arithmetic whoever its neighbours are, neither threads nor other replicas change a bit of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from forcefields.window.expansion import Expansion
from forcefields.window.propagation import LANES, Array, Number, corner_of, field_of, jit, jit_parallel, step, stride_of
from latticemd.models.hamiltonian import DensityMatrix

_SMALLEST_TASK = 16 * LANES  # sites that a thread takes at a time
_TASKS = 1024  # that a lattice is cut into, as each keeps sums of its own; and one more for each rung
# Sites below which waking the threads, milliseconds on a busy machine, costs more than they save.
_PARALLEL_FROM = 4096


@dataclass(frozen=True)
class OnSquare:
    """The windows of a square lattice of `shape` sites with one real `hopping` [energy]; of the sites with the numbers `asked`
    (n,) only, unless it is None."""

    shape: tuple[int, int]
    hopping: float
    width: int
    precision: Any  # the NumPy type of the arithmetic in a window
    asked: Array | None = None
    whole_sites: int = 0  # of the lattice that these are a part of, if there is more of it

    @property
    def unit(self) -> float:
        """Moments are added up in multiples of this, as integers: so their sums do not depend on the order, nor on who has which
        sites. No sum over the whole lattice has more than 62 bits."""
        return 2.0 ** (math.ceil(math.log2(max(self.whole_sites, math.prod(self.shape)))) - 62)

    def reach(self, levels: Array) -> Array:
        """A bound on the moduli of the eigenvalues of each window, (R, N) [energy], from `levels` (R, N).

        No eigenvalue of H exceeds max_i (e_i v_i + sum_j |H_ij| v_j)/v_i for any v > 0 (Collatz and Wielandt); -e_i bounds
        those of -H. A window is part of the lattice, so the largest of these numbers in it serves it too. v = 1 would be
        Gershgorin's bound; two steps of a power iteration make it a quarter lower and see three hops beyond the window.
        """
        from scipy.ndimage import maximum_filter  # half a second that other lattices need not wait for

        hopping, bounds = abs(self.hopping), np.empty_like(levels)
        for r, level in enumerate(levels):
            e = level.reshape(self.shape)
            for axis, sites in enumerate(self.shape):
                e = e.take(np.arange(-3, sites + 3), axis, mode="wrap")
            # Of the neighbourhood: the largest on the lattice would make forces depend on everything.
            shift = np.maximum(np.abs(_inner(e)), np.maximum.reduce(_neighbours(np.abs(e))))
            both = [_quotients(sign * e, shift, hopping) for sign in (1.0, -1.0)]
            bounds[r] = maximum_filter(np.maximum(*both), size=self.width, mode="wrap").ravel()
        return bounds

    def solve(
        self, levels: Array, rungs: Array, expansions: dict[int, Expansion]
    ) -> tuple[DensityMatrix, Array, Array]:
        """The densities and the energies of the sites, (R, N) each, for `levels` (R, N) counted from the middle of the
        intervals, and sums of moments in multiples of `unit`; zero where nobody asks.

        `rungs` (R, N) names the expansion of each window. The sums (R, J, K + 1), J expansions in order and K the highest
        order, are sum_i mu_k over the sites of a replica that use expansion j.
        """
        most = max(each.order for each in expansions.values())
        weights = np.zeros((len(expansions), 2, most + 1))
        for row, each in zip(weights, expansions.values(), strict=True):
            row[:, : each.order + 1] = each.density, each.energy
        sites, tasks = _tasks(rungs, list(expansions), self.asked)
        radius = self.width // 2
        padded = np.pad(
            levels.reshape(len(levels), *self.shape).astype(self.precision),
            ((0, 0), (radius, radius), (radius, radius)),
            mode="wrap",
        )
        density, energy, parts = (
            np.zeros(levels.shape),
            np.zeros(levels.shape),
            np.empty((len(tasks), most + 1), dtype=np.int64),
        )
        worthwhile = levels.size >= _PARALLEL_FROM and len(tasks) > 1 and get_num_threads() > 1
        run = _tasks_parallel if worthwhile else _tasks_serial
        run(
            (0,) * self.width,
            tasks,
            sites,
            np.array([each.order for each in expansions.values()]),
            np.array([2.0 / each.half_width for each in expansions.values()]).astype(self.precision),
            weights,
            1.0 / self.unit,
            self.precision(self.hopping),
            padded.reshape(-1),
            (padded.shape[2], self.shape[1]),
            density,
            energy,
            parts,
        )
        sums = np.zeros((len(levels), len(expansions), most + 1), dtype=np.int64)
        for (replica, number, *_), part in zip(tasks, parts, strict=True):
            sums[replica, number] += part
        return DensityMatrix(density), energy, sums


def working_bytes(width: int, order: int, sites: int) -> int:
    """Memory that the windows of all threads, and the sums of all tasks of a replica, take at most [byte]."""
    tasks = -(-sites // _task_size(sites)) + 64
    return 8 * tasks * (order + 1) + get_num_threads() * 8 * (
        3 * field_of((0,) * width) + (order + 2 * width + 3) * LANES
    )


def _quotients(e: Array, shift: Array, hopping: float) -> Array:
    """(e_i v_i + sum_j |H_ij| v_j)/v_i with v two steps of e + shift >= 0 and hopping away from v = 1.

    Every look at neighbours takes a rim off the arrays: e comes with three of them, `shift` with two.
    """
    v, e = np.ones_like(e), _inner(e)
    for _ in range(2):
        v = (e + shift) * _inner(v) + hopping * _neighbour_sum(v)
        np.copyto(v, 1.0, where=v <= 0.0)  # isolated sites
        e, shift = _inner(e), _inner(shift)
    return e + hopping * _neighbour_sum(v) / _inner(v)


def _inner(v: Array) -> Array:
    return v[1:-1, 1:-1]


def _neighbours(v: Array) -> tuple[Array, Array, Array, Array]:
    return v[:-2, 1:-1], v[2:, 1:-1], v[1:-1, :-2], v[1:-1, 2:]


def _neighbour_sum(v: Array) -> Array:
    north, south, west, east = _neighbours(v)
    # Pairs first: the sum then commutes with D4 to the last bit, and so does the choice of a rung.
    return (north + south) + (west + east)


def _task_size(sites: int) -> int:
    """Depends on the lattice alone, and so does the order in which moments are added up."""
    return max(_SMALLEST_TASK, -(-sites // (_TASKS * LANES)) * LANES)


def _tasks(rungs: Array, names: list[int], asked: Array | None) -> tuple[Array, Array]:
    """The sites of all replicas that are asked, sorted by rung, (R, n), and tasks (T, 4): replica, number of the rung, first,
    last + 1."""
    if asked is not None:
        rungs = rungs[:, asked]
    order = np.argsort(rungs, axis=1, kind="stable")
    size, tasks = _task_size(rungs.shape[1]), []
    for replica, row in enumerate(rungs):
        counts = [np.count_nonzero(row == name) for name in names]
        for number, (start, count) in enumerate(zip(np.cumsum([0, *counts]).tolist(), counts, strict=False)):
            for first in range(start, start + count, size):
                tasks.append((replica, number, first, min(first + size, start + count)))
    return order if asked is None else asked[order], np.array(tasks)


@jit
def _load(width: Number, sites: Array, start: int, strides: Any, padded: Array, scale: Any, t: Array) -> None:
    """Scaled levels of LANES windows; `start` is where their replica begins in the padded lattice."""
    across, inside = strides
    levels = t[2 * field_of(width) + corner_of(width) :]
    origin = np.empty(LANES, np.int64)
    for lane in range(LANES):
        origin[lane] = start + sites[lane] // inside * across + sites[lane] % inside
    for row in range(len(width)):
        for column in range(len(width)):
            to, shift = row * stride_of(width) + column * LANES, row * across + column
            for lane in range(LANES):
                levels[to + lane] = scale * padded[origin[lane] + shift]


@jit
def _begin(width: Number, hop: Any, t: Array) -> None:
    """T_0 in the first field and T_-1 = T_1 in the second."""
    stride, field, radius = stride_of(width), field_of(width), len(width) // 2
    centre = corner_of(width) + radius * (stride + LANES)
    t[: 2 * field] = 0
    half = t.dtype.type(0.5)
    for lane in range(LANES):
        i = centre + lane
        t[i] = 1
        t[i + field] = half * t[i + 2 * field]
        for shift in (-stride, -LANES, LANES, stride):
            t[i + field + shift] = half * hop


@jit
def _collect(width: Number, k: int, sums: Array, found: Array) -> None:
    """mu_2k-1 = 2 <T_k|T_k-1> - mu_1 and mu_2k = 2 <T_k|T_k> - 1 of all lanes from the sums over rows."""
    n, columns = len(width) * LANES, len(width)
    while columns > 1:  # the last columns are added to the first ones, as many as there are
        half = columns // 2
        _add_columns(half * LANES, sums[(columns - half) * LANES :], sums)
        _add_columns(half * LANES, sums[(columns - half) * LANES + n :], sums[n:])
        columns -= half
    for lane in range(LANES):
        found[2 * k - 1, lane] = 2 * sums[lane] - found[1, lane] if k > 1 else sums[lane]
        found[2 * k, lane] = 2 * sums[lane + n] - 1


@jit
def _add_columns(n: int, columns: Array, sums: Array) -> None:
    for i in range(n):
        sums[i] += columns[i]


@jit
def _on_cache_line(n: int, like: Array) -> Array:
    """An array that begins where a cache line does: vectors that straddle two make a sweep half as long again."""
    room = np.empty(n + 64 // like.itemsize, like.dtype)
    skip = -room.ctypes.data % 64 // like.itemsize
    return room[skip : skip + n]


@jit
def _do_task(
    width: Number,
    task: Array,
    sites: Array,
    orders: Array,
    scales: Array,
    weights: Array,
    units: float,
    hopping: Any,
    padded: Array,
    strides: Any,
    density: Array,
    energy: Array,
    part: Array,
) -> None:
    """Density and energy (R, N) and sums of moments (K + 1,), `units` for 1, of one task, a row of `_tasks`."""
    replica, number, first, last = task
    order = orders[number]
    t, sums = _on_cache_line(3 * field_of(width), padded), _on_cache_line(2 * len(width) * LANES, padded)
    found, lanes = np.empty((order + 1, LANES), padded.dtype), np.empty(LANES, np.int64)
    t[:] = 0
    hop = scales[number] * hopping
    found[0] = 1
    part[:] = 0
    for start in range(first, last, LANES):
        for lane in range(LANES):  # lanes beyond the last site repeat it
            lanes[lane] = sites[replica, min(start + lane, last - 1)]
        _load(width, lanes, replica * (padded.size // len(density)), strides, padded, scales[number], t)
        _begin(width, hop, t)
        for k in range(order // 2):
            sums[:] = 0
            if k % 2 == 0:
                step(width, (), k, t, hop, sums)
            else:
                step(width, (0,), k, t, hop, sums)
            _collect(width, k + 1, sums, found)
        for lane in range(min(LANES, last - start)):
            filled, stored = 0.0, 0.0
            for k in range(order + 1):
                filled += weights[number, 0, k] * found[k, lane]
                stored += weights[number, 1, k] * found[k, lane]
                part[k] += np.int64(np.rint(units * found[k, lane]))
            density[replica, lanes[lane]] = filled
            energy[replica, lanes[lane]] = stored


@jit
def _tasks_serial(
    width: Number,
    tasks: Array,
    sites: Array,
    orders: Array,
    scales: Array,
    weights: Array,
    units: float,
    hopping: Any,
    padded: Array,
    strides: Any,
    density: Array,
    energy: Array,
    parts: Array,
) -> None:
    for n in range(len(tasks)):
        _do_task(
            width, tasks[n], sites, orders, scales, weights, units, hopping, padded, strides, density, energy, parts[n]
        )


@jit_parallel
def _tasks_parallel(
    width: Number,
    tasks: Array,
    sites: Array,
    orders: Array,
    scales: Array,
    weights: Array,
    units: float,
    hopping: Any,
    padded: Array,
    strides: Any,
    density: Array,
    energy: Array,
    parts: Array,
) -> None:
    for n in prange(len(tasks)):
        _do_task(
            width, tasks[n], sites, orders, scales, weights, units, hopping, padded, strides, density, energy, parts[n]
        )
