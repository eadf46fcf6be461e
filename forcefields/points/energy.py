"""An energy of points whose neighbours are near, differentiated to forces: a network that conserves, and knows periodic cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from forcefields.points.graph import layers


class PairEnergy(nn.Module):
    """E = sum_i e(h_i), in rounds h_i <- h_i + mix(sum_j w(r_ij) * h_j), h_i first a function of q_i.

    w are functions of the distance, made from a radial basis and an envelope (1 - r^2/c^2)^3 that vanishes at the cutoff c
    with two derivatives, so that energies and forces are smooth when neighbours come and go. Nothing but distances enters:
    shifts, rotations, reflections and permutations leave E as it is, and -dE/dx is a gradient that turns with the points.
    Rounds reach beyond the cutoff, up to `depth` of them.

    Cost: O(N) networks on the pairs within the cutoff, and as much again for the gradient. Where forces need not be gradients,
    `EGNN` costs less.

    Reference: Schuett et al., arXiv:1706.08566 (continuous filters between atoms).
    """

    def __init__(self, hidden: int = 64, depth: int = 2, cutoff: float = 5.0, basis: int = 16) -> None:
        super().__init__()
        self.cutoff, self.basis = cutoff, basis
        self.first = layers([1, hidden, hidden])
        self.filters = nn.ModuleList(layers([basis, hidden, hidden]) for _ in range(depth))
        self.mixes = nn.ModuleList(layers([hidden, hidden, hidden]) for _ in range(depth))
        self.last = layers([hidden, hidden, 1])

    def forward(self, q: Tensor, i: Tensor, j: Tensor, away: Tensor) -> Tensor:
        """Energy of each of M points (M,), whose neighbours j are `away` (E, 3) from i, both (E,); q (M,) are charges.

        Every pair comes in both directions; pairs beyond the cutoff count nothing.
        """
        r = torch.linalg.vector_norm(away, dim=-1)
        inside = (r / self.cutoff).clamp(max=1.0)
        envelope = (1.0 - inside**2) ** 3
        waves = torch.arange(1, self.basis + 1, dtype=r.dtype, device=r.device) * math.pi
        radial = torch.sin(inside[:, None] * waves) / inside.clamp_min(1e-6)[:, None] / self.basis
        h = self.first(q[:, None])
        for filtered, mix in zip(self.filters, self.mixes, strict=True):
            messages = filtered(radial) * envelope[:, None] * h[j]
            h = h + mix(torch.zeros_like(h).index_add(0, i, messages))
        energies: Tensor = self.last(h)[:, 0]
        return energies
