"""The hops of a model as a graph of sites, patches cut out of it, and the question whether it is the plain square lattice."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.blocks import adjoint, are_matrices, as_matrices
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Model

Array = NDArray[Any]
T = TypeVar("T")

PATCH_BYTES = 2**26  # of the matrices that LAPACK solves together


@dataclass(frozen=True)
class Graph:
    """The hops of a Hamiltonian as directed bonds y -> x, sorted by x and then by y.

    =========  ====================  =======================================================
    field      shape                 meaning
    =========  ====================  =======================================================
    first      (N + 1,)              bonds into site x are first[x] ... first[x + 1] - 1
    source     (B,)                  the y of each bond
    reverse    (B,)                  number of the bond x -> y
    hop        (H,)                  number of the bond j -> i of each hop (i, j) of the model
    amplitude  (B,) or (B, o, o)     H[x, y] [energy]
    =========  ====================  =======================================================
    """

    first: Array
    source: Array
    reverse: Array
    hop: Array
    amplitude: Array

    @classmethod
    def of(cls, hops: Hops, sites: int, orbitals: int = 1) -> Graph:
        """The graph of a model's hops; hops between the same two sites are added up."""
        rows, columns = np.concatenate([hops.i, hops.j]), np.concatenate([hops.j, hops.i])
        key, number = np.unique(rows * sites + columns, return_inverse=True)
        target, source = np.divmod(key, sites)
        bare = cls(
            first=np.searchsorted(target, np.arange(sites + 1)),
            source=source,
            reverse=np.searchsorted(key, source * sites + target),
            hop=number[: len(hops.i)],
            amplitude=np.zeros(len(key)),
        )
        return bare.carrying(hops.amplitude, orbitals)

    @classmethod
    def of_model(cls, model: Model) -> Graph:
        """That of a model at x = 0."""
        return cls.of(model.hops(), model.lattice.sites, model.orbitals)

    def at(self, model: Model, x: Array) -> Graph:
        """The same bonds with the amplitudes of the model at x (R, N, D): R = 1 where hops follow x."""
        amplitude = model.amplitudes(x)[0] if model.needs_bonds else model.hops().amplitude
        return self.carrying(amplitude, model.orbitals)

    def carrying(self, amplitude: Array, orbitals: int = 1) -> Graph:
        """The same bonds with other amplitudes, (H,) or (H, o, o)."""
        blocks = amplitude if orbitals == 1 else as_matrices(amplitude, orbitals)
        one_way = np.zeros((len(self.source), *blocks.shape[1:]), dtype=blocks.dtype)
        np.add.at(one_way, self.hop, blocks)
        return dataclasses.replace(self, amplitude=one_way + adjoint(one_way[self.reverse]))

    @property
    def sites(self) -> int:
        """N."""
        return len(self.first) - 1

    @property
    def orbitals(self) -> int:
        """o."""
        return self.amplitude.shape[1] if are_matrices(self.amplitude) else 1

    @cached_property
    def target(self) -> Array:
        """The x of each bond, (B,)."""
        return np.repeat(np.arange(self.sites), np.diff(self.first))

    @cached_property
    def neighbours(self) -> Array:
        """Bonds into each site, (N, z) with z the largest number of neighbours; -1 where a site has fewer."""
        degree = np.diff(self.first)
        column = np.arange(max(int(degree.max(initial=0)), 1))
        return np.where(column < degree[:, None], self.first[:-1, None] + column, -1)

    @cached_property
    def _incidence(self) -> Any:
        return sparse.csr_array((np.ones(len(self.source)), np.arange(len(self.source)), self.first))

    def incoming(self, values: Array) -> Array:
        """Sums over the bonds into each site of blocks (B,) or (B, o, o), (N,) or (N, o, o)."""
        sums: Array = self._incidence @ values.reshape(len(values), -1)
        return sums.reshape(self.sites, *values.shape[1:])

    def balls(self, radius: int) -> Array:
        """The sites within `radius` hops of each site, (N, b), the site itself first; -1 where a ball is smaller."""
        step = sparse.csr_array((np.ones(len(self.source), bool), self.source, self.first), shape=(self.sites,) * 2)
        step = step + sparse.eye_array(self.sites, dtype=bool, format="csr")
        reach = sparse.eye_array(self.sites, dtype=bool, format="csr")
        for _ in range(radius):
            reach = reach @ step
        reach.sort_indices()
        site, other = np.repeat(np.arange(self.sites), np.diff(reach.indptr)), reach.indices
        site, other = site[site != other], other[site != other]
        size = np.bincount(site, minlength=self.sites)
        members = np.full((self.sites, size.max() + 1), -1)
        members[:, 0] = np.arange(self.sites)
        members[site, 1 + np.arange(len(site)) - np.repeat(np.cumsum(size) - size, size)] = other
        return members

    def layers(self, lattice: Lattice) -> int:
        """How many layers of cells a hop crosses at most, at least one: a radius in hops is so many times that in layers."""
        offset = np.abs(lattice.cells[self.source] - lattice.cells[self.target])
        return max(1, int(np.minimum(offset, np.array(lattice.shape) - offset).max(initial=0)))


