"""Bounds on the spectrum of H_el that hold for any field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]


def spectral_reach(hamiltonian: Hamiltonian, iterations: int = 12) -> Array:
    """An upper bound on the modulus of the eigenvalues of H_el, (R,) [energy].

    No eigenvalue of H exceeds, in modulus, the largest one of |H|, and that is at most max_i (|H| v)_i / v_i for any v > 0
    (Collatz and Wielandt). v = 1 would be Gershgorin's bound; some power iterations bring v close to the eigenvector and the
    bound a quarter lower where a few levels stand out. Cost: O(N), deterministic.
    """
    i, j, n = hamiltonian.i, hamiltonian.j, hamiltonian.size
    both = np.concatenate([i, j]), np.concatenate([j, i])
    reach = np.empty(len(hamiltonian.levels))
    hopping: Any = None
    for r, diagonal in enumerate(np.abs(hamiltonian.levels)):
        if hopping is None or hamiltonian.amplitude.ndim == 2:
            size = np.abs(hamiltonian.replica(r).amplitude)
            hopping = coo_array((np.tile(size, 2), both), shape=(n, n)).tocsr()
        v, bounds = np.ones(n), []
        for _ in range(iterations):
            image = diagonal * v + hopping @ v
            bounds.append(float((image / v).max()))
            # The share of v that is kept damps oscillations between sublattices and keeps v positive.
            v = image + 0.2 * bounds[0] * v
            v /= v.max()
        reach[r] = min(bounds)
    return reach
