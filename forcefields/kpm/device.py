"""`kpm` on a GPU: all vectors of all replicas side by side, as many as memory holds, a launch for each Chebyshev step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuda_kernels import chebyshev as kernels
from cuda_kernels.device import THREADS
from forcefields.kpm.chebyshev import Interval, Series
from latticemd.backends import kernels_for, on_host
from latticemd.backends.cuda.arrays import empty, launch, to_device, zeros
from latticemd.backends.cuda.stencil import rows_of
from latticemd.lattice import Lattice

Array = Any

VECTOR_BYTES = 2**33  # of T_k and T_k-1 of the vectors that are propagated together


@dataclass(frozen=True)
class OnDevice:
    """Coloured vectors on a periodic lattice with one real `hopping` [energy] between neighbours, on a GPU.

    `colours` (N,) are on the device, `count` of them.
    """

    lattice: Lattice
    hopping: float
    colours: Array
    count: int
    precision: Any

    def intervals(self, levels: Array) -> list[Interval]:
        """An interval for each replica that holds all levels (Gershgorin), from its extreme on-site energies.

        These two numbers are what leaves the device: how many launches follow depends on them.
        """
        ends = np.stack([on_host(levels.min(axis=1)), on_host(levels.max(axis=1))]).astype(float)
        centre, spread = 0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0])
        reach = spread + len(self.lattice.offsets()) / len(self.lattice.cell.basis) * abs(self.hopping)
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
        scaled: list[tuple[Array, Array]],
        series: Array,
        fields: list[Array],
        density: Array,
        energy: Array,
    ) -> None:
        """Add what the vectors first, first + 1, ... see."""
        now, other = fields
        blocks = len(now) * -(-now.shape[1] // THREADS)
        launch(kernels.start, blocks, vectors, first, self.colours, series, now, density, energy)
        stencil = self.lattice.stencil()
        rows = rows_of(stencil)
        row_size = now.shape[1] // rows.shape[1]
        hops = tuple(int(number) for number in stencil.hops.ravel())
        per_line, groups = -(-row_size // THREADS), -(-rows.shape[1] // kernels.LINES)
        grid = (len(now), rows.shape[1], row_size)
        basis = row_size // stencil.length
        for k in range(1, most):
            launch(
                kernels.step, len(now) * groups * per_line, rows, hops, stencil.length, basis, per_line, vectors, first, k,
                *scaled[min(k, 2) - 1], self.colours, series, now.reshape(grid), other.reshape(grid), density, energy,
            )  # fmt: skip
            now, other = other, now

    def _scaled(self, levels: Array, intervals: list[Interval], factor: float) -> tuple[Array, Array]:
        """On-site energies (R, N) and hopping (R,) of factor h."""
        centre = to_device(np.array([[one.centre] for one in intervals]))
        scale = to_device(np.array([[factor / one.half_width] for one in intervals]))
        return (scale * (levels - centre)).astype(self.precision), (scale * self.hopping).reshape(-1).astype(
            self.precision
        )


_painted: dict[tuple[Lattice, int], tuple[Array, int]] = {}


def colours_on_device(lattice: Lattice, distance: int, paint: Callable[[int], Array]) -> tuple[Array, int]:
    """The colours that `paint(distance)` gives to the sites of a lattice, on the device, and how many there are."""
    if (lattice, distance) not in _painted:
        _painted.clear()  # a run has one lattice and one distance
        colours = np.asarray(paint(distance))
        _painted[lattice, distance] = to_device(colours, np.int32), int(colours.max()) + 1
    return _painted[lattice, distance]
