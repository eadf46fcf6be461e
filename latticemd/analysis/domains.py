"""Domains: connected regions where the order field has one sign, on any lattice and across periodic boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.lattice import Bonds

Array = NDArray[Any]


def domain_sizes(order_field: Array, bonds: Bonds) -> Array:
    """Numbers of sites of all domains of a field (N,), the largest first.

    Neighbours belong together where phi_i phi_j > 0; a site with phi exactly zero, such as a vacancy, belongs to no domain. A
    region that meets itself around the box is one domain. Single flipped sites count as domains too. Cost: O(N).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sites = len(order_field)
    together = order_field[bonds.i] * order_field[bonds.j] > 0
    pairs = bonds.i[together], bonds.j[together]
    graph = coo_array((np.ones(len(pairs[0]), dtype=np.int8), pairs), shape=(sites, sites))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label[order_field != 0.0])
    return np.sort(sizes[sizes > 0])[::-1]


def size_of_a_sites_domain(sizes: Array) -> float:
    """sum s^2 / sum s, the mean number of sites of the domain that a site is in [sites]; nan without domains.

    Single flipped sites hardly count, unlike in the mean over domains; two domains that interlock through the whole box make
    it about half of N, however narrow they are.
    """
    return float((sizes.astype(float) ** 2).sum() / sizes.sum()) if len(sizes) else float("nan")


def size_distribution(sizes: Array, sites: int, per_octave: int = 1) -> tuple[Array, Array]:
    """How much of the lattice lies in domains of which size: (geometric middles s (B,) [sites], share of the sites (B,) [1]).

    Bins cover factors of 2^(1/per_octave) and begin at one site; the shares add up to 1 where no site is without a domain.
    """
    bins = int(np.ceil(np.log2(sites) * per_octave)) + 1
    edges = 2.0 ** ((np.arange(bins + 1) - 0.5) / per_octave)
    share, _ = np.histogram(sizes, edges, weights=sizes)
    return 2.0 ** (np.arange(bins) / per_octave), share / sites
