"""Lattices: a periodic grid of Bravais cells with a basis, its neighbours, bonds and symmetry operations.

Sites are numbered in C order of the grid with the basis index fastest: on a square lattice of shape (Lx, Ly) the site
at (x, y) is x * Ly + y.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class UnitCell:
    """Primitive vectors (d, d) as rows and basis positions (b, d), both [length]."""

    vectors: tuple[tuple[float, ...], ...]
    basis: tuple[tuple[float, ...], ...]
    smallest: int  # cells per direction below which nearest neighbours would coincide


UNIT_CELLS = {
    "square": UnitCell(vectors=((1.0, 0.0), (0.0, 1.0)), basis=((0.0, 0.0),), smallest=3),
}


@dataclass(frozen=True)
class Bonds:
    """Pairs of neighbouring sites, each pair once: `i`, `j` of shape (B,); `vector` (B, d) points from i to j [length]."""

    i: Array
    j: Array
    vector: Array


@dataclass(frozen=True)
class Stencil:
    """Where the neighbours of all sites are, without a table of sites: kernels walk along rows of the grid's last direction.

    Row n of the grid, C order over all directions but the last, has its k-th neighbour in row `rows[k, n]`. `hops[k]` is
    (basis index of the site, basis index of the neighbour, cells ahead along the row, modulo `length`).
    """

    rows: Array  # (z, rows)
    hops: Array  # (z, 3)
    length: int


@dataclass(frozen=True)
class Symmetry:
    """One operation of the space group: site a goes to site `permutation[a]`, vectors are multiplied by `rotation`."""

    name: str
    permutation: Array
    rotation: Array


@dataclass(frozen=True)
class Lattice:
    """A periodic lattice: `type` names the unit cell, `shape` counts cells per direction.

    Raises InputError when the type is unknown or the shape does not fit it. Tables cost O(N) memory and are made on
    first use.
    """

    type: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.type not in UNIT_CELLS:
            raise InputError(f"unknown lattice type {self.type!r}; known: {', '.join(UNIT_CELLS)}")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.shape) != self.dimensions:
            raise InputError(
                f"lattice {self.type} has {self.dimensions} directions, but shape {list(self.shape)} has {len(self.shape)}"
            )
        smallest = self.cell.smallest
        if min(self.shape) < smallest:
            raise InputError(
                f"lattice {'x'.join(map(str, self.shape))} is too small: nearest neighbours of a periodic {self.type} "
                f"lattice need at least {smallest} sites per direction; use shape: {[max(n, smallest) for n in self.shape]}"
            )

    @property
    def cell(self) -> UnitCell:
        """The unit cell that the grid repeats."""
        return UNIT_CELLS[self.type]

    @property
    def dimensions(self) -> int:
        """Number of space directions d."""
        return len(self.cell.vectors)

    @property
    def sites(self) -> int:
        """Number of sites N."""
        return int(np.prod(self.shape)) * len(self.cell.basis)

    @cached_property
    def vectors(self) -> Array:
        """Primitive vectors as rows, (d, d) [length]."""
        return np.array(self.cell.vectors)

    @cached_property
    def grid(self) -> Array:
        """Grid coordinates of every cell in C order, (cells, d) integers."""
        return np.indices(self.shape).reshape(self.dimensions, -1).T

    @cached_property
    def cells(self) -> Array:
        """Grid coordinates of the cell of each site, (N, d) integers."""
        return np.repeat(self.grid, len(self.cell.basis), axis=0)

    @cached_property
    def positions(self) -> Array:
        """Positions of the sites, (N, d) [length]."""
        basis = np.tile(np.array(self.cell.basis), (int(np.prod(self.shape)), 1))
        return self.cells @ self.vectors + basis

    def site(self, cells: Array, basis: Array | int = 0) -> Array:
        """Site numbers of cells (..., d) taken modulo the periodic box, and a basis index."""
        wrapped = np.mod(cells, self.shape)
        flat = np.ravel_multi_index(tuple(np.moveaxis(wrapped, -1, 0)), self.shape)
        return flat * len(self.cell.basis) + basis

    def offsets(self, shell: int = 1) -> list[tuple[int, int, tuple[int, ...]]]:
        """The (basis from, basis to, cell offset) triples at the shell-th smallest distance; O(1) in the lattice size."""
        reach = range(-shell - 1, shell + 2)
        basis = np.array(self.cell.basis)
        found = []
        for a, b in itertools.product(range(len(basis)), repeat=2):
            for offset in itertools.product(reach, repeat=self.dimensions):
                distance = np.linalg.norm(np.array(offset) @ self.vectors + basis[b] - basis[a])
                if distance > 1e-9:
                    found.append((round(float(distance), 9), a, b, offset))
        distances = sorted({entry[0] for entry in found})
        return [(a, b, offset) for distance, a, b, offset in sorted(found) if distance == distances[shell - 1]]

    @lru_cache(maxsize=8)  # noqa: B019  (a Lattice is frozen and small; the tables are what is worth keeping)
    def bonds(self, shell: int = 1) -> Bonds:
        """All pairs of sites at the shell-th neighbour distance, each pair once."""
        i, j, vectors = [], [], []
        basis = np.array(self.cell.basis)
        for a, b, offset in self.offsets(shell):
            if (b, offset) < (a, tuple(-n for n in offset)):  # the same bond seen from its other end
                continue
            i.append(self.site(self.grid, a))
            j.append(self.site(self.grid + np.array(offset), b))
            vectors.append(np.tile(np.array(offset) @ self.vectors + basis[b] - basis[a], (len(self.grid), 1)))
        return Bonds(np.concatenate(i), np.concatenate(j), np.concatenate(vectors))

    @lru_cache(maxsize=8)  # noqa: B019
    def neighbours(self, shell: int = 1) -> Array:
        """Neighbour table (N, z): row i lists the sites at the shell-th neighbour distance from site i."""
        bonds = self.bonds(shell)
        source = np.concatenate([bonds.i, bonds.j])
        target = np.concatenate([bonds.j, bonds.i])
        order = np.argsort(source, kind="stable")
        table = np.ascontiguousarray(target[order].reshape(self.sites, -1).astype(np.int64))
        table.setflags(write=False)
        return table

    @lru_cache(maxsize=8)  # noqa: B019
    def stencil(self, shell: int = 1) -> Stencil:
        """The shell-th neighbours as row shifts: O(N / last extent) memory, and sweeps that stay contiguous."""
        *leading, length = self.shape
        row = np.indices(leading).reshape(len(leading), math.prod(leading))
        extents = np.array(leading, dtype=np.int64)[:, None]
        rows, hops = [], []
        for a, b, offset in self.offsets(shell):
            shifted = (row + np.array(offset[:-1], dtype=np.int64)[:, None]) % extents
            rows.append(np.ravel_multi_index(tuple(shifted), leading) if leading else np.zeros(1, dtype=np.int64))
            hops.append((a, b, offset[-1] % length))
        return Stencil(np.array(rows, dtype=np.int64), np.array(hops, dtype=np.int64), length)

    @cached_property
    def staggered(self) -> Array:
        """The signs (-1)^(n_1 + ... + n_d) of the checkerboard, (N,); times a sublattice sign for cells with a basis."""
        sign = 1.0 - 2.0 * (self.cells.sum(axis=1) % 2)
        sign.setflags(write=False)
        return sign

    @cached_property
    def bipartite(self) -> bool:
        """Whether every nearest-neighbour bond joins sites of opposite `staggered` sign (even extents on a square lattice)."""
        bonds = self.bonds()
        return bool(np.all(self.staggered[bonds.i] != self.staggered[bonds.j]))

    @cached_property
    def point_group(self) -> list[tuple[str, Array]]:
        """Integer matrices (d, d) on cell coordinates that keep lengths and the periodic box, with names; basis of one site.

        All matrices with entries in {-1, 0, 1} are tried: complete for reduced primitive vectors in up to 3 directions.
        """
        metric = self.vectors @ self.vectors.T
        operations = []
        for entries in itertools.product((-1, 0, 1), repeat=self.dimensions**2):
            matrix = np.array(entries).reshape(self.dimensions, self.dimensions)
            keeps_lengths = np.allclose(matrix.T @ metric @ matrix, metric)
            # Column j of the matrix is the image of direction j; the box repeats after shape[j] cells along it.
            keeps_box = all(
                (matrix[a, b] * self.shape[b]) % self.shape[a] == 0
                for a in range(self.dimensions)
                for b in range(self.dimensions)
            )
            if keeps_lengths and keeps_box:
                operations.append((_operation_name(matrix), matrix))
        return operations

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """The space group of the periodic lattice: every point operation after every translation (or about the origin only)."""
        shifts = itertools.product(*(range(n) for n in self.shape)) if translations else [(0,) * self.dimensions]
        to_cartesian = self.vectors.T
        rotations = [
            (name, matrix, to_cartesian @ matrix @ np.linalg.inv(to_cartesian)) for name, matrix in self.point_group
        ]
        for shift in shifts:
            for name, matrix, rotation in rotations:
                permutation = self.site(self.cells @ matrix.T + np.array(shift))
                yield Symmetry(f"{name} + {list(shift)}", permutation, rotation)


def _operation_name(matrix: Array) -> str:
    determinant = round(float(np.linalg.det(matrix)))
    power, order = matrix, 1
    while not np.array_equal(power, np.eye(len(matrix), dtype=int)):
        power, order = power @ matrix, order + 1
    kind = "rotation" if determinant == 1 else "reflection"
    return "identity" if order == 1 else f"{kind} of order {order} {matrix.tolist()}"
