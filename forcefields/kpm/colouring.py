"""Colourings: sites of one colour are far apart, so that one vector can ask for all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from forcefields.hopping import Graph

Array = NDArray[Any]


def colours_along(extent: int, distance: int) -> Array:
    """Colours 0, 1, ... of the positions along a ring of `extent` sites, equal ones at least `distance` apart, (extent,).

    The ring is cut into nearly equal stretches that are coloured alike. On a ring of even length all of them are of even
    length for an even `distance`, so that a colour never meets both sublattices. A ring that cannot hold two stretches gets
    a colour for every site.
    """
    unit = 1 if extent % 2 else 2
    stretches = max(1, (extent // unit) // -(-distance // unit))
    edges = unit * (np.arange(stretches + 1) * (extent // unit) // stretches)
    position = np.arange(extent)
    return position - edges[np.searchsorted(edges, position, side="right") - 1]


def square_colours(shape: tuple[int, ...], distance: int) -> Array:
    """The colours of a square lattice: equal ones stand at least `distance` apart along x or along y, (N,)."""
    down, across = (colours_along(extent, distance) for extent in shape)
    return (down[:, None] * (across.max() + 1) + across).ravel()


def graph_colours(graph: Graph, distance: int) -> Array:
    """The colours of any graph: equal ones are at least `distance` hops apart, (N,).

    Sites take the first colour that is free around them, in order of their numbers. On bipartite graphs a colour stays on
    one sublattice.
    """
    parity = _sublattices(graph)
    kinds = int(parity.max(initial=0)) + 1
    colours = np.full(graph.sites + 1, -1)  # the last one belongs to the missing members of small balls
    for site, ball in enumerate(graph.balls(distance - 1)):
        taken = colours[ball]
        free = np.ones(len(ball) + 1, dtype=bool)
        free[taken[(taken >= 0) & (taken % kinds == parity[site])] // kinds] = False
        colours[site] = kinds * int(free.argmax()) + parity[site]
    return np.unique(colours[:-1], return_inverse=True)[1]


def colours_of_orbitals(colours: Array, orbitals: int) -> Array:
    """The colours (N o,) of orbitals on sites with colours (N,): those of a site differ, so that none sees the others."""
    return (orbitals * colours[:, None] + np.arange(orbitals)).ravel()


def _sublattices(graph: Graph) -> Array:
    """0 or 1 for the two sublattices of a bipartite graph, 0 everywhere on others."""
    bonds = sparse.csr_array((np.ones(len(graph.source)), graph.source, graph.first), shape=(graph.sites,) * 2)
    parity = np.zeros(graph.sites, dtype=np.int64)
    _, piece = csgraph.connected_components(bonds, directed=False)
    for first in np.unique(piece, return_index=True)[1]:
        order, before = csgraph.breadth_first_order(bonds, first, directed=False)
        for site in order[1:]:
            parity[site] = 1 - parity[before[site]]
    target = np.repeat(np.arange(graph.sites), np.diff(graph.first))
    return parity if np.all(parity[graph.source] != parity[target]) else np.zeros_like(parity)
