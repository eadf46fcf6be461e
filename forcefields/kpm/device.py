"""`kpm` on a GPU: all vectors of all replicas side by side, as many as memory holds, a launch for each Chebyshev step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cuda_kernels import chebyshev as kernels
from cuda_kernels.device import THREADS
from forcefields.hopping import Graph, same_hops
from forcefields.kpm.chebyshev import Interval, Series
from latticemd.backends import kernels_for, on_host
from latticemd.backends.cuda.arrays import empty, launch, to_device, zeros
from latticemd.backends.cuda.stencil import rows_of
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hops
from latticemd.models.model import Model

Array = Any

Scaled = tuple[Array, Array]  # levels (R, N) and the factor (R,) of the hops, of h or 2 h
Taken = tuple[
    Array, Array, Array, Array
]  # colours (N,) and series (R, M, 2); densities and energies (R, N) that are added to

VECTOR_BYTES = 2**33  # of T_k and T_k-1 of the vectors that are propagated together


class Hopping(Protocol):
    """Where hops lead and how strong they are, on a GPU."""

    reach: float  # the largest sum of the moduli of the hops of a site [energy]
    unit: float  # of the amplitudes that kernels take [energy]

    def step(self, k: int, first: int, vectors: int, now: Array, other: Array, h: Scaled, taken: Taken) -> None:
        """other <- T_k of the vectors first, first + 1, ... from now = T_k-1 and other = T_k-2, all (R V, N)."""
        ...


class AlongRows:
    """One real hopping [energy] between the neighbours of a periodic lattice: rows of the grid, and no table of sites."""

    def __init__(self, lattice: Lattice, hopping: float) -> None:
        self.unit = hopping
        self.reach = len(lattice.offsets()) / len(lattice.cell.basis) * abs(hopping)
        stencil = lattice.stencil()
        self._rows, self._length = rows_of(stencil), stencil.length
        self._hops = tuple(int(number) for number in stencil.hops.ravel())

    def step(self, k: int, first: int, vectors: int, now: Array, other: Array, h: Scaled, taken: Taken) -> None:
        """See `Hopping`."""
        row_size = now.shape[1] // self._rows.shape[1]
        per_line, groups = -(-row_size // THREADS), -(-self._rows.shape[1] // kernels.LINES)
        fields = (field.reshape(len(now), self._rows.shape[1], row_size) for field in (now, other))
        launch(
            kernels.step, len(now) * groups * per_line, self._rows, self._hops, self._length, row_size // self._length, per_line,
            vectors, first, k, *h, *taken[:2], *fields, *taken[2:],
        )  # fmt: skip


class Listed:
    """Any real hops, such as those of open or antiperiodic lattices, to second neighbours or around vacancies: tables (N, z)."""

    unit = 1.0

    def __init__(self, graph: Graph, precision: Any) -> None:
        bonds, there = graph.neighbours, graph.neighbours >= 0
        amplitudes = np.where(there, graph.amplitude[bonds], 0.0)
        self.reach = float(np.abs(amplitudes).sum(axis=1).max())
        self._neighbours = to_device(np.where(there, graph.source[bonds], -1), np.int32)
        self._amplitudes = to_device(amplitudes, precision)

    def step(self, k: int, first: int, vectors: int, now: Array, other: Array, h: Scaled, taken: Taken) -> None:
        """See `Hopping`."""
        per_row = -(-now.shape[1] // THREADS)
        launch(
            kernels.listed_step, len(now) * per_row, self._neighbours, self._amplitudes, per_row, vectors, first, k, *h,
            *taken[:2], now, other, *taken[2:],
        )  # fmt: skip


@dataclass(frozen=True)
class OnDevice:
    """Coloured vectors and the hops of a model, on a GPU.

    `colours` (N,) are on the device, `count` of them.
    """

    hopping: Hopping
    colours: Array
    count: int
    precision: Any

    def intervals(self, levels: Array) -> list[Interval]:
        """An interval for each replica that holds all levels (Gershgorin), from its extreme on-site energies.

        These two numbers are what leaves the device: how many launches follow depends on them.
        """
        ends = np.stack([on_host(levels.min(axis=1)), on_host(levels.max(axis=1))]).astype(float)
        centre, spread = 0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0])
        reach = spread + self.hopping.reach
        return [Interval(float(c), float(w) or 1.0) for c, w in zip(centre, 1.000001 * reach, strict=True)]

    def solve(self, levels: Array, intervals: list[Interval], series: list[Series], density: Array) -> Array:
        """Write densities (R, N) for `levels` (R, N) and return grand potentials (R,), on the device."""
        replicas, sites = levels.shape
        most = max(one.moments for one in series)
        table = np.zeros((replicas, most, 2))
        for row, one in zip(table, series, strict=True):
            row[: one.moments, 0], row[: one.moments, 1] = one.density, one.energy
        both = to_device(table)
        found, freed = zeros((replicas, sites)), zeros((replicas, sites))
        scaled = [self._scaled(levels, intervals, factor) for factor in (1.0, 2.0)]
        itemsize = np.dtype(self.precision).itemsize
        together = max(1, min(self.count, VECTOR_BYTES // (2 * itemsize * replicas * sites)))
        for first in range(0, self.count, together):
            vectors = min(together, self.count - first)
            fields = [empty((replicas * vectors, sites), self.precision) for _ in range(2)]
            self._propagate(vectors, first, most, scaled, both, fields, found, freed)
        density[...] = found
        return kernels_for(freed).total(freed)

    def _propagate(
        self,
        vectors: int,
        first: int,
        most: int,
        scaled: list[Scaled],
        series: Array,
        fields: list[Array],
        density: Array,
        energy: Array,
    ) -> None:
        """Add what the vectors first, first + 1, ... see."""
        now, other = fields
        blocks = len(now) * -(-now.shape[1] // THREADS)
        launch(kernels.start, blocks, vectors, first, self.colours, series, now, density, energy)
        for k in range(1, most):
            h, taken = scaled[min(k, 2) - 1], (self.colours, series, density, energy)
            self.hopping.step(k, first, vectors, now, other, h, taken)
            now, other = other, now

    def _scaled(self, levels: Array, intervals: list[Interval], factor: float) -> tuple[Array, Array]:
        """On-site energies (R, N) of factor h, and what its hops are scaled by (R,)."""
        centre = to_device(np.array([[one.centre] for one in intervals]))
        scale = to_device(np.array([[factor / one.half_width] for one in intervals]))
        hops = (scale * self.hopping.unit).reshape(-1)
        return (scale * (levels - centre)).astype(self.precision), hops.astype(self.precision)


_listed: list[tuple[Hops, Any, Listed]] = []  # the last hops that were listed, in which precision, and their tables


def listed(model: Model, precision: Any) -> Listed:
    """The tables of the hops of a model; made anew where amplitudes have changed."""
    hops = model.hops()
    if _listed:
        known, its, found = _listed[0]
        if its is precision and same_hops(known, hops):
            return found
    _listed[:] = [(hops, precision, Listed(Graph.of_model(model), precision))]
    return _listed[0][2]


_painted: dict[tuple[Lattice, int], tuple[Array, int]] = {}


def colours_on_device(lattice: Lattice, distance: int, paint: Callable[[int], Array]) -> tuple[Array, int]:
    """The colours that `paint(distance)` gives to the sites of a lattice, on the device, and how many there are."""
    if (lattice, distance) not in _painted:
        _painted.clear()  # a run has one lattice and one distance
        colours = np.asarray(paint(distance))
        _painted[lattice, distance] = to_device(colours, np.int32), int(colours.max()) + 1
    return _painted[lattice, distance]
