"""E(n)-equivariant graph network: numbers that do not turn, and positions that move along the lines between points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forcefields.points.graph import GraphConvolution, layers, pair_features


class EquivariantLayer(nn.Module):
    """m_ij = edge(h_i, h_j, |x_ij|^2, q_i q_j),  x_i <- x_i + <(x_i - x_j) pull(m_ij)>_j + push(h_i) v_i,  h_i as in graphs."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convolution = GraphConvolution(hidden)
        self.pull, self.push = layers([hidden, hidden, 1]), layers([hidden, hidden, 1])
        nn.init.xavier_uniform_(self.pull[-1].weight, gain=1e-3)  # type: ignore[arg-type]  # points start where they are

    def forward(self, x: Tensor, h: Tensor, v: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """New positions (B, N, 3) and numbers (B, N, hidden)."""
        pairs = pair_features(x, q)
        messages = self.convolution.messages(h, pairs)
        away = x[:, :, None] - x[:, None]
        moved = x + (away * self.pull(messages)).sum(dim=2) / (x.shape[1] - 1) + self.push(h) * v
        return moved, h + self.convolution.node(torch.cat([h, messages.sum(dim=2)], dim=-1))


class EGNN(nn.Module):
    """Rotations, reflections, shifts and permutations are exact in every layer, without frames; one evaluation suffices.

    It knows directions only as lines between points and as v, so that no layer sees angles.

    Reference: Satorras, Hoogeboom and Welling, arXiv:2102.09844.
    """

    def __init__(self, hidden: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(2, hidden)
        self.layers = nn.ModuleList(EquivariantLayer(hidden) for _ in range(depth))

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3): how far the layers have moved the points."""
        start = (x.double() - x.double().mean(dim=1, keepdim=True)).to(q.dtype)
        v = v.to(q.dtype)
        h = self.first(torch.stack([torch.linalg.vector_norm(v, dim=-1), q], dim=-1))
        moving = start
        for layer in self.layers:
            moving, h = layer(moving, h, v, q)
        return moving - start
