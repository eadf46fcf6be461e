"""Unit cells: primitive vectors and a basis, and the neighbours of their sites shell by shell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = tuple[tuple[float, ...], ...]
Offset = tuple[int, int, tuple[int, ...]]

SAME = 1e-3  # relative difference below which two lengths are one: users write sqrt(3)/2 as 0.866


@dataclass(frozen=True)
class UnitCell:
    """Primitive vectors (d, D) as rows and basis positions (b, D), both [length].

    The d directions of the grid span all of space, or a part of it: a ladder has d = 1 in D = 2 dimensions.
    """

    vectors: Rows
    basis: Rows

    @cached_property
    def frame(self) -> Array:
        """The primitive vectors and, after them, unit vectors along the dimensions that they leave out, (D, D)."""
        rows = np.array(self.vectors)
        while len(rows) < rows.shape[1]:
            across = (
                np.eye(rows.shape[1]) - np.linalg.pinv(rows) @ rows
            )  # of each axis the part perpendicular to the rows
            lengths = np.linalg.norm(across, axis=1).round(9)
            rows = np.concatenate([rows, across[[lengths.argmax()]] / lengths.max()])
        return rows

    @cached_property
    def coordinates(self) -> Array:
        """The basis in units of the frame, (b, D): fractions of the primitive vectors, then lengths across them."""
        return np.array(self.basis) @ np.linalg.inv(self.frame)

    @cached_property
    def nearest(self) -> float:
        """The shortest distance between two sites [length]."""
        a, b, offset = shell_offsets(self, 1)[0]
        away = np.array(offset) @ np.array(self.vectors) + np.array(self.basis[b]) - np.array(self.basis[a])
        return float(np.linalg.norm(away))

    @cached_property
    def smallest(self) -> int:
        """Cells per direction from which on the nearest neighbours of a periodic lattice are surely distinct."""
        reached = [(a, b, np.array(offset)) for a, b, offset in shell_offsets(self, 1)]
        itself = [(a, a, np.zeros(len(self.vectors), dtype=int)) for a in range(len(self.basis))]
        pairs = itertools.combinations([*reached, *itself], 2)
        apart = (int(np.abs(one[2] - other[2]).max()) for one, other in pairs if one[:2] == other[:2])
        return 1 + max(apart, default=0)


def _cells(**cells: tuple[list[list[float]], list[list[float]]]) -> dict[str, UnitCell]:
    def rows(lists: list[list[float]]) -> Rows:
        return tuple(tuple(row) for row in lists)

    return {name: UnitCell(rows(vectors), rows(basis)) for name, (vectors, basis) in cells.items()}


_H = math.sqrt(3) / 2
# Nearest neighbours are at distance 1, and the origin is the point of highest symmetry: with a basis, the centre of a hexagon.
UNIT_CELLS = _cells(
    chain=([[1.0]], [[0.0]]),
    ladder=([[1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]),
    square=([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]]),
    triangular=([[1.0, 0.0], [0.5, _H]], [[0.0, 0.0]]),
    honeycomb=([[2 * _H, 0.0], [_H, 1.5]], [[_H, 0.5], [2 * _H, 1.0]]),
    kagome=([[2.0, 0.0], [1.0, 2 * _H]], [[1.0, 0.0], [0.5, _H], [1.5, _H]]),
    cubic=([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]),
)


@lru_cache(maxsize=64)
def shell_offsets(cell: UnitCell, shell: int) -> tuple[Offset, ...]:
    """The (basis from, basis to, cell offset) triples at the shell-th smallest distance, from both ends of each bond.

    Distances are one shell where they differ by less than SAME of the shortest one.
    """
    radius = float(np.linalg.norm(cell.vectors, axis=1).min())
    while True:
        distance, triples = _pairs_within(cell, radius)
        edges = np.flatnonzero(np.diff(distance) > SAME * distance[0]) + 1 if len(distance) else np.zeros(0, dtype=int)
        if len(edges) >= shell:  # one shell more than asked for has been seen, so this one is complete
            first, last = [0, *edges][shell - 1], edges[shell - 1]
            return tuple(sorted(triples[first:last]))
        radius *= 1.5


def offsets_within(vectors: Array, radius: float) -> Array:
    """Cell offsets n, (K, d), among them all with |n @ vectors| <= radius."""
    # n = (n @ vectors) @ pinv, so that each |n_a| is at most the radius times the length of a column.
    most = np.floor(radius * np.linalg.norm(np.linalg.pinv(vectors), axis=0) + 1e-9).astype(int)
    grid = np.indices(2 * most + 1).reshape(len(most), -1).T
    return np.asarray(grid - most)


def two_colouring(offsets: Sequence[Offset], sites: int, directions: int) -> Array | None:
    """Signs (2, ..., 2, b) of the basis sites in 2^d cells that differ across every offset; None if there are none.

    Two cells per direction are enough: a translation keeps the two colours of a connected lattice or swaps them.
    """
    colours = np.zeros((2,) * directions + (sites,))
    for start in np.ndindex(*colours.shape):
        if colours[start]:
            continue
        colours[start] = 1.0
        edge = [start]
        while edge:
            *cell, a = here = edge.pop()
            for source, b, offset in offsets:
                there = (*((n + o) % 2 for n, o in zip(cell, offset, strict=True)), b)
                if source != a:
                    continue
                if colours[there] == colours[here]:
                    return None
                if not colours[there]:
                    colours[there] = -colours[here]
                    edge.append(there)
    return colours


def shortening(vectors: Array) -> Array:
    """The integer matrix T for which the rows of T @ vectors span the same lattice and none shortens another, (d, d)."""
    rows, steps = vectors.copy(), np.eye(len(vectors), dtype=int)
    while True:
        before = steps.copy()
        for one, other in itertools.permutations(range(len(rows)), 2):
            # A step that shortens by rounding errors only would be taken back the next time.
            times = int(np.rint((rows[one] @ rows[other] / (rows[other] @ rows[other])) * (1 - 1e-9)))
            rows[one] -= times * rows[other]
            steps[one] -= times * steps[other]
        if np.array_equal(steps, before):
            return steps


def _pairs_within(cell: UnitCell, radius: float) -> tuple[Array, list[Offset]]:
    """Distances, sorted, and triples of all pairs of different sites within the radius."""
    vectors, basis = np.array(cell.vectors), np.array(cell.basis)
    between = basis[None, :] - basis[:, None]  # (from, to, D)
    offsets = offsets_within(vectors, radius + float(np.linalg.norm(between, axis=-1).max()))
    distance = np.linalg.norm(between[:, :, None] + offsets @ vectors, axis=-1)
    a, b, n = np.nonzero((distance <= radius) & (distance > 0.0))
    order = np.argsort(distance[a, b, n], kind="stable")
    a, b, n = a[order], b[order], n[order]
    triples = [(i, j, tuple(row)) for i, j, row in zip(a.tolist(), b.tolist(), offsets[n].tolist(), strict=True)]
    return distance[a, b, n], triples
