"""Whether an operation of the lattice keeps H_el at x = 0, up to the phases of orbitals that no energy depends on; rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.lattice import Symmetry
from latticemd.models.hamiltonian import as_blocks

if TYPE_CHECKING:
    from latticemd.models.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Internal:
    """An internal symmetry: x -> x M^T + shift on every site keeps the energy, and F -> F M^T with M orthogonal (D, D)."""

    name: str
    matrix: Array
    shift: float = 0.0


class Undistorted:
    """H_el of a model at x = 0 in an order that depends on sites alone, to be compared with its images."""

    def __init__(self, model: Model) -> None:
        hops = model.hops()
        self._sites, self._orbitals = model.lattice.sites, model.orbitals
        shared = hops.amplitude.ndim == 1
        self._blocks = as_blocks(hops.amplitude, model.orbitals) if shared else hops.amplitude
        self._i, self._j = hops.i, hops.j
        onsite = model.onsite(np.zeros((1, self._sites, model.components)))[0]
        self._onsite = onsite[:, None, None] if model.orbitals == 1 else onsite
        self._pairs, self._between = self._sorted(self._i, self._j, self._blocks)

    def kept_by(self, operation: Symmetry, turned: Array) -> bool:
        """Whether the operation, with `turned` (o, o) acting on the orbitals of a site, gives the same H_el.

        Equal up to a phase per site: a twisted boundary may be cut anywhere.
        """
        image = operation.permutation
        moved = np.empty_like(self._onsite)
        moved[image] = turned @ self._onsite @ turned.conj().T
        if not _close(moved, self._onsite):
            return False
        pairs, between = self._sorted(image[self._i], image[self._j], turned @ self._blocks @ turned.conj().T)
        if not np.array_equal(pairs, self._pairs):
            return False
        return _close(between, self._between) or self._equal_up_to_phases(between)

    def _sorted(self, i: Array, j: Array, blocks: Array) -> tuple[Array, Array]:
        """Keys of the pairs of sites in ascending order, and the blocks from the smaller site to the larger."""
        key = np.minimum(i, j) * self._sites + np.maximum(i, j)
        forwards = np.where((i <= j)[:, None, None], blocks, blocks.conj().swapaxes(1, 2))
        order = np.argsort(key, kind="stable")
        return key[order], forwards[order]

    def _equal_up_to_phases(self, between: Array) -> bool:
        """Whether phases exp(i theta) of the sites turn the blocks `between` into those of H_el: found along a spanning tree."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import breadth_first_order, connected_components

        overlap = np.einsum("bac,bac->b", between.conj(), self._between)
        size = np.einsum("bac,bac->b", self._between.conj(), self._between).real
        if not _close(np.abs(overlap), size):
            return False
        ratio = overlap / np.where(size > 0.0, size, 1.0)  # between * ratio = H_el, bond by bond
        i, j = np.divmod(self._pairs, self._sites)
        number = {(int(a), int(b)): n for n, (a, b) in enumerate(zip(i, j, strict=True)) if size[n] > 0.0}
        graph = coo_array((size > 0.0, (i, j)), shape=(self._sites, self._sites)).tocsr()
        phase = np.ones(self._sites, dtype=complex)
        pieces, label = connected_components(graph, directed=False)
        for start in (int(np.flatnonzero(label == piece)[0]) for piece in range(pieces)):
            order, before = breadth_first_order(graph, start, directed=False)
            for site in order[1:]:
                a, b = int(before[site]), int(site)
                phase[b] = phase[a] / ratio[number[a, b]] if (a, b) in number else phase[a] * ratio[number[b, a]]
        turned = between * (phase[i] * phase[j].conj())[:, None, None]
        return np.allclose(turned, self._between, rtol=1e-9, atol=1e-12)  # phases add up along the tree


def rotation(axis: list[int], angle: float) -> Array:
    """The matrix (3, 3) of a rotation (Rodrigues)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    generator = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * generator + (1.0 - np.cos(angle)) * generator @ generator


def _close(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=1e-12, atol=1e-14))
