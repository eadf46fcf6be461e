"""How numbers on the sites of a lattice become a picture: pixels, polygons, or stripes in time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.figures.style import diverging
from latticemd.lattice import Lattice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Array = NDArray[Any]


@dataclass(frozen=True)
class Map:
    """The sites of a lattice in a plane, each with the polygon of points that are closest to it.

    Of three directions, the cells with the last coordinate zero are shown. Squares are drawn as pixels, which also serve
    lattices of millions of sites.
    """

    lattice: Lattice

    @property
    def note(self) -> str:
        """What of the lattice is shown, if not all."""
        return "one layer" if self.lattice.directions == 3 else ""

    @cached_property
    def shown(self) -> Array:
        """Numbers of the sites that are drawn."""
        cells = self.lattice.cells
        return np.flatnonzero(cells[:, 2] == 0) if cells.shape[1] == 3 else np.arange(self.lattice.sites)

    @property
    def aspect(self) -> float:
        """Width over height."""
        corners = self._extent
        return float((corners[1] - corners[0]) / (corners[3] - corners[2]))

    def values(self, values: Array) -> Array:
        """What `set_array` of a drawn map takes to show other values (N,)."""
        shown: Array = values[self.shown]
        return picture(shown, self.lattice) if self.squares else shown

    def draw(self, axis: Axes, values: Array, limit: float) -> ScalarMappable:
        """Draw the values (N,) with colours from -limit to limit."""
        from matplotlib.collections import PolyCollection

        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if self.squares:
            return axis.imshow(
                self.values(values), cmap=diverging(), vmin=-limit, vmax=limit,
                origin="lower", interpolation="nearest",
            )  # fmt: skip
        polygons = PolyCollection(self._polygons, cmap=diverging(), edgecolors="face", linewidths=0.1)
        polygons.set_array(self.values(values))
        polygons.set_clim(-limit, limit)
        axis.add_collection(polygons)
        left, right, bottom, top = self._extent
        axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        return polygons

    @cached_property
    def squares(self) -> bool:
        """Whether sites are the unit squares of a grid, drawn as pixels."""
        vectors = self.lattice.vectors[:2, :2]
        return len(self.lattice.cell.basis) == 1 and np.array_equal(vectors, np.eye(2))

    @cached_property
    def outlines(self) -> list[Array]:
        """The polygon (corners, 2) around a site, relative to it, for each site of the basis [length]."""
        from scipy.spatial import Voronoi

        basis, vectors = np.array(self.lattice.cell.basis)[:, :2], self.lattice.vectors[:2, :2]
        around = np.array(list(itertools.product((0, 1, -1, 2, -2), repeat=2))) @ vectors  # the cell itself comes first
        cells = Voronoi((around[:, None] + basis).reshape(-1, 2))
        return [cells.vertices[cells.regions[cells.point_region[b]]] - basis[b] for b in range(len(basis))]

    @property
    def points(self) -> Array:
        """Where the sites that are shown lie, in the order of `shown`, (M, 2) [length]."""
        points: Array = self.lattice.positions[self.shown, :2]
        return points

    @cached_property
    def _polygons(self) -> list[Array]:
        kinds = len(self.outlines)
        return [self.outlines[site % kinds] + point for site, point in zip(self.shown, self.points, strict=True)]

    @cached_property
    def _extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        if self.squares:
            return -0.5, self.lattice.shape[0] - 0.5, -0.5, self.lattice.shape[1] - 0.5
        corners = np.concatenate(self._polygons)
        (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
        return float(left), float(right), float(bottom), float(top)


def picture(values: Array, lattice: Lattice) -> Array:
    """Values of the sites of a plane (N,) as rows of pixels for imshow with origin "lower": x to the right, y up."""
    return values.reshape(lattice.shape[:2]).T


def draw_stripes(axis: Axes, time: Array, fields: Array, lattice: Lattice, limit: float) -> ScalarMappable:
    """Fields (K, N) of a lattice with one direction: sites to the right, time upwards; kinds of sites side by side."""
    kinds = len(lattice.cell.basis)
    rows = fields.reshape(len(fields), -1, kinds).swapaxes(1, 2).reshape(len(fields), -1)
    edges = np.concatenate([[time[0]], 0.5 * (time[1:] + time[:-1]), [time[-1]]]) if len(time) > 1 else [0.0, 1.0]
    image = axis.pcolormesh(np.arange(rows.shape[1] + 1) - 0.5, edges, rows, cmap=diverging(), vmin=-limit, vmax=limit)
    axis.set(xlabel="site", ylabel="time")
    return image


def columns_for(count: int, aspect: float, target: float) -> int:
    """Columns that arrange `count` panels of width/height `aspect` without gaps in a block of about aspect `target`."""
    full = [n for n in range(1, count + 1) if count % n == 0]
    return min(full, key=lambda n: abs(np.log(n * n * aspect / count / target)))
