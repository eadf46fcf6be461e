"""Bounds on the spectrum of H_el that hold for any field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from forcefields.blocks import extremes, norms
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]


def levels_of_sites(hamiltonian: Hamiltonian) -> tuple[Array, Array]:
    """The lowest and the highest level of each site by itself, both (R, N) [energy]."""
    onsite, _, _, _ = _by_sites(hamiltonian)
    return extremes(onsite)


def spectral_reach(hamiltonian: Hamiltonian, lattice: Lattice, iterations: int = 12) -> Array:
    """An upper bound on the modulus of the eigenvalues of H_el, (R,) [energy].

    No eigenvalue of H exceeds, in modulus, the largest one of |H|, and that is at most max_i (|H| v)_i / v_i for any v > 0
    (Collatz and Wielandt). v = 1 would be Gershgorin's bound; some power iterations bring v close to the eigenvector and the
    bound a quarter lower where a few levels stand out. With several orbitals |H| has the norms of the blocks of sites in the
    place of moduli, so that the bound is the same in any basis of the orbitals. Cost: O(N), deterministic.
    """
    onsite, i, j, hops = _by_sites(hamiltonian)
    n = onsite.shape[1]
    both = np.concatenate([i, j]), np.concatenate([j, i])
    reach = np.empty(len(onsite))
    hopping: Any = None
    for r, diagonal in enumerate(norms(onsite)):
        if hopping is None or len(hops) > 1:
            hopping = coo_array((np.tile(norms(hops[r]), 2), both), shape=(n, n)).tocsr()
        v, bounds = np.ones(n), []
        for _ in range(iterations):
            image = diagonal * v + hopping @ v
            bounds.append(_largest(image / v, lattice))
            # The share of v that is kept damps oscillations between sublattices and keeps v positive.
            v = image + 0.2 * bounds[0] * v
            v = lattice.refreshed((v / _largest(v, lattice))[None])[0]
        reach[r] = min(bounds)
    return reach


def _largest(values: Array, lattice: Lattice) -> float:
    return float(lattice.highest(values[None])[0])


def _by_sites(hamiltonian: Hamiltonian) -> tuple[Array, Array, Array, Array]:
    """Blocks of the sites, (R, N) or (R, N, o, o); sites that hops join, (B,), (B,); blocks of hops (R or 1, B[, o, o])."""
    h, o = hamiltonian, hamiltonian.orbitals
    amplitude = np.atleast_2d(h.amplitude)
    if o == 1:
        return h.levels, h.i, h.j, amplitude
    blocks = h.density_matrix(h.levels, amplitude)  # whose entries are kept in the same order as those of H
    assert blocks.bonds is not None
    pairs = (len(h.i) - h.size * (o - 1) // 2) // h.hops  # of orbitals for each hop, o or o^2; they come first
    first = slice(0, pairs * h.hops, pairs)
    return blocks.onsite, h.i[first] // o, h.j[first] // o, blocks.bonds
