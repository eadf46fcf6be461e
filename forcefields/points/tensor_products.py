"""A network of irreducible tensors, by e3nn: scalars, vectors and quadrupoles on points, in Clebsch-Gordan products."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from forcefields.points.graph import layers, others
from latticemd.errors import InputError


def require_e3nn() -> Any:
    """The package e3nn. Raises InputError where it is not installed."""
    try:
        import e3nn
        import e3nn.nn  # a package that importing e3nn leaves out
        import e3nn.o3
    except ImportError as error:
        raise InputError(
            f"the network of tensor products needs e3nn ({error}): pip install 'latticemd[e3nn]'"
        ) from error
    return e3nn


class TensorProducts(nn.Module):
    """Messages h_j x Y(x_j - x_i), weighted by functions of what does not turn; then gates.

    h_i <- h_i + gate(mix_i h_i + sum_j [h_j (x) Y(x_ij)] w(|x_ij|, q_i q_j))

    Y are spherical harmonics up to l = `degree`; h holds `channels` scalars, and half and a quarter as many vectors and
    quadrupoles. Rotations, reflections, shifts and permutations are exact.

    Cost: some ten times that of `EGNN`, for angles that it does not see.

    References: Thomas et al., arXiv:1802.08219; Brandstetter et al., arXiv:2110.02905 (on this benchmark); e3nn,
    arXiv:2207.09453.
    """

    def __init__(self, channels: int = 32, depth: int = 3, degree: int = 2) -> None:
        super().__init__()
        o3 = require_e3nn().o3
        self.harmonics = o3.Irreps.spherical_harmonics(degree)
        given = o3.Irreps("2x0e + 2x1o")  # |v| and q; x and v
        kept = [f"{channels // 2**n}x{n}{'o' if n % 2 else 'e'}" for n in range(1, degree + 1)]
        hidden = o3.Irreps(" + ".join([f"{channels}x0e", *kept]))
        self.first = o3.Linear(given, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, self.harmonics) for _ in range(depth))
        self.last = o3.Linear(hidden, o3.Irreps("1x1o"))

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3)."""
        o3 = require_e3nn().o3
        n = q.shape[1]
        x = (x.double() - x.double().mean(dim=1, keepdim=True)).to(q.dtype)
        v = v.to(q.dtype)
        away = x[:, None] - x[:, :, None]  # from i to j
        harmonics = o3.spherical_harmonics(self.harmonics, away, normalize=True, normalization="component")
        r = torch.linalg.vector_norm(away + torch.eye(n, dtype=x.dtype, device=x.device)[..., None], dim=-1)
        pairs = torch.stack(
            [r, 1.0 / (0.1 + r), q[:, :, None] * q[:, None], q[:, :, None] * q[:, None] / (0.1 + r)], dim=-1
        )
        numbers = torch.stack([torch.linalg.vector_norm(v, dim=-1), q], dim=-1)
        h = self.first(torch.cat([numbers, x, v], dim=-1))
        for block in self.blocks:
            h = block(h, harmonics, pairs)
        return self.last(h)


class _Block(nn.Module):
    """One round of messages."""

    def __init__(self, hidden: Any, harmonics: Any) -> None:
        super().__init__()
        e3nn = require_e3nn()
        o3 = e3nn.o3
        scalars = o3.Irreps([(m, ir) for m, ir in hidden if ir.l == 0])
        tensors = o3.Irreps([(m, ir) for m, ir in hidden if ir.l > 0])
        gates = o3.Irreps(f"{sum(m for m, _ in tensors)}x0e")
        self.gate = e3nn.nn.Gate(scalars, [nn.SiLU()], gates, [nn.Sigmoid()], tensors)
        self.product = _depthwise(o3, hidden, harmonics)
        self.weight = layers([4, 64, 64, self.product.weight_numel])
        self.collect = o3.Linear(self.product.irreps_out, self.gate.irreps_in)
        self.mix = o3.Linear(hidden, self.gate.irreps_in)
        self.out = o3.Linear(self.gate.irreps_out, hidden)

    def forward(self, h: Tensor, harmonics: Tensor, pairs: Tensor) -> Tensor:
        """h (B, N, hidden) to the same."""
        b, n, _ = h.shape
        sent = h[:, None].expand(b, n, n, -1)
        messages = self.product(sent, harmonics, self.weight(pairs)) * others(n, h)
        collected = self.collect(messages.sum(dim=2)) / math.sqrt(n - 1)
        return h + self.out(self.gate(self.mix(h) + collected))


def _depthwise(o3: Any, hidden: Any, harmonics: Any) -> Any:
    """The product in which every channel of h meets every harmonic by itself, into all degrees that h has; few weights."""
    degrees = {(ir.l, ir.p) for _, ir in hidden}
    out: list[Any] = []
    paths: list[Any] = []
    for i, (channels, one) in enumerate(hidden):
        for j, (_, other) in enumerate(harmonics):
            for ir in one * other:
                if (ir.l, ir.p) in degrees:
                    paths.append((i, j, len(out), "uvu", True))
                    out.append((channels, ir))
    return o3.TensorProduct(hidden, harmonics, o3.Irreps(out), paths, shared_weights=False, internal_weights=False)