@dataclass(frozen=True)
class Patches:
    """A patch around each site.

    =========  =======  ==================================================================================
    field      shape    meaning
    =========  =======  ==================================================================================
    members    (N, b)   the sites of each patch, its centre first; -1 where it has fewer
    place      (B,)     of the bond y -> x: where x stands in the patch of y
    =========  =======  ==================================================================================
    """

    members: Array
    place: Array

    @classmethod
    def of(cls, model: Model, graph: Graph, radius: int, *boxed: str) -> Patches:
        """Boxes of (2 radius + 1)^d sites on the types of lattices `boxed`, elsewhere all sites within `radius` hops."""
        box = has_bonds_of(model.lattice, model.hops(), *boxed)
        return cls.around(graph, boxes(model.lattice, radius) if box else graph.balls(radius))

    @classmethod
    def around(cls, graph: Graph, members: Array) -> Patches:
        """With these members."""
        return cls(members, (members[graph.source] == graph.target[:, None]).argmax(axis=1))

    def in_blocks(self, orbitals: int, sites: Array | None = None) -> Iterator[Array]:
        """These sites, or all, a few at a time: as many as have matrices over their patches of PATCH_BYTES."""
        sites = np.arange(len(self.members)) if sites is None else sites
        most = max(1, PATCH_BYTES // (16 * (orbitals * self.members.shape[1]) ** 2))
        for start in range(0, len(sites), most):
            yield sites[start : start + most]

    def take(self, graph: Graph, sites: Array, columns: Array, own: Array, between: Array | None) -> None:
        """From the columns of a matrix A that belong to the centres of the patches of `sites`, (P, b, o, o): the blocks
        A[y, y] to `own` (N,) or (N, o, o) and A[x, y] to `between` (B,) or (B, o, o), if wanted.
        """
        own[sites] = columns[:, 0].reshape(len(sites), *own.shape[1:])
        if between is not None:
            into = graph.neighbours[sites]
            patch, slot = np.nonzero(into >= 0)
            leaving = graph.reverse[into[patch, slot]]
            between[leaving] = columns[patch, self.place[leaving]].reshape(len(leaving), *between.shape[1:])


def boxes(lattice: Lattice, radius: int) -> Array:
    """The (2 radius + 1)^d sites around each site of a Bravais lattice, (N, b), the site itself first."""
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=len(lattice.shape)))
    offsets.sort(key=lambda offset: max(map(abs, offset)))
    return np.stack([lattice.site(lattice.cells + np.array(offset)) for offset in offsets], axis=1)


