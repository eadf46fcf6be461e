"""Unit cells that users describe by numbers with a few digits: checked, and made exactly as symmetric as they are meant."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice.cells import SAME, Array, Rows, UnitCell
from latticemd.lattice.symmetry import operations_of

MOST_OFFSETS = 10**5
SMALLEST_LENGTH = 1e-100  # products of shorter ones vanish in the arithmetic of metrics
LARGEST_BASIS = 64  # sites per cell, up to which the search for symmetries takes moments


def custom_cell(vectors: Rows, basis: Rows) -> UnitCell:
    """The unit cell with these primitive vectors (d, D) [length] and sites (b, D).

    A site is given by d fractions of the primitive vectors and, where space has more dimensions D than the grid has
    directions d, D - d lengths across them. Lengths within SAME of a symmetric cell are replaced by those of that cell, so
    that 0.866 is sqrt(3)/2. Raises InputError where the numbers make no lattice.
    """
    require_vectors(vectors)
    dimensions = len(vectors[0])
    if any(len(site) != dimensions for site in basis):
        wrong = next(k for k, site in enumerate(basis) if len(site) != dimensions)
        raise InputError(
            f"basis site {wrong} has {len(basis[wrong])} coordinate(s), expected {dimensions}: {len(vectors)} fraction(s) "
            f"of the vectors{f', then {dimensions - len(vectors)} length(s)' * (dimensions > len(vectors))}"
        )
    if not 1 <= len(basis) <= LARGEST_BASIS:
        raise InputError(f"a basis has 1 to {LARGEST_BASIS} sites, got {len(basis)}")
    if not np.isfinite(np.array(basis)).all():
        raise InputError("the coordinates of the basis must be finite numbers")
    _require_distinct(vectors, basis)
    return _symmetrised(_placed(np.array(vectors), np.array(basis)))


def rows_of(numbers: Sequence[Sequence[float]] | Array) -> Rows:
    """Nested sequences as tuples of floats."""
    return tuple(tuple(float(number) for number in row) for row in numbers)


def _placed(vectors: Array, coordinates: Array) -> UnitCell:
    """The cell of these primitive vectors with sites at coordinates of its frame."""
    frame = UnitCell(rows_of(vectors), ((0.0,) * vectors.shape[1],)).frame
    return UnitCell(rows_of(vectors), rows_of(coordinates @ frame))


def require_vectors(vectors: Rows) -> None:
    """Raise InputError unless 1 to 3 rows of numbers span a grid."""
    lengths = {len(vector) for vector in vectors}
    if not vectors or len(lengths) != 1 or not len(vectors) <= len(vectors[0]) <= 3:
        raise InputError(
            "vectors are 1 to 3 rows of equally many numbers, at least as many as there are rows and at most 3, "
            f"such as [[1, 0], [0.5, 0.866]]; got rows of {', '.join(str(len(vector)) for vector in vectors) or 'nothing'}"
        )
    rows = np.array(vectors)
    if not np.isfinite(rows).all():
        raise InputError("the primitive vectors must be finite numbers")
    given = [list(row) for row in vectors]
    singular = np.linalg.svd(rows, compute_uv=False)
    if not singular[-1] > 1e-6 * singular[0]:
        raise InputError(f"the primitive vectors {given} are zero or lie in one line or plane")
    if not (singular[-1] > SMALLEST_LENGTH and singular[0] < 1.0 / SMALLEST_LENGTH):
        raise InputError(
            f"the primitive vectors {given} have lengths beyond {SMALLEST_LENGTH:g} and {1 / SMALLEST_LENGTH:g}; choose "
            "another unit of length"
        )
    # As many offsets are looked at for the images of the vectors; the shortest ones of a lattice need a few dozen.
    reach = np.linalg.norm(rows, axis=1).max() * np.linalg.norm(np.linalg.pinv(rows), axis=0)
    if np.prod(2 * reach + 1) > MOST_OFFSETS:
        raise InputError(
            f"the primitive vectors {given} are nearly in one line or plane, or of very different lengths; choose the "
            "shortest vectors of the lattice"
        )


def _require_distinct(vectors: Rows, basis: Rows) -> None:
    frame = UnitCell(vectors, ((0.0,) * len(vectors[0]),)).frame
    smallest = 10 * SAME * float(np.linalg.norm(vectors, axis=1).min())
    for one, other in itertools.combinations(range(len(basis)), 2):
        apart = np.array(basis[one]) - np.array(basis[other])
        apart[: len(vectors)] -= np.rint(apart[: len(vectors)])
        if np.linalg.norm(apart @ frame) < smallest:
            raise InputError(f"basis sites {one} and {other} are at the same place, up to primitive vectors")


def _symmetrised(cell: UnitCell) -> UnitCell:
    """The average of the cell over all operations that nearly keep it: they keep the average exactly.

    The first primitive vector and the first site stay where they are.
    """
    operations = operations_of(cell, SAME)
    vectors, places, d = np.array(cell.vectors), cell.coordinates, len(cell.vectors)
    metric = vectors @ vectors.T
    mean_metric = np.mean([o.matrix.T @ metric @ o.matrix for o in operations], axis=0)
    mean_metric *= metric[0, 0] / mean_metric[0, 0]
    # Triangular factors, so that the first vector stays as it was given.
    exact = np.linalg.cholesky(mean_metric) @ np.linalg.inv(np.linalg.cholesky(metric)) @ vectors
    images = []
    for operation in operations:
        moved = places[operation.image]
        moved[:, :d] += operation.shift
        # About the centre of the basis the operations form a group, whatever their translations are.
        images.append((moved - moved.mean(axis=0)) @ np.linalg.inv(operation.block).T)
    average = np.mean(images, axis=0)
    return _placed(exact, average - average[0] + places[0])
