"""Non-linear layers that keep the group, smooth everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from forcefields.equivariant.convolution import Convolution
from forcefields.equivariant.fields import Fields

Pair = tuple[Tensor, Tensor | None]  # even and odd features, see `forcefields.equivariant.fields`


class Lift(nn.Module):
    """A convolution of even and of odd features each by itself: into a network, or out of it."""

    def __init__(self, even: tuple[Fields, Fields], odd: tuple[Fields, Fields] | None, radius: float) -> None:
        super().__init__()
        self.even = Convolution(*even, radius, bias=even[1].permutes)
        self.odd = Convolution(*odd, radius) if odd else None
        self.reach = self.even.reach

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """New features on the same cells."""
        even, odd = features
        return self.even(even, wrap), None if self.odd is None or odd is None else self.odd(odd, wrap)


class GatedBlock(nn.Module):
    """A residual block whose non-linearity is a product.

    a, b = W_e * even + biases          u = W_o * odd
    even <- even + V_e (silu(b) a + <u, u>/n)
    odd  <- odd  + V_o (silu(b) u)

    <u, u> sums over the n internal components, so it is even, and a number times a vector is odd: pairs of channels are tensor
    products of the internal group, and of the lattice, since hidden features are permuted. The V are 1 x 1 and start small, so
    that a deep network starts near the identity and keeps the variance of what goes through it.
    """

    def __init__(self, hidden: Fields, components: int, radius: float, gain: float) -> None:
        super().__init__()
        if not hidden.permutes:
            raise ValueError("products of channels need features that are permuted")
        self.components = components
        self.even = Convolution(hidden, hidden + hidden, radius, bias=True)
        self.mix_even = Convolution(hidden, hidden, 0.0, bias=True, gain=gain)
        if components:
            self.odd = Convolution(hidden, hidden, radius)
            self.mix_odd = Convolution(hidden, hidden, 0.0, gain=gain)
        self.reach = self.even.reach

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """Features of the same kinds on the same cells."""
        if not torch.is_grad_enabled() and features[1] is not None:
            return self._without_gradient(features[0], features[1], wrap)
        even, odd = features
        a, b = self.even(even, wrap).chunk(2, dim=1)
        gate = functional.silu(b)
        if odd is None:
            return even + self.mix_even(gate * a), None
        u = self.odd(odd, wrap).unflatten(0, (self.components, -1))
        both = gate * a + u.square().mean(dim=0)
        return even + self.mix_even(both), odd + self.mix_odd((gate * u).flatten(0, 1))

    def _without_gradient(self, even: Tensor, odd: Tensor, wrap: bool) -> Pair:
        """The same, in place: what is worked on stays in cache, which halves the time of narrow blocks."""
        a, gate = self.even.halves(even, wrap)
        functional.silu(gate, inplace=True)
        u = self.odd(odd, wrap)
        a.mul_(gate)
        for one in u.chunk(self.components):
            a.addcmul_(one, one, value=1.0 / self.components)
            one.mul_(gate)
        return self.mix_even(a).add_(even), self.mix_odd(u).add_(odd)
