"""All graphs of a few nodes, each once: made from those with one node less, told apart by a canonical form.

A graph is the number whose bits are its pairs (0, 1), (0, 2), (1, 2), (0, 3), ... , so that removing the last node leaves
the number of the rest. The canonical form is the largest number, over all orders of the nodes, in which every node in
turn brings the largest possible (degree, pairs with the nodes before it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latticemd.backends.cpu.compiling import jit

Codes = NDArray[np.int64]


def connected_graphs(nodes: int) -> NDArray[np.int8]:
    """Adjacency matrices (G, n, n) of all connected graphs of n nodes up to isomorphism.

    G = 1, 1, 2, 6, 21, 112, 853, 11117 for n = 1, ..., 8 (OEIS A001349). Cost: seconds for 8 nodes.
    """
    matrices = matrices_of(all_graphs(nodes), nodes)
    reached = np.eye(nodes, dtype=np.int64) + matrices
    for _ in range(nodes.bit_length()):
        reached = np.minimum(reached @ reached, 1)
    return matrices[reached.all(axis=(1, 2))]


def all_graphs(nodes: int) -> Codes:
    """Canonical forms of all graphs of n nodes, connected or not, sorted (OEIS A000088: 12346 for n = 8)."""
    found = np.zeros(1, dtype=np.int64)
    for n in range(2, nodes + 1):
        neighbours = np.arange(2 ** (n - 1), dtype=np.int64) << ((n - 1) * (n - 2) // 2)
        found = np.unique(canonical_forms((found[:, None] | neighbours).ravel(), n))
    return found


def matrices_of(codes: Codes, nodes: int) -> NDArray[np.int8]:
    """Adjacency matrices (G, n, n)."""
    matrices = np.zeros((len(codes), nodes, nodes), dtype=np.int8)
    j, i = np.tril_indices(nodes, -1)  # (1, 0), (2, 0), (2, 1), ... as the bits of a code
    matrices[:, i, j] = (codes[:, None] >> np.arange(len(i))) & 1
    return matrices + matrices.swapaxes(1, 2)


@jit
def canonical_forms(codes: Codes, nodes: int) -> Codes:
    """The canonical form of each graph of n <= 8 nodes: equal for isomorphic graphs, and for no others."""
    forms = np.empty_like(codes)
    paths = np.zeros((2, 40321, nodes), dtype=np.int8)  # the orders that are the best so far; at most 8!
    adjacent = np.zeros((nodes, nodes), dtype=np.int64)
    for g in range(codes.size):
        bit = 0
        for j in range(nodes):
            for i in range(j):
                adjacent[i, j] = adjacent[j, i] = (codes[g] >> bit) & 1
                bit += 1
        count, now, form, shift = 1, 0, 0, 0
        for place in range(nodes):
            best, kept = -1, 0
            for k in range(count):
                for node in range(nodes):
                    used, pairs, degree = False, 0, 0
                    for i in range(nodes):
                        degree += adjacent[node, i]
                    for i in range(place):
                        used = used or paths[now, k, i] == node
                        pairs |= adjacent[node, paths[now, k, i]] << i
                    key = (degree << nodes) | pairs
                    if used or key < best:
                        continue
                    if key > best:
                        best, kept = key, 0
                    for i in range(place):
                        paths[1 - now, kept, i] = paths[now, k, i]
                    paths[1 - now, kept, place] = node
                    kept += 1
            form |= (best & ((1 << nodes) - 1)) << shift
            shift += place
            count, now = kept, 1 - now
        forms[g] = form
    return forms
