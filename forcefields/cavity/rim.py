"""The rim of a patch: what its sites, and pairs of them, feel of the sites just outside, whose other sides are trees.

Eliminating all that is outside a patch adds to H - z the self-energy -V G V^+, with V = H[patch, outer sites] and G the
Green's function of the outer sites, the neighbours of the patch, in its absence. To first order in the hops H_oo' between
outer sites (on the square lattice: o and o' are next to a and b, which are neighbours on the rim)

    G_oo  = g_o = (e_o - z - sum_{u outside} |H_ou|^2 M_{u -> o})^-1
    G_oo' = -g_o H_oo' g_o' / (1 + (4 s)^2),     s = |H_oo'|^2 |g_o g_o'|

so that pairs of rim sites are joined through the loops which the patch cuts. On a tree there are no such pairs and it is
exact. Elsewhere s must be small for an expansion in loops to make sense: two levels that hybridise stop it at s = 1/4, and
in a metal s is 1/3. There the whole series is better left out than cut off after one term, which is what the denominator
does; where it is close to 1 (gaps, strong coupling, poles far from the Fermi level) the term is the leading one and takes
a factor of 2 to 30 off the mean square error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.blocks import inverse, square, unit
from forcefields.hopping import Cut, Graph

Array = NDArray[Any]

CAUTION = 16.0  # times s^2; with 10 all errors are smaller but those of metals at radius 1, which grow


@dataclass(frozen=True)
class Rim:
    """The outer sites of some patches: all that are outside and next to a member, listed for each patch.

    ========  ===============  ==================================================================
    field     shape            meaning
    ========  ===============  ==================================================================
    graph
    site      (K,)             the outer sites
    crossing  sparse (K, C)    1 where a bond into a patch comes from this outer site
    back      (C,)             the number of the opposite bond, out of the patch
    hops      sparse (Pbo, Ko) V: H between members and outer sites, in blocks [energy]
    between   sparse (K, K)    1 + the number of the bond between two outer sites of a patch
    ========  ===============  ==================================================================
    """

    graph: Graph
    site: Array
    crossing: Any
    back: Array
    hops: Any
    between: Any

    @classmethod
    def of(cls, graph: Graph, cut: Cut) -> Rim:
        """That of these patches."""
        (patches, size), n = cut.h.shape[:2], graph.sites
        key, outer = np.unique(cut.row // size * n + graph.source[cut.bond], return_inverse=True)
        crossing = sparse.csr_array((np.ones(len(outer)), (outer, np.arange(len(outer)))), shape=(len(key), len(outer)))
        patch, site = np.divmod(key, n)
        into = graph.neighbours[site]
        other = patch[:, None] * n + graph.source[into]
        place = np.minimum(np.searchsorted(key, other), len(key) - 1)
        one, slot = np.nonzero((into >= 0) & (key[place] == other)) if len(key) else (np.zeros(0, int),) * 2
        between = sparse.csr_array((1 + into[one, slot], (one, place[one, slot])), shape=(len(key),) * 2)
        order = np.argsort(cut.row, kind="stable")
        first = np.searchsorted(cut.row[order], np.arange(patches * size + 1))
        hops = _blocks(graph.amplitude[cut.bond[order]], outer[order], first, len(key))
        return cls(graph, site, crossing, graph.reverse[cut.bond], hops, between)

    def resolvents(self, cut: Cut, onsite: Array, z: complex, received: Array) -> Array:
        """H - z - Sigma on each patch, (P, b o, b o), from the self-energies (B,) or (B, o, o) that come over every bond."""
        patches, size, o = cut.h.shape[:3]
        whole = cut.h.astype(complex)
        np.einsum("pxaxc->pxac", whole)[:] -= z * np.eye(o)  # which keeps the rows of missing members invertible
        if len(self.site):
            sigma = (self.hops @ self._outside(onsite, z, received) @ self.hops.conj().T).tobsr((o, o))
            row, column = np.repeat(np.arange(patches * size), np.diff(sigma.indptr)), sigma.indices
            whole[row // size, row % size, :, column % size, :] -= sigma.data
        return whole.reshape(patches, size * o, size * o)

    def _outside(self, onsite: Array, z: complex, received: Array) -> Any:
        """G of the outer sites without their patch, sparse (K o, K o)."""
        seen = onsite - z * unit(onsite) - self.graph.incoming(received)
        back = received[self.back]
        from_patch = (self.crossing @ back.reshape(len(back), -1)).reshape(-1, *back.shape[1:])
        g = inverse(seen[self.site] + from_patch)
        one = np.repeat(np.arange(len(g)), np.diff(self.between.indptr))
        other, hop = self.between.indices, self.graph.amplitude[self.between.data - 1]
        o = self.graph.orbitals
        s2 = (square(hop) / o) ** 2 * square(g)[one] * square(g)[other] / o**2
        joined = g[one] @ hop @ g[other] if o > 1 else g[one] * hop * g[other]
        joined = joined / (1.0 + CAUTION * s2).reshape(-1, *(1,) * (joined.ndim - 1))
        alone = _blocks(g, np.arange(len(g)), np.arange(len(g) + 1), len(g))
        return alone - _blocks(joined, other, self.between.indptr, len(g))


def _blocks(blocks: Array, column: Array, first: Array, columns: int) -> Any:
    """A sparse matrix of these blocks (n,) or (n, o, o), row by row as in the CSR format."""
    o = blocks.shape[1] if blocks.ndim > 1 else 1
    shape = (o * (len(first) - 1), o * columns)
    return sparse.bsr_array((blocks.reshape(-1, o, o), column, first), shape=shape)
