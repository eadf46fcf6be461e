"""Non-linear layers that keep the group, smooth everywhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from forcefields.equivariant.convolution import Convolution
from forcefields.equivariant.fields import Fields

Pair = tuple[Tensor, Tensor | None]  # even and odd features, see `forcefields.equivariant.fields`


class Lift(nn.Module):
    """A convolution of even and of odd features each by itself: into a network, or out of it."""

    def __init__(
        self, even: tuple[Fields, Fields], odd: tuple[Fields, Fields] | None, radius: float, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.even = Convolution(*even, radius, bias=even[1].permutes, gain=gain)
        self.odd = Convolution(*odd, radius, gain=gain) if odd else None
        self.reach = self.even.reach

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """New features on the same cells."""
        even, odd = features
        return self.even(even, wrap), None if self.odd is None or odd is None else self.odd(odd, wrap)


def sign_regular(features: Pair, function: Callable[[Tensor], Tensor]) -> Pair:
    """A function of each channel, of features that are permuted: of the regular representation of the sign, where it changes.

    even <- (f(even + odd) + f(even - odd))/2
    odd  <- (f(even + odd) - f(even - odd))/2

    even + odd and even - odd are what x and -x look like; odd -> -odd exchanges them.
    """
    even, odd = features
    if odd is None:
        return function(even), None
    one, other = function(even + odd), function(even - odd)
    return (one + other).mul_(0.5), (one - other).mul_(0.5)


class RegularBlock(nn.Module):
    """A residual block whose non-linearity acts on each channel of a regular representation, see `sign_regular`.

    h <- h + V * silu(W * silu(h))

    Even and odd features never meet in a convolution: with C of each, one costs half of what 2 C channels without the symmetry
    take. There are odd features of one component at most, as those that turn with spins have no regular representation.
    """

    def __init__(self, hidden: Fields, components: int, radius: float, gain: float) -> None:
        super().__init__()
        if not hidden.permutes:
            raise ValueError("functions of channels need features that are permuted")
        if components > 1:
            raise ValueError("a regular representation needs variables that at most change sign; use gated products")
        pair = (hidden, hidden), ((hidden, hidden) if components else None)
        self.first, self.second = Lift(*pair, radius), Lift(*pair, radius, gain)
        self.reach = self.first.reach + self.second.reach

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """Features of the same kinds on the same cells."""
        inner = self.first(sign_regular(features, functional.silu), wrap)
        even, odd = self.second(sign_regular(inner, functional.silu), wrap)
        return features[0] + even, None if odd is None or features[1] is None else features[1] + odd


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
