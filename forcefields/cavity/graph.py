"""Cavity Green's functions on any graph, in NumPy: what lattices without kernels of their own use, and the specification.

Everything here is about the resolvent G(z) = (H - z)^-1 at a z in the upper half plane, H given by its blocks on the
diagonal, `onsite` (N,) or (N, o, o), and the hops of a `Graph`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.blocks import adjoint, dressed, hermitian, inverse, norms, square, trace, unit, weighted
from forcefields.cavity.expansion import Expansion
from forcefields.cavity.rim import Rim
from forcefields.hopping import Cut, Graph, Patches, centre_columns, density_matrix
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import DensityMatrix

Array = NDArray[Any]


def messages(graph: Graph, onsite: Array, z: complex, sweeps: int) -> Array:
    """M_{y -> x}(z) of every bond after `sweeps` sweeps that start from M = 0, (B,) or (B, o, o) [1/energy].

        M_{y -> x} = (e_y - z - sum_{u != x} H[y, u] M_{u -> y} H[y, u]^+)^-1

    is the Green's function of y when x and all that is behind it are taken away: exact on trees, where a sweep reaches
    one bond further.
    """
    message = np.zeros(graph.amplitude.shape, dtype=complex)
    bare = onsite - z * unit(onsite)
    for _ in range(sweeps):
        received = dressed(graph.amplitude, message)
        whole = bare - graph.incoming(received)
        message = inverse(whole[graph.source] + received[graph.reverse])
    return message


@dataclass(frozen=True)
class OnGraph:
    """The patches of any graph."""

    graph: Graph
    patches: Patches
    sweeps: int
    pairs: bool = False  # whether rho is wanted between sites too

    def reach(self, lattice: Lattice) -> float:
        """How far hopping can move a level at most, max_i sum_j |H_ij| over the whole lattice [energy] (Gershgorin)."""
        return float(lattice.highest(self.graph.incoming(norms(self.graph.amplitude))[None])[0])

    def green(self, onsite: Array, z: Array) -> tuple[Array, Array | None]:
        """Blocks of G(z) for several z (P,): G[y, y] (P, N) or (P, N, o, o) from the patch around y, and, if pairs are wanted,
        G[x, y] of the bonds y -> x from the same patch, (P, B) or (P, B, o, o) [1/energy].
        """
        graph, patches, o = self.graph, self.patches, self.graph.orbitals
        own = np.empty((len(z), *onsite.shape), dtype=complex)
        between = np.empty((len(z), *graph.amplitude.shape), dtype=complex) if self.pairs else None
        # The last sweep is that of the sites around each patch.
        received = [dressed(graph.amplitude, messages(graph, onsite, each, self.sweeps - 1)) for each in z]
        start = np.eye(o * patches.members.shape[1], o)[None]
        for sites in patches.in_blocks(o):
            cut = Cut.of(graph, onsite, patches.members[sites])
            rim = Rim.of(graph, cut)
            for p, each in enumerate(z):
                solved = np.linalg.solve(rim.resolvents(cut, onsite, each, received[p]), start)
                found = own[p], None if between is None else between[p]
                patches.take(graph, sites, centre_columns(solved, o), *found)
        return own, between

    def solve(self, onsite: Array, expansions: list[Expansion]) -> tuple[DensityMatrix, Array]:
        """The density matrix and the energies of the sites (R, N) for on-site blocks (R, N) or (R, N, o, o) counted from mu.

        rho[x, y] = 1/2 delta_xy - slope H[x, y] - sum_p c_p (G_p[x, y] + G_p[y, x]^+)/2

        of which G[x, y] is taken from the patch around y and G[y, x] from that around x.
        """
        graph, energy = self.graph, np.empty(onsite.shape[:2])
        own, between = [], []
        moment = graph.incoming(square(graph.amplitude))
        for r, (e, made) in enumerate(zip(onsite, expansions, strict=True)):
            green, hop_green = self.green(e, 1j * made.poles)
            c, b = made.weights.T
            own.append(0.5 * unit(e) - made.slope * e - hermitian(weighted(c, green)))
            if hop_green is not None:
                summed = weighted(c, hop_green)
                between.append(-made.slope * graph.amplitude - 0.5 * (summed + adjoint(summed[graph.reverse])))
            imaginary = weighted(b, trace(green)).imag
            energy[r] = 0.5 * trace(e).real - made.slope * (square(e) + moment) + imaginary - graph.orbitals * c.sum()
        return density_matrix(graph, own, between if self.pairs else None), energy
