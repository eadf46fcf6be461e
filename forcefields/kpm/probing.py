"""Entries of f(H) seen through probing vectors, on any graph: the specification of the kernels, and the path of all hops
that have none.

    f_ij = sum_k c_k T_k(h)_ij  ~  w sum_v (f(h) v)_i v_j,      h = (H - centre) / half_width

T_k(h) v follows from T_{k+1} = 2 h T_k - T_{k-1}. With coloured vectors (v = 1 on the sites of one colour, w = 1) only one v
is not zero at j, and the error is the sum of f_ij' over the other sites j' of j's colour. With R random ones (v = +-1, w =
1/R) it is noise of the size sqrt(sum_j' |f_ij'|^2 / R).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.hopping import Graph
from forcefields.kpm.chebyshev import Interval

Array = NDArray[Any]

BLOCK_BYTES = 2**25  # of vectors that are multiplied together


@dataclass(frozen=True)
class Coloured:
    """One vector for each colour; `colours` (N,) are 0, 1, ... V - 1."""

    colours: Array

    @property
    def count(self) -> int:
        """V."""
        return int(self.colours.max()) + 1

    @property
    def weight(self) -> float:
        """w."""
        return 1.0

    def vectors(self, first: int, last: int) -> Array:
        """Vectors first ... last - 1 as columns, (N, last - first)."""
        return (self.colours[:, None] == np.arange(first, last)).astype(float)


@dataclass(frozen=True)
class Random:
    """Vectors of random signs; `signs` (V, N) are +1 or -1."""

    signs: Array

    @property
    def count(self) -> int:
        """V."""
        return len(self.signs)

    @property
    def weight(self) -> float:
        """w."""
        return 1.0 / len(self.signs)

    def vectors(self, first: int, last: int) -> Array:
        """Vectors first ... last - 1 as columns, (N, last - first)."""
        return self.signs[first:last].T.astype(float)


@dataclass(frozen=True)
class OnGraph:
    """Probing with the hops of any graph."""

    graph: Graph
    probes: Coloured | Random

    def propagate(
        self, levels: Array, intervals: list[Interval], coefficients: list[Array]
    ) -> tuple[Array, list[Array]]:
        """Diagonals of f(H) (R, N) and the traces of T_k(h), R times (M,), for on-site energies (R, N) and c_k, R times (M,)."""
        sites = np.arange(self.graph.sites)
        found = [self.entries(*one, sites, sites) for one in zip(levels, intervals, coefficients, strict=True)]
        return np.array([entries.real for entries, _ in found]), [traces for _, traces in found]

    def entries(self, levels: Array, interval: Interval, c: Array, i: Array, j: Array) -> tuple[Array, Array]:
        """f_ij (B,) for the pairs of sites i, j (B,), and the traces of T_k(h) (M,), of one replica."""
        twice = self._twice(levels, interval)
        entries, traces = np.zeros(len(i), dtype=twice.dtype), np.zeros(len(c))
        block = max(1, BLOCK_BYTES // (twice.dtype.itemsize * self.graph.sites))
        for first in range(0, self.probes.count, block):
            v = self.probes.vectors(first, min(first + block, self.probes.count))
            before, now = v.astype(twice.dtype), 0.5 * (twice @ v)
            image = c[0] * before
            traces[0] += np.vdot(v, v)
            for k in range(1, len(c)):
                image += c[k] * now
                traces[k] += np.vdot(v, now).real
                if k + 1 < len(c):
                    before, now = now, twice @ now - before
            entries += (image[i] * v[j]).sum(axis=1)
        return self.probes.weight * entries, self.probes.weight * traces

    def _twice(self, levels: Array, interval: Interval) -> Any:
        """2 h, sparse (N, N)."""
        hopping = sparse.csr_array(
            (self.graph.amplitude, self.graph.source, self.graph.first), shape=(len(levels),) * 2
        )
        return (hopping + sparse.diags_array(levels - interval.centre)).tocsr() * (2.0 / interval.half_width)
