"""Bounds on the spectrum of H_el that hold for any field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from latticemd.models.model import Hops

Array = NDArray[Any]


def spectral_reach(levels: Array, hops: Hops, iterations: int = 12) -> Array:
    """An upper bound on the modulus of the eigenvalues of H = levels (R, N) on the diagonal and hops beside it, (R,) [energy].

    No eigenvalue of H exceeds, in modulus, the largest one of |H|, and that is at most max_i (|H| v)_i / v_i for any v > 0
    (Collatz and Wielandt). v = 1 would be Gershgorin's bound; some power iterations bring v close to the eigenvector and the
    bound a quarter lower where a few levels stand out. Cost: O(N), deterministic.
    """
    replicas, sites = levels.shape
    i, j, size = hops.i, hops.j, np.abs(hops.amplitude)
    hopping = coo_array((np.tile(size, 2), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(sites, sites))
    hopping = hopping.tocsr()
    reach = np.empty(replicas)
    for r, diagonal in enumerate(np.abs(levels)):
        v, bounds = np.ones(sites), []
        for _ in range(iterations):
            image = diagonal * v + hopping @ v
            bounds.append(float((image / v).max()))
            # The share of v that is kept damps oscillations between sublattices and keeps v positive.
            v = image + 0.2 * bounds[0] * v
            v /= v.max()
        reach[r] = min(bounds)
    return reach
