"""A network that moves points step by step, as Newton's law does, under accelerations that it has learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forcefields.points.graph import SOFT, layers


class SecondOrder(nn.Module):
    """Steps of position Verlet, x half, v, x half, with the same small network for the acceleration in each of them.

    a_i = sum_j [pull(s_ij) x_ij + drag(s_ij) v_ij],    s_ij = (|x_ij|, |v_ij|, x_ij . v_ij, q_i q_j)

    x_ij and v_ij change sign with the order of a pair and s_ij does not, so action is reaction and the centre moves straight
    on. Rotations, reflections, shifts, permutations and velocity boosts are exact. That motion is of second order and between
    pairs is built in, which a few thousand samples would not teach; where it is not so (friction, many-body forces),
    choose `EGNN`.

    Cost: `steps` networks on N (N - 1)/2 pairs.

    Reference: the idea of second-order equivariant networks is that of Liu et al., arXiv:2308.13212; the pair network is our own.
    """

    def __init__(self, hidden: int = 48, steps: int = 12, horizon: float = 1.0) -> None:
        super().__init__()
        self.steps, self.horizon = steps, horizon
        self.pair = layers([8, hidden, hidden, 2])
        with torch.no_grad():
            self.pair[-1].weight.mul_(0.01)  # type: ignore[operator]  # begins near straight motion, which does not run away

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3): what straight motion over the horizon misses."""
        return self.motion(x, v, q)[0]

    def motion(self, x: Tensor, v: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the change of velocity, (B, N, 3)."""
        start = (x.double() - x.double().mean(dim=1, keepdim=True)).to(q.dtype)
        v = (v - v.mean(dim=1, keepdim=True)).to(q.dtype)
        n = q.shape[1]
        i, j = torch.triu_indices(n, n, offset=1, device=q.device)
        both = torch.zeros(n, len(i), dtype=q.dtype, device=q.device)
        both[i, torch.arange(len(i))], both[j, torch.arange(len(i))] = 1.0, -1.0
        charges = (q[:, i] * q[:, j])[..., None]
        dt = self.horizon / self.steps
        missed, gained = torch.zeros_like(start), torch.zeros_like(v)  # beside straight motion, so that small is exact
        for step in range(self.steps):
            now = start + missed + (step + 0.5) * dt * v + 0.5 * dt * gained
            push = dt * both @ self._force(now[:, i] - now[:, j], (v + gained)[:, i] - (v + gained)[:, j], charges)
            missed = missed + dt * gained + 0.5 * dt * push
            gained = gained + push
        return missed, gained

    def _force(self, away: Tensor, passing: Tensor, charges: Tensor) -> Tensor:
        """On the first of each pair (B, P, 3). What the network sees grows slowly, or steps could run away."""
        r = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        close = 1.0 / (SOFT + r)
        speed = torch.linalg.vector_norm(passing, dim=-1, keepdim=True)
        approach = (away * passing).sum(dim=-1, keepdim=True) * close * torch.log1p(speed) / (1e-6 + speed)
        seen = [torch.log1p(r), close, charges, charges * close, charges * close**2, torch.log1p(speed), approach]
        pull, drag = self.pair(torch.cat([*seen, approach * close], dim=-1)).split(1, dim=-1)
        return pull * close * away + drag * passing