@dataclass(frozen=True)
class Cut:
    """Some patches cut out of the lattice.

    =======  ==================  ==========================================================================
    field    shape               meaning
    =======  ==================  ==========================================================================
    h        (P, b, o, b, o)     H on each patch [energy]; the rows of missing members are zero
    row      (C,)                which member of which patch (p b + place) each bond from outside leads to
    bond     (C,)                these bonds
    =======  ==================  ==========================================================================
    """

    h: Array
    row: Array
    bond: Array

    @classmethod
    def of(cls, graph: Graph, onsite: Array, members: Array) -> Cut:
        """Patches with these members (P, b), -1 where there are fewer, and on-site blocks (N,) or (N, o, o)."""
        (patches, size), o = members.shape, graph.orbitals
        h = np.zeros((patches, size, o, size, o), dtype=np.result_type(graph.amplitude, onsite))
        patch, place = np.nonzero(members >= 0)
        site = members[patch, place]
        h[patch, place, :, place, :] = onsite.reshape(-1, o, o)[site]
        bond = graph.neighbours[site]
        other = np.where(bond >= 0, graph.source[bond], -2)  # -2 is nowhere in `members`
        same = other[:, :, None] == members[patch][:, None, :]
        inside, partner = same.any(axis=2), same.argmax(axis=2)
        which, slot = np.nonzero(inside)
        hop = graph.amplitude.reshape(-1, o, o)[bond[which, slot]]
        h[patch[which], place[which], :, partner[which, slot], :] = hop
        which, slot = np.nonzero((bond >= 0) & ~inside)
        return cls(h, (patch * size + place)[which], bond[which, slot])

    @property
    def matrices(self) -> Array:
        """H on each patch, (P, b o, b o)."""
        patches, size, o = self.h.shape[:3]
        return self.h.reshape(patches, size * o, size * o)


def centre_columns(vectors: Array, orbitals: int) -> Array:
    """Columns over patches, (P, b o, o), that belong to the orbitals of the centres, as blocks (P, b, o, o)."""
    return vectors.reshape(len(vectors), -1, orbitals, orbitals)


def density_matrix(graph: Graph, own: list[Array], between: list[Array] | None) -> DensityMatrix:
    """That of all replicas, from its blocks of sites and of directed bonds for each."""
    return DensityMatrix(np.array(own), None if between is None else np.array([each[graph.hop] for each in between]))


def has_bonds_of(lattice: Lattice, hops: Hops, *types: str) -> bool:
    """Whether hops join the nearest neighbours of a periodic lattice of one of these types, and nothing else."""
    if lattice.type not in types or not all(lattice.periodic):
        return False
    bonds = lattice.bonds()
    return hops.i is bonds.i or (np.array_equal(hops.i, bonds.i) and np.array_equal(hops.j, bonds.j))


def same_hops(first: Hops, second: Hops) -> bool:
    """Whether hops join the same sites with the same amplitudes."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("i", "j", "amplitude"))


def square_hopping(model: Model) -> float | None:
    """The one real amplitude of all nearest-neighbour hops of a square lattice [energy]; None for any other model."""
    return uniform_hopping(model, "square")


def uniform_hopping(model: Model, *types: str) -> float | None:
    """The one real amplitude of all hops, between nearest neighbours of a periodic lattice of one of these types, or of any
    [energy]; None for any other model.
    """
    if model.needs_bonds or model.orbitals > 1:
        return None
    hops = model.hops()
    if np.iscomplexobj(hops.amplitude) or not has_bonds_of(model.lattice, hops, *(types or (model.lattice.type,))):
        return None
    lowest, highest = float(hops.amplitude.min()), float(hops.amplitude.max())
    return lowest if lowest == highest else None


def only_onsite(model: Model) -> bool:
    """Whether only what is within sites follows x, and computes where x lives, and mu is given; all orbitals hop alike."""
    return model.portable and model.filling is None and not model.needs_bonds and model.hops().amplitude.ndim == 1


def plain_matrix(model: Model) -> bool:
    """The same of one orbital: the diagonal of H_el alone follows x."""
    return model.orbitals == 1 and only_onsite(model)


class OfModel(Generic[T]):
    """The answer to a question about a model, remembered for the model that was asked about last.

    A run asks at each step, mostly about the same model, and its hops take as long to list as a force takes to compute.
    """

    def __init__(self, answer: Callable[[Model], T]) -> None:
        self._answer = answer
        self._last: tuple[Model, T] | None = None

    def __call__(self, model: Model) -> T:
        """The answer for this model."""
        if self._last is None or self._last[0] is not model:
            self._last = model, self._answer(model)
        return self._last[1]
