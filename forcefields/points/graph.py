"""Networks that look at coordinates as they stand: a graph network and a network of sets. Frames make them equivariant.

All points see all others, as five charges do. Modules take positions x, vectors v (B, N, 3) and charges q (B, N), and
return vectors (B, N, 3); they follow permutations of points exactly.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def layers(sizes: list[int], last: bool = False) -> nn.Sequential:
    """Linear maps with SiLU between them, and after the last where asked for."""
    parts: list[nn.Module] = []
    for k, (one, other) in enumerate(itertools.pairwise(sizes)):
        parts.append(nn.Linear(one, other))
        if last or k < len(sizes) - 2:
            parts.append(nn.SiLU())
    return nn.Sequential(*parts)


PAIR = 4  # features of a pair
SOFT = 0.1  # [length]: keeps 1/r of points that meet within what a network can follow


def pair_features(x: Tensor, q: Tensor) -> Tensor:
    """What does not depend on directions, of all pairs: r^2, 1/(r + SOFT), q_i q_j and their product, (B, N, N, PAIR)."""
    squared = ((x[:, :, None] - x[:, None]) ** 2).sum(dim=-1)
    diagonal = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)  # where a root would have no gradient
    close, charges = 1.0 / (torch.sqrt(squared + diagonal) + SOFT), q[:, :, None] * q[:, None]
    return torch.stack([squared, close, charges, charges * close], dim=-1)


def others(n: int, like: Tensor) -> Tensor:
    """Which pairs are pairs: zeros on the diagonal, (N, N, 1)."""
    return (1.0 - torch.eye(n, dtype=like.dtype, device=like.device))[..., None]


class GraphConvolution(nn.Module):
    """h_i <- h_i + node(h_i, sum_j edge(h_i, h_j, a_ij)), a_ij the features of the pair.

    The first map of `edge` is split into parts for h_i, h_j and a_ij, so that it costs O(N) and not O(N^2) products of hidden size.
    """

    def __init__(self, hidden: int, pair: int = PAIR) -> None:
        super().__init__()
        self.mine, self.other = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.pair = nn.Linear(pair, hidden, bias=False)
        self.edge = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.node = layers([2 * hidden, hidden, hidden])

    def messages(self, h: Tensor, pairs: Tensor) -> Tensor:
        """edge(h_i, h_j, a_ij), (B, N, N, hidden); zero for i = j."""
        start = self.mine(h)[:, :, None] + self.other(h)[:, None] + self.pair(pairs)
        return self.edge(start) * others(h.shape[1], h)

    def forward(self, h: Tensor, pairs: Tensor) -> Tensor:
        """h (B, N, hidden) and features of pairs (B, N, N, pair) to h (B, N, hidden)."""
        return h + self.node(torch.cat([h, self.messages(h, pairs).sum(dim=2)], dim=-1))


class GraphNetwork(nn.Module):
    """A plain graph network: it knows permutations, and has to learn what rotations and shifts are.

    Reference: Gilmer et al., arXiv:1704.01212 (message passing).
    """

    def __init__(self, hidden: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(7, hidden)
        self.convolutions = nn.ModuleList(GraphConvolution(hidden) for _ in range(depth))
        self.last = layers([hidden, hidden, 3])

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3)."""
        x, v = x.to(q.dtype), v.to(q.dtype)
        h, pairs = self.first(torch.cat([x, v, q[..., None]], dim=-1)), pair_features(x, q)
        for convolution in self.convolutions:
            h = convolution(h, pairs)
        return self.last(h)


class DeepSets(nn.Module):
    """Every point by itself, their sum, and every point with the sum: no pairs, O(N).

    References: Zaheer et al., arXiv:1703.06114; Qi et al., arXiv:1612.00593 (PointNet).
    """

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.alone = layers([7, hidden, hidden, hidden], last=True)
        self.together = layers([2 * hidden, hidden, hidden, 3])

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3)."""
        h = self.alone(torch.cat([x, v, q[..., None]], dim=-1))
        return self.together(torch.cat([h, h.sum(dim=1, keepdim=True).expand_as(h)], dim=-1))
