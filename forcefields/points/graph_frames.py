"""Frames of graphs: orders of the nodes that a graph brings with it, in which any network may look at it and see no labels.

    F(A) = 1/|frame| sum_P phi(P A P^T)

Nodes are sorted by how strongly each lies in the eigenspaces of the Laplacian L = D - A, which doesn't depend on labels:

    s_i = (|P_1 e_i|^2, |P_2 e_i|^2, ...),     P_k the projection on the eigenspace of the k-th distinct eigenvalue

Nodes whose rows s_i agree stay tied; the frame holds every order of each block of tied nodes. Orders that an automorphism
takes to each other give the same matrix, so that phi has to see each distinct matrix once only.

References: Puny et al., arXiv:2110.03336, sec. 3.3 (graphs); Xu et al., arXiv:1810.00826 (GIN).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forcefields.points.graph import layers
from latticemd.errors import InputError

Array = NDArray[np.generic]

SAME = 1e-6  # difference below which two eigenvalues of L, or two entries of s, are one
LARGEST_FRAME = 10**6  # orders; beyond, a frame is refused


@dataclass(frozen=True)
class Orders:
    """The frame of one graph: K distinct matrices P A P^T, (K, n, n), and what each counts, (K,), together 1."""

    matrices: NDArray[np.int8]
    weight: NDArray[np.float64]


def blocks_of(adjacency: Array) -> list[list[int]]:
    """Nodes (n,) sorted by their part in the eigenspaces of the Laplacian, tied ones together."""
    n = len(adjacency)
    laplacian = np.diag(adjacency.sum(axis=1)) - adjacency
    values, vectors = np.linalg.eigh(laplacian.astype(np.float64))
    spaces = np.concatenate([[0], np.cumsum(np.diff(values) > SAME)])
    parts = np.zeros((n, spaces[-1] + 1))
    np.add.at(parts.T, spaces, vectors.T**2)
    # Rounded columns could fall on either side of a half; ranks of values that are apart cannot.
    ranks = np.stack([_ranks(column) for column in parts.T], axis=1)
    order = np.lexsort(ranks.T[::-1])
    blocks: list[list[int]] = [[int(order[0])]]
    for before, node in itertools.pairwise(order.tolist()):
        if (ranks[before] == ranks[node]).all():
            blocks[-1].append(node)
        else:
            blocks.append([node])
    return blocks


def orders_of(adjacency: Array) -> Orders:
    """The frame of a graph with adjacency matrix (n, n). Raises InputError where it has more than LARGEST_FRAME orders."""
    blocks = blocks_of(adjacency)
    count = int(np.prod([float(np.prod(np.arange(1, len(block) + 1, dtype=float))) for block in blocks]))
    if count > LARGEST_FRAME:
        raise InputError(
            f"the frame of this graph of {len(adjacency)} nodes has {count:.3g} orders, more than {LARGEST_FRAME}"
        )
    each = [np.array(list(itertools.permutations(block))) for block in blocks]
    choices = np.indices([len(part) for part in each]).reshape(len(each), -1)
    orders = np.concatenate([part[chosen] for part, chosen in zip(each, choices, strict=True)], axis=1)
    i, j = np.triu_indices(len(adjacency), 1)
    bits = adjacency[orders[:, i], orders[:, j]].astype(np.int8)
    seen, counts = np.unique(bits, axis=0, return_counts=True)
    matrices = np.zeros((len(seen), *adjacency.shape), dtype=np.int8)
    matrices[:, i, j] = seen
    return Orders(matrices + matrices.swapaxes(1, 2), counts / counts.sum())


class GIN(nn.Module):
    """Graph isomorphism network: h_i <- mlp((1 + e) h_i + sum_{j nn i} h_j), and the sum over nodes.

    With `identities` every node starts with its number, otherwise all start alike.

    Without identities it sees no more of a graph than colour refinement does. With them it depends on the order of the nodes,
    and frames take that away again. The e > 0, which is learned, matters: with e = 0 only 1 + A counts, whose rows the prism and
    the complete bipartite graph K_3,3 have in common up to their order, so that no order of nodes tells the two apart.
    """

    def __init__(
        self, nodes: int, hidden: int = 32, depth: int = 3, features: int = 10, identities: bool = False
    ) -> None:
        super().__init__()
        self.identities = identities
        sizes = [1 + nodes * identities] + [hidden] * depth
        self.rounds = nn.ModuleList(layers([one, hidden, other], last=True) for one, other in itertools.pairwise(sizes))
        self.self_weight = nn.Parameter(torch.full((depth,), 0.5))  # e
        self.last = layers([hidden, hidden, features])

    def forward(self, adjacency: Tensor) -> Tensor:
        """Adjacency matrices (B, n, n) to features (B, `features`)."""
        b, n, _ = adjacency.shape
        h = torch.ones(b, n, 1, dtype=adjacency.dtype)
        if self.identities:
            h = torch.cat([h, torch.eye(n, dtype=adjacency.dtype).expand(b, n, n)], dim=-1)
        for e, step in zip(self.self_weight, self.rounds, strict=True):
            h = step((1.0 + e) * h + adjacency @ h)
        return self.last(h.sum(dim=1))


def features_of(network: nn.Module, graphs: Array, framed: bool, batch: int = 4096) -> NDArray[np.float64]:
    """Features (G, F) of graphs (G, n, n) in double precision, averaged over the frame of each where `framed`."""
    if framed:
        frames = [orders_of(graph) for graph in graphs]
        matrices = np.concatenate([frame.matrices for frame in frames])
        weight = np.concatenate([frame.weight for frame in frames])
        owner = np.repeat(np.arange(len(graphs)), [len(frame.weight) for frame in frames])
    else:
        matrices, weight, owner = graphs, np.ones(len(graphs)), np.arange(len(graphs))
    with torch.no_grad():
        parts = [
            network.double()(torch.from_numpy(matrices[first : first + batch].astype(np.float64))).numpy()
            for first in range(0, len(matrices), batch)
        ]
    features = np.concatenate(parts) * weight[:, None]
    total = np.zeros((len(graphs), features.shape[1]))
    np.add.at(total, owner, features)
    return total


def undistinguished(features: NDArray[np.float64], closer: float) -> int:
    """Pairs of graphs whose features differ by less than `closer` of their spread, as the sum over features of |difference|."""
    from scipy.spatial import cKDTree

    spread = float(np.abs(features - features.mean(axis=0)).sum(axis=1).mean())
    return len(cKDTree(features / spread).query_pairs(closer, p=1.0))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank of each value among those that are apart by more than SAME."""
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > SAME)])
    return ranks
