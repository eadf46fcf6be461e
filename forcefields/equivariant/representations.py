"""How features of a site turn: representations of a LatticeGroup on site-bound vectors of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forcefields.equivariant.group import Array, LatticeGroup
from latticemd.errors import InputError


@dataclass(frozen=True, eq=False)
class Representation:
    """What operation g does to the n features of a site of the basis when it takes them to the image of that site.

    =========  =================  ============================================================================
    field      shape              meaning
    =========  =================  ============================================================================
    name
    matrices   (G, b, n, n)       orthogonal; matrices[g, b] acts on features of basis site b
    =========  =================  ============================================================================

    Where all matrices are permutations, a function may be applied to each feature by itself without breaking the symmetry.
    """

    name: str
    matrices: Array

    @property
    def dimension(self) -> int:
        """n, features per site."""
        return int(self.matrices.shape[-1])

    @property
    def permutes(self) -> bool:
        """Whether g permutes the features."""
        return bool(np.isin(self.matrices, (0.0, 1.0)).all())

    def times(self, other: Representation) -> Representation:
        """The product: features a_i b_j with j fastest."""
        product = np.einsum("gbij,gbkl->gbikjl", self.matrices, other.matrices)
        n = self.dimension * other.dimension
        return Representation(f"{self.name} x {other.name}", product.reshape(*product.shape[:2], n, n))


@lru_cache(maxsize=256)  # groups and what acts on them are compared by identity: that of one network is found again
def representation(group: LatticeGroup, name: str) -> Representation:
    """The representation of this name.

    ============  ==============================================================================================
    name          features of a site
    ============  ==============================================================================================
    scalar        one number that nothing turns
    directed      one number per nearest neighbour, permuted as the neighbours are
    diagonal      one number per second neighbour
    regular       one number per operation: any function of the surroundings can be told apart from its images
    x             turned as the classical variables are
    A1, E, ...    an irrep of the point group of the lattice, see `Lattice.irreps`
    ============  ==============================================================================================

    Raises InputError for other names, and where sites of the basis have different numbers of neighbours.
    """
    if name == "scalar":
        return Representation(name, np.ones((group.order, group.basis, 1, 1)))
    if name in ("directed", "diagonal"):
        return Representation(name, _on_neighbours(group, 1 if name == "directed" else 2))
    if name == "regular":
        return Representation(name, np.repeat(_regular(group)[:, None], group.basis, axis=1))
    if name == "x":
        return Representation(name, np.repeat(group.turned[:, None], group.basis, axis=1))
    return Representation(name, np.repeat(_irrep(group, name)[:, None], group.basis, axis=1))


def neighbours_of(group: LatticeGroup, shell: int = 1) -> list[list[tuple[int, tuple[int, ...]]]]:
    """For each site of the basis its neighbours of a shell, (basis site, offset of cells), in the order of `directed` features."""
    found: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in range(group.basis)]
    for target, source, offset in group.lattice.offsets(shell):
        found[target].append((source, offset))
    if len({len(one) for one in found}) > 1:
        raise InputError(
            f"sites of a {group.lattice.type} cell have different numbers of neighbours: no directed features"
        )
    return found


def _on_neighbours(group: LatticeGroup, shell: int) -> Array:
    neighbours = neighbours_of(group, shell)
    z = len(neighbours[0])
    matrices = np.zeros((group.order, group.basis, z, z))
    for g in range(group.order):
        for target, around in enumerate(neighbours):
            for k, (source, offset) in enumerate(around):
                moved_source, moved_target, moved_offset = group.moved(g, source, target, offset)
                matrices[g, target, neighbours[moved_target].index((moved_source, moved_offset)), k] = 1.0
    return matrices


def _regular(group: LatticeGroup) -> Array:
    matrices = np.zeros((group.order,) * 3)
    for g in range(group.order):
        for h in range(group.order):
            matrices[g, group.product(g, h), h] = 1.0
    return matrices


def _irrep(group: LatticeGroup, name: str) -> Array:
    irreps = {irrep.name: irrep for irrep in group.lattice.irreps()}
    if name not in irreps:
        known = ", ".join(["scalar", "directed", "diagonal", "regular", "x", *irreps])
        raise InputError(f"unknown representation {name!r}; on this lattice there are {known}")
    number = [
        next(
            k
            for k, operation in enumerate(group.lattice.point_group)
            if np.array_equal(operation.matrix, matrix) and np.array_equal(operation.image, image)
        )
        for matrix, image in zip(group.matrix, group.image, strict=True)
    ]
    return np.asarray(irreps[name].matrices[number])
