"""Cavity Green's functions on any graph, in NumPy: what lattices without kernels of their own use, and the specification.

Everything here is about the resolvent G(z) = (H - z)^-1 at a z in the upper half plane, H of shape (N, N) given by its
diagonal `onsite` (N,) and the hops of a `Graph`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.cavity.expansion import Expansion
from forcefields.hopping import PATCH_BYTES, Graph, patch_matrices

Array = NDArray[Any]


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
