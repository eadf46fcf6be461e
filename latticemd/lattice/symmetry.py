"""The space group of a lattice: operations of its unit cell, those that fit the box, and the permutations of sites they are."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.lattice.cells import UnitCell, offsets_within, shortening

Array = NDArray[Any]

_EXACT = 1e-7  # tolerance on coordinates of exact unit cells, which those of users are made to be


@dataclass(frozen=True)
class Symmetry:
    """One operation of the space group: site a goes to site `permutation[a]`, vectors (D,) are multiplied by `rotation`."""

    name: str
    permutation: Array
    rotation: Array


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation on the endless lattice: basis site b in cell n goes to site `image[b]` in cell `matrix` n + `shift[b]`.

    ==========  ========  ==================================================================
    field       shape     meaning
    ==========  ========  ==================================================================
    name                  kind and order of the rotation
    block       (D, D)    integers, on coordinates of the frame of the cell: of the grid first, then across it
    rotation    (D, D)    orthogonal matrix that turns vectors in space
    image       (b,)      permutation of the basis
    shift       (b, d)    integers
    ==========  ========  ==================================================================
    """

    name: str
    block: Array
    rotation: Array
    image: Array
    shift: Array

    @property
    def matrix(self) -> Array:
        """The part (d, d) of the block that is about the grid: column j is the image of direction j."""
        d = self.shift.shape[1]
        return self.block[:d, :d]

    def fitted(self, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> Operation | None:
        """The same operation about the centre of the box in directions that are open; None if it does not keep the box."""
        closed, extents = np.array(periodic), np.array(shape)
        # Once around direction b must be a multiple of the periods, and nothing may go around and arrive at an end.
        around = np.where(closed[:, None], (self.matrix * extents) % extents[:, None], self.matrix)[:, closed]
        if around.any():
            return None
        across = np.where(closed, 0, self.matrix * (extents - 1))
        low = np.minimum(across, 0).sum(axis=1) + self.shift.min(axis=0)
        high = np.maximum(across, 0).sum(axis=1) + self.shift.max(axis=0)
        if (high - low >= extents)[~closed].any():
            return None
        return dataclasses.replace(self, shift=self.shift - np.where(closed, 0, low))


@lru_cache(maxsize=64)
def operations_of(cell: UnitCell, tolerance: float = _EXACT) -> tuple[Operation, ...]:
    """All operations that keep the endless lattice, up to translations by whole cells, the identity first.

    A cell that is not primitive has several per rotation; the one with the shortest translation comes first. They are
    about the place, among twelfths of the cell from its first site, that most of them keep. `tolerance` is relative.
    """
    found = [
        (block, image, moved)
        for block in _isometries(cell, tolerance)
        for image, moved in _matches(cell, block, tolerance)
    ]
    centre = _centre(cell, found)
    d = len(cell.vectors)
    operations = []
    for block, image, moved in found:
        rest = moved + block @ centre - centre
        whole = np.rint(rest - _EXACT) * (np.arange(len(rest)) < d)
        shift = np.rint((cell.coordinates - centre) @ block.T + rest - whole - (cell.coordinates - centre)[image])
        rotation = _orthogonal(cell.frame.T @ block @ np.linalg.inv(cell.frame.T))
        length = float(np.linalg.norm((rest - whole) @ cell.frame))
        name = _name(block, block[:d, :d])
        operation = Operation(name, block, rotation, image, shift[:, :d].astype(int))
        operations.append((not np.array_equal(block, np.eye(len(block))), -block, round(length, 9), operation))
    operations.sort(key=lambda entry: (entry[0], entry[1].ravel().tolist(), entry[2]))
    return tuple(operation for *_, operation in operations)


def _isometries(cell: UnitCell, tolerance: float) -> list[Array]:
    """Matrices (D, D) on coordinates of the frame: integers on the grid, signed permutations of what is across it."""
    short = shortening(np.array(cell.vectors))  # so that tolerances mean the same along all of them
    vectors = short @ np.array(cell.vectors)
    metric, lengths = vectors @ vectors.T, np.linalg.norm(vectors, axis=1)
    close = 4 * tolerance * np.outer(lengths, lengths)
    candidates = offsets_within(vectors, lengths.max() * (1 + 4 * tolerance))
    squares = np.einsum("na,ab,nb->n", candidates, metric, candidates)
    alike = [candidates[np.abs(squares - length**2) < 4 * tolerance * length**2] for length in lengths]
    back = np.rint(np.linalg.inv(short.T)).astype(int)
    on_grid = [
        short.T @ np.array(columns).T @ back
        for columns in itertools.product(*alike)
        if (np.abs(np.array(columns) @ metric @ np.array(columns).T - metric) < close).all()
    ]
    rest = len(cell.frame) - len(vectors)
    turned = [np.eye(rest, dtype=int)[list(order)] for order in itertools.permutations(range(rest))]
    across = [turn * np.array(signs) for turn in turned for signs in itertools.product((1, -1), repeat=rest)]
    blocks = []
    for matrix, turn in itertools.product(on_grid, across):
        block = np.zeros((len(cell.frame),) * 2, dtype=int)
        block[: len(vectors), : len(vectors)] = matrix
        block[len(vectors) :, len(vectors) :] = turn
        if _order(block):  # a small shear can hide in the tolerance
            blocks.append(block)
    return blocks


def _matches(cell: UnitCell, block: Array, tolerance: float) -> list[tuple[Array, Array]]:
    """Permutations of the basis, and translations in coordinates of the frame, that complete an isometry."""
    places, d = cell.coordinates, len(cell.vectors)
    turned = places @ block.T
    close = 4 * tolerance * cell.nearest
    found = []
    for target in places:
        moved = target - turned[0]
        apart = (turned + moved)[:, None] - places[None]  # (from, to, D)
        apart[..., :d] -= np.rint(apart[..., :d])
        near = np.linalg.norm(apart @ cell.frame, axis=-1) < close
        if (near.sum(axis=0) == 1).all() and (near.sum(axis=1) == 1).all():
            found.append((near.argmax(axis=1), moved))
    return found


def _centre(cell: UnitCell, found: list[tuple[Array, Array, Array]]) -> Array:
    """The point, in coordinates of the frame, that most operations take to itself or to the same point of another cell."""
    d, space = len(cell.vectors), len(cell.frame)
    twelfths = np.indices((12,) * d).reshape(d, -1).T / 12 if len(cell.basis) > 1 else np.zeros((1, d))
    across = cell.coordinates[:, d:].mean(axis=0)
    near = cell.coordinates[0, :d] + twelfths
    near = near - np.rint(near) if len(cell.basis) > 1 else near
    places = np.concatenate([near, np.tile(across, (len(near), 1))], axis=1)
    kept = np.zeros(len(places))
    for block, _, moved in found:
        apart = places @ (block - np.eye(space)).T + moved
        apart[:, :d] -= np.rint(apart[:, :d])
        kept += np.abs(apart).max(axis=1) < 1e-3
    return np.asarray(places[kept.argmax()])


def _orthogonal(matrix: Array) -> Array:
    """The nearest orthogonal matrix."""
    left, _, right = np.linalg.svd(matrix)
    nearest = left @ right
    rounded = np.rint(nearest)
    return np.where(np.abs(nearest - rounded) < 1e-12, rounded, nearest) + 0.0


def _order(block: Array) -> int:
    """The number of times after which an operation has done nothing; 0 if it is none of a lattice."""
    power = np.eye(len(block), dtype=int)
    for order in range(1, 7):
        power = power @ block
        if np.array_equal(power, np.eye(len(block))):
            return order
    return 0


def _name(block: Array, matrix: Array) -> str:
    order = _order(block)
    if order == 1:
        return "identity"
    if np.linalg.det(block) > 0:
        return f"rotation of order {order} {matrix.tolist()}"
    if len(block) != 2 and np.array_equal(block, -np.eye(len(block))):
        return "inversion"
    kind = "reflection" if order == 2 else "rotoreflection"
    return f"{kind} of order {order} {matrix.tolist()}"
