"""Moments of windows on any graph, in NumPy: what lattices without kernels of their own use, and the specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.hopping import PATCH_BYTES, Graph, patch_matrices
from forcefields.window.expansion import Expansion

Array = NDArray[Any]


def moments(h: Array, order: int) -> Array:
    """<0| T_k(h) |0> for k = 0 ... order of matrices h (P, b, b) with spectra within [-1, 1], (order + 1, P)."""
    before, now = np.zeros((2, *h.shape[:2], 1), dtype=h.dtype)
    before[:, 0] = 1.0
    now[...] = h @ before
    found = [before[:, 0, 0].real.copy(), now[:, 0, 0].real.copy()]
    for _ in range(order - 1):
        before, now = now, 2.0 * (h @ now) - before
        found.append(now[:, 0, 0].real.copy())
    return np.array(found)


@dataclass(frozen=True)
class OnGraph:
    """The windows of any graph; `windows` (N, b) lists the sites of each, its centre first, -1 where there are fewer."""

    graph: Graph
    windows: Array

    def reach(self, levels: Array) -> Array:
        """A bound on the moduli of the eigenvalues of each window, (R, N) [energy]; see `OnSquare.reach`."""
        hopping = sparse.csr_array((np.abs(self.graph.amplitude), self.graph.source, self.graph.first))
        neighbours = np.where(
            self.graph.neighbours >= 0, self.graph.source[self.graph.neighbours], np.arange(len(levels[0]))[:, None]
        )
        bounds = np.empty_like(levels)
        for r, e in enumerate(levels):
            shift = np.maximum(np.abs(e), np.abs(e)[neighbours].max(axis=1))
            quotients = []
            for diagonal in (e, -e):
                v = np.ones(len(e))
                for _ in range(2):
                    v = (diagonal + shift) * v + hopping @ v
                    v = np.where(v > 0.0, v, 1.0)  # isolated sites
                quotients.append(diagonal + (hopping @ v) / v)
            bounds[r] = np.where(self.windows >= 0, np.maximum(*quotients)[self.windows], 0.0).max(axis=1)
        return bounds

    def solve(self, levels: Array, rungs: Array, expansions: dict[int, Expansion], density: Array) -> Array:
        """Write the density (R, N); return sums of moments, see `OnSquare.solve`."""
        most = max(each.order for each in expansions.values())
        sums = np.zeros((len(levels), len(expansions), most + 1))
        block = max(1, PATCH_BYTES // (16 * self.windows.shape[1] ** 2))
        silent = np.zeros(len(self.graph.source), dtype=complex)  # nothing beyond the rim of a window
        for r, onsite in enumerate(levels):
            for number, (rung, made) in enumerate(expansions.items()):
                sites = np.flatnonzero(rungs[r] == rung)
                for start in range(0, len(sites), block):
                    some = sites[start : start + block]
                    h = patch_matrices(self.graph, onsite, 0.0, silent, self.windows[some])
                    found = moments(h / made.half_width, made.order)
                    density[r, some] = made.density @ found
                    sums[r, number, : made.order + 1] += found.sum(axis=1)
        return sums
