"""Cavity Green's functions on any graph, in NumPy: what lattices without kernels of their own use, and the specification.

Everything here is about the resolvent G(z) = (H - z)^-1 at a z in the upper half plane, H of shape (N, N) given by its
diagonal `onsite` (N,) and the hops of a `Graph`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.cavity.expansion import Expansion
from latticemd.lattice import Lattice
from latticemd.models.model import Hops

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


def messages(graph: Graph, onsite: Array, z: complex, sweeps: int) -> Array:
    """M_{y -> x}(z) of every bond after `sweeps` sweeps that start from M = 0, (B,) [1/energy].

        M_{y -> x} = 1 / (e_y - z - sum_{u != x} |H[y, u]|^2 M_{u -> y})

    is the Green's function of y when x and all that is behind it are taken away: exact on trees, where a sweep reaches
    one bond further.
    """
    message = np.zeros(len(graph.source), dtype=complex)
    for _ in range(sweeps):
        whole = onsite - z - graph.incoming @ message
        message = 1.0 / (whole[graph.source] + (graph.strength * message)[graph.reverse])
    return message


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


def patch_green(graph: Graph, onsite: Array, z: complex, sweeps: int, members: Array) -> Array:
    """G_ii(z) of the first site of every patch, (N,) [1/energy]."""
    message = messages(graph, onsite, z, sweeps)
    green = np.empty(len(members), dtype=complex)
    block = max(1, PATCH_BYTES // (16 * members.shape[1] ** 2))
    unit = np.zeros((members.shape[1], 1))
    unit[0] = 1.0
    for start in range(0, len(members), block):
        matrices = patch_matrices(graph, onsite, z, message, members[start : start + block])
        green[start : start + block] = np.linalg.solve(matrices, unit[None])[:, 0, 0]
    return green


@dataclass(frozen=True)
class OnGraph:
    """The patches of any graph; `patches` (N, b) lists the sites of each, see `Graph.balls`."""

    graph: Graph
    patches: Array
    sweeps: int

    @property
    def reach(self) -> float:
        """How far hopping can move a level at most, max_i sum_j |H_ij| [energy] (Gershgorin)."""
        return float(self._over_bonds(np.abs(self.graph.amplitude)).max())

    def solve(self, levels: Array, expansions: list[Expansion], density: Array) -> Array:
        """Write the density (R, N) for on-site energies `levels` (R, N) counted from mu; return the energies (R,)."""
        energy = np.empty(len(levels))
        moment = self._over_bonds(self.graph.strength)
        for r, (e, made) in enumerate(zip(levels, expansions, strict=True)):
            density[r] = 0.5 - made.slope * e
            local = 0.5 * e - made.slope * (e * e + moment)
            for w, (c, b) in zip(made.poles, made.weights, strict=True):
                green = patch_green(self.graph, e, 1j * w, self.sweeps, self.patches)
                density[r] -= c * green.real
                local += b * green.imag - c
            energy[r] = local.sum()
        return energy

    def _over_bonds(self, values: Array) -> Array:
        return np.bincount(self.graph.source, values, self.graph.sites)
