"""Moments of windows on any graph, in NumPy: what lattices without kernels of their own use, and the specification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.blocks import adjoint, extremes, hermitian, norms
from forcefields.hopping import Cut, Graph, Patches, centre_columns, density_matrix
from forcefields.window.expansion import Expansion
from latticemd.models.hamiltonian import DensityMatrix

Array = NDArray[Any]


def chebyshev_columns(h: Array, orbitals: int, order: int) -> Iterator[Array]:
    """The first columns, one for each orbital, of T_k(h), k = 0 ... order, for matrices h (P, b, b) with spectra within [-1, 1]."""
    before = np.broadcast_to(np.eye(h.shape[1], orbitals), (*h.shape[:2], orbitals))
    yield before
    now = h @ before
    yield now
    for _ in range(order - 1):
        before, now = now, 2.0 * (h @ now) - before
        yield now


@dataclass(frozen=True)
class OnGraph:
    """The windows of any graph."""

    graph: Graph
    windows: Patches
    pairs: bool = False  # whether rho is wanted between sites too
    unit: float = 1.0  # of the sums of moments

    def reach(self, onsite: Array) -> Array:
        """A bound on the moduli of the eigenvalues of each window, (R, N) [energy]; see `OnSquare.reach`.

        With several orbitals e_i is the highest level of a site by itself and |H_ij| the norm of a block.
        """
        graph = self.graph
        hopping = sparse.csr_array((norms(graph.amplitude), graph.source, graph.first))
        around = np.where(graph.neighbours >= 0, graph.source[graph.neighbours], np.arange(graph.sites)[:, None])
        bounds = np.empty(onsite.shape[:2])
        for r, (lowest, highest) in enumerate(zip(*extremes(onsite), strict=True)):
            size = np.maximum(np.abs(lowest), np.abs(highest))
            shift = np.maximum(size, size[around].max(axis=1))
            quotients = []
            for diagonal in (highest, -lowest):
                v = np.ones(graph.sites)
                for _ in range(2):
                    v = (diagonal + shift) * v + hopping @ v
                    v = np.where(v > 0.0, v, 1.0)  # isolated sites
                quotients.append(diagonal + (hopping @ v) / v)
            members = self.windows.members
            bounds[r] = np.where(members >= 0, np.maximum(*quotients)[members], 0.0).max(axis=1)
        return bounds

    def solve(
        self, onsite: Array, rungs: Array, expansions: dict[int, Expansion]
    ) -> tuple[DensityMatrix, Array, Array]:
        """The density matrix, the energies of the sites (R, N), and sums of moments; see `OnSquare.solve`.

        rho[x, y] is the mean of what the windows of y and of x say, which makes it Hermitian.
        """
        graph, own, between = self.graph, [], []
        most = max(each.order for each in expansions.values())
        sums, energy = np.zeros((len(onsite), len(expansions), most + 1)), np.zeros(onsite.shape[:2])
        for r, levels in enumerate(onsite):
            kind = np.result_type(levels, graph.amplitude)
            sites = np.empty(levels.shape, dtype=kind)
            hops = np.empty(graph.amplitude.shape, dtype=kind) if self.pairs else None
            for number, (rung, made) in enumerate(expansions.items()):
                for some in self.windows.in_blocks(graph.orbitals, np.flatnonzero(rungs[r] == rung)):
                    columns, energy[r, some] = self._expand(levels, some, made, sums[r, number])
                    self.windows.take(graph, some, columns, sites, hops)
            own.append(hermitian(sites))
            if hops is not None:
                between.append(0.5 * (hops + adjoint(hops[graph.reverse])))
        return density_matrix(graph, own, between if self.pairs else None), energy, sums

    def _expand(self, onsite: Array, sites: Array, made: Expansion, sums: Array) -> tuple[Array, Array]:
        """Columns of f(H) over the windows of some sites, (P, b, o, o), their centres alone where no pairs are wanted, and the
        energies of these sites (P,); adds the traces of the moments over them to `sums` (K + 1,).
        """
        o = self.graph.orbitals
        h = Cut.of(self.graph, onsite, self.windows.members[sites]).matrices / made.half_width
        rows = h.shape[1] if self.pairs else o
        found, energy = np.zeros((len(sites), rows, o), dtype=h.dtype), np.zeros(len(sites))
        for k, columns in enumerate(chebyshev_columns(h, o, made.order)):
            found += made.density[k] * columns[:, :rows]
            moments = np.einsum("paa->p", columns[:, :o]).real
            energy += made.energy[k] * moments
            sums[k] += moments.sum()
        return centre_columns(found, o), energy
