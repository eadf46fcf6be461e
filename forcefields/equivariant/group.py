"""The symmetry group that a network on a lattice keeps: operations of the unit cell, and what turns the classical variables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Model

Array = NDArray[Any]

_CELLS = 6  # per direction of the small lattice on which symmetries are asked for: even, and no shell meets itself


@dataclass(frozen=True, eq=False)
class LatticeGroup:
    """The operations that keep an endless homogeneous lattice and the Hamiltonian on it, apart from translations.

    Operation g takes basis site b of cell n to site `image[g, b]` of cell `matrix[g]` n + `shift[g, b]`.

    ==========  =============  ==================================================================================
    field       shape          meaning
    ==========  =============  ==================================================================================
    lattice                    a small lattice of this kind
    matrix      (G, d, d)      integers, on cells
    image       (G, b)         permutation of the basis
    shift       (G, b, d)      integers
    turned      (G, D, D)      orthogonal: what g does to the classical variables of a site
    internal                   none; "reversal": x -> -x keeps the energy; "rotation": so do all rotations of all x at once
    floating                   whether a uniform shift of x changes nothing, so that differences alone can matter
    ==========  =============  ==================================================================================
    """

    lattice: Lattice
    matrix: Array
    image: Array
    shift: Array
    turned: Array
    internal: Literal["none", "reversal", "rotation"]
    floating: bool

    @classmethod
    def of(cls, model: Model) -> LatticeGroup:
        """The group of a model, whatever the extents of its lattice. Raises InputError where sites are not all alike."""
        lattice = model.lattice
        if any(one != "periodic" for one in lattice.boundary):
            raise InputError(f"networks need a periodic lattice, not boundary: {list(lattice.boundary)}")
        small = dataclasses.replace(model, lattice=lattice.resized((_CELLS,) * lattice.directions))
        kept = {symmetry.permutation.tobytes() for symmetry in small.symmetries(translations=False)}
        operations, turned = [], []
        for operation, symmetry in zip(
            small.lattice.point_group, small.lattice.symmetries(translations=False), strict=True
        ):
            if symmetry.permutation.tobytes() in kept:
                matrix = small.representation(symmetry)
                if matrix is None:
                    raise InputError(f"{type(model).__name__} does not say how its variables turn, so networks can't")
                operations.append(operation)
                turned.append(matrix)
        if not _same_everywhere(small):
            raise InputError("networks need the same Hamiltonian everywhere; this model differs from site to site")
        internal, floating = _internal(small)
        return cls(
            small.lattice,
            np.array([operation.matrix for operation in operations]),
            np.array([operation.image for operation in operations]),
            np.array([operation.shift for operation in operations]),
            np.array(turned),
            internal,
            floating,
        )

    @property
    def order(self) -> int:
        """G, number of operations."""
        return len(self.matrix)

    @property
    def basis(self) -> int:
        """Number of sites per cell."""
        return int(self.image.shape[1])

    def moved(self, g: int, source: int, target: int, offset: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        """Where operation g takes the pair of a site `target` and the site `source` that is `offset` cells away from it."""
        cells = self.matrix[g] @ np.array(offset) + self.shift[g, source] - self.shift[g, target]
        return int(self.image[g, source]), int(self.image[g, target]), tuple(int(n) for n in cells)

    def product(self, g: int, h: int) -> int:
        """The operation that does h first and then g."""
        matrix, image = self.matrix[g] @ self.matrix[h], self.image[g][self.image[h]]
        same = (self.matrix == matrix).all(axis=(1, 2)) & (self.image == image).all(axis=1)
        return int(np.flatnonzero(same)[0])


def _same_everywhere(model: Model) -> bool:
    """Whether translations by one cell along each direction keep H_el."""
    from latticemd.lattice import Symmetry
    from latticemd.models.symmetry import Undistorted

    undistorted, lattice = Undistorted(model), model.lattice
    basis = np.tile(np.arange(len(lattice.cell.basis)), len(lattice.grid))
    steps = np.eye(lattice.directions, dtype=int)
    moved = (lattice.site(lattice.cells + step, basis) for step in steps)
    identity = np.eye(lattice.dimensions)
    return all(undistorted.kept_by(Symmetry("step", one, identity), np.eye(model.orbitals)) for one in moved)


def _internal(model: Model) -> tuple[Literal["none", "reversal", "rotation"], bool]:
    """Which internal symmetries of the model a network keeps, and whether x may be shifted as a whole."""
    found = model.internal_symmetries()
    identity = np.eye(model.components)
    floating = any(one.shift and np.array_equal(one.matrix, identity) for one in found)
    fixed = [one.matrix for one in found if not one.shift]
    if not fixed:
        return "none", floating
    if all(np.array_equal(matrix, -identity) for matrix in fixed):
        return "reversal", floating
    about = [matrix for matrix in fixed if np.linalg.det(matrix) > 0.0]
    if len(about) >= 2 and _generate_all_rotations(about):
        return "rotation", floating
    raise InputError(f"networks don't know the internal symmetries {', '.join(one.name for one in found)}")


def _generate_all_rotations(matrices: list[Array]) -> bool:
    """Whether proper rotations (3, 3) about different axes are among them, by angles that no finite group has."""
    axes = [np.linalg.svd(matrix - np.eye(3))[2][-1] for matrix in matrices]
    return bool(np.linalg.matrix_rank(np.array(axes), tol=1e-6) > 1)
