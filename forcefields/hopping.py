"""The hops of a model as a graph, patches cut out of it, and the question whether it is the plain square lattice."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hops
from latticemd.models.model import Model

Array = NDArray[Any]

PATCH_BYTES = 2**26  # of the matrices that LAPACK solves together


@dataclass(frozen=True)
class Graph:
    """The hops of a Hamiltonian as directed bonds y -> x, sorted by x and then by y.

    =========  ========  =======================================================
    field      shape     meaning
    =========  ========  =======================================================
    first      (N + 1,)  bonds into site x are first[x] ... first[x + 1] - 1
    source     (B,)      the y of each bond
    amplitude  (B,)      H[x, y] [energy]
    reverse    (B,)      number of the bond x -> y
    =========  ========  =======================================================
    """

    first: Array
    source: Array
    amplitude: Array
    reverse: Array

    @classmethod
    def of(cls, hops: Hops, sites: int) -> Graph:
        """The graph of a model's hops; hops between the same two sites are added up."""
        rows, columns = np.concatenate([hops.i, hops.j]), np.concatenate([hops.j, hops.i])
        amplitude = np.concatenate([hops.amplitude, np.conj(hops.amplitude)])
        h = sparse.coo_array((amplitude, (rows, columns)), shape=(sites, sites)).tocsr()
        h.sort_indices()
        numbered = sparse.csr_array((np.arange(h.nnz), h.indices, h.indptr), shape=h.shape)
        return cls(h.indptr, h.indices, h.data, numbered.T.tocsr().data)

    @property
    def sites(self) -> int:
        """N."""
        return len(self.first) - 1

    @cached_property
    def strength(self) -> Array:
        """|H[x, y]|^2 of each bond, (B,) [energy^2]."""
        return np.abs(self.amplitude) ** 2

    @cached_property
    def incoming(self) -> Any:
        """The sparse (N, B) matrix that adds up |H[x, y]|^2 M_{y -> x} over the bonds into each site x."""
        return sparse.csr_array((self.strength, np.arange(len(self.source)), self.first))

    @cached_property
    def neighbours(self) -> Array:
        """Bonds into each site, (N, z) with z the largest number of neighbours; -1 where a site has fewer."""
        degree = np.diff(self.first)
        column = np.arange(max(int(degree.max(initial=0)), 1))
        return np.where(column < degree[:, None], self.first[:-1, None] + column, -1)

    def balls(self, radius: int) -> Array:
        """The sites within `radius` hops of each site, (N, b), the site itself first; -1 where a ball is smaller."""
        step = sparse.csr_array((np.ones(len(self.source), bool), self.source, self.first), shape=(self.sites,) * 2)
        step = step + sparse.eye_array(self.sites, dtype=bool, format="csr")
        reach = sparse.eye_array(self.sites, dtype=bool, format="csr")
        for _ in range(radius):
            reach = reach @ step
        reach.sort_indices()
        size = np.diff(reach.indptr)
        column = np.arange(1, size.max() + 1)
        members = np.full((self.sites, size.max() + 1), -1)
        members[:, 0] = np.arange(self.sites)
        members[:, 1:][column <= size[:, None]] = reach.indices
        members[:, 1:][members[:, 1:] == members[:, :1]] = -1  # the centre stands first already
        return members


def boxes(lattice: Lattice, radius: int) -> Array:
    """The (2 radius + 1)^d sites around each site of a Bravais lattice, (N, b), the site itself first."""
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=lattice.dimensions))
    offsets.sort(key=lambda offset: max(map(abs, offset)))
    return np.stack([lattice.site(lattice.cells + np.array(offset)) for offset in offsets], axis=1)


def patch_matrices(graph: Graph, onsite: Array, z: complex, message: Array, members: Array) -> Array:
    """H - z on patches (b sites each) whose outer bonds are replaced by self-energies, (P, b, b) [energy].

    `members` (P, b) lists the sites of each patch; the rows of missing ones (-1) are those of the unit matrix.
    """
    patches, size = members.shape
    matrices = np.zeros((patches, size, size), dtype=complex)
    patch, place = np.nonzero(members >= 0)
    site = members[patch, place]
    np.einsum("pii->pi", matrices)[:] = np.where(members >= 0, onsite[members] - z, 1.0)
    bond = graph.neighbours[site]
    other = np.where(bond >= 0, graph.source[bond], -2)  # -2 is nowhere in `members`
    same = other[:, :, None] == members[patch][:, None, :]
    inside, partner = same.any(axis=2), same.argmax(axis=2)
    which, slot = np.nonzero(inside)
    matrices[patch[which], place[which], partner[which, slot]] = graph.amplitude[bond[which, slot]]
    outside = (bond >= 0) & ~inside
    matrices[patch, place, place] -= np.where(outside, (graph.strength * message)[bond], 0.0).sum(axis=1)
    return matrices


def require_densities_alone(model: Model, name: str) -> None:
    """Raise InputError for models whose forces need more of rho than densities of one orbital per site."""
    if model.orbitals != 1:
        raise InputError(f"forcefield {name} serves models with 1 orbital per site, this one has {model.orbitals}")
    if model.needs_bonds:
        raise InputError(f"forcefield {name} serves models whose hops do not follow x; use ed, poles or kpm")


def has_square_bonds(model: Model) -> bool:
    """Whether electrons of one orbital hop between the nearest neighbours of a square lattice and nowhere else."""
    if model.lattice.type != "square" or model.orbitals > 1:
        return False
    hops, bonds = model.hops(), model.lattice.bonds()
    return hops.i is bonds.i or (np.array_equal(hops.i, bonds.i) and np.array_equal(hops.j, bonds.j))


def square_hopping(model: Model) -> float | None:
    """The one real amplitude of all nearest-neighbour hops of a square lattice [energy]; None for any other model."""
    if model.needs_bonds or model.orbitals > 1:
        return None
    amplitude = model.hops().amplitude
    if np.iscomplexobj(amplitude) or not has_square_bonds(model) or amplitude.min() != amplitude.max():
        return None
    return float(amplitude[0])
