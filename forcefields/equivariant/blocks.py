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
    even <- even + V_e (silu(b) a + <u, u>)
    odd  <- odd  + V_o (silu(b) u)

    <u, u> sums over the internal components, so it is even, and a number times a vector is odd: pairs of channels are tensor
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
        even, odd = features
        a, b = self.even(even, wrap).chunk(2, dim=1)
        gate = functional.silu(b)
        if odd is None:
            return even + self.mix_even(gate * a), None
        u = self.odd(odd, wrap).unflatten(0, (self.components, -1))
        both = gate * a + u.square().sum(dim=0)
        return even + self.mix_even(both), odd + self.mix_odd((gate * u).flatten(0, 1))


class TensorProduct(nn.Module):
    """z_c = sum_ab w_c C^c_ab x_a y_b, site by site: Clebsch-Gordan products of features in irreps.

    x and y have the same representations, each with the same multiplicity; copy by copy, every pair of representations is
    multiplied into every representation of `target` that it contains. C are intertwiners of the product representation.
    """

    def __init__(self, source: Fields, target: Fields) -> None:
        super().__init__()
        from forcefields.equivariant.intertwiners import intertwiners

        self.source, self.target = source, target
        copies = source.parts[0][1]
        if any(n != copies for _, n in source.parts):
            raise ValueError("a product copy by copy needs equal multiplicities")
        self.weights = nn.ParameterList()
        self._paths: list[tuple[int, int, int]] = []
        for c, (to, n) in enumerate(target.parts):
            for a, (left, _) in enumerate(source.parts):
                for b, (right, _) in enumerate(source.parts):
                    found = intertwiners(source.group, left.times(right), to, 0.0).kernels
                    basis, middle = source.group.basis, (0,) * source.group.lattice.directions
                    same = found[(slice(None), *middle)].diagonal(axis1=1, axis2=3) if len(found) else found
                    if not len(found):
                        continue
                    # (K, m, l r, b) -> (K, b, m, l, r)
                    table = same.transpose(0, 3, 1, 2).reshape(
                        len(found), basis, to.dimension, left.dimension, right.dimension
                    )
                    self.register_buffer(f"table_{c}_{a}_{b}", torch.tensor(table.copy()), persistent=False)
                    self.weights.append(nn.Parameter(torch.randn(len(found), n, copies)))
                    self._paths.append((c, a, b))
        paths = {c: sum(1 for path in self._paths if path[0] == c) for c, *_ in self._paths}
        with torch.no_grad():
            for (c, *_), weight in zip(self._paths, self.weights, strict=True):
                weight /= (paths[c] * copies) ** 0.5

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Features of `target`, from two tensors (B, C, cells...) of `source`."""
        left, right = self._split(x, self.source), self._split(y, self.source)
        sums: list[Tensor | None] = [None] * len(self.target.parts)
        for (c, a, b), weight in zip(self._paths, self.weights, strict=True):
            table = self.get_buffer(f"table_{c}_{a}_{b}").to(x.dtype)
            product = torch.einsum("kbmlr,Bnbl...,Bnbr...->kBnbm...", table, left[a], right[b])
            mixed = torch.einsum("kon,kBnbm...->Bobm...", weight, product)
            before = sums[c]
            sums[c] = mixed if before is None else before + mixed
        cells = x.shape[2:]
        pieces = [
            x.new_zeros(len(x), n * self.source.group.basis * one.dimension, *cells)
            if total is None
            else total.reshape(len(x), -1, *cells)
            for total, (one, n) in zip(sums, self.target.parts, strict=True)
        ]
        return torch.cat(pieces, dim=1)

    @staticmethod
    def _split(x: Tensor, fields: Fields) -> list[Tensor]:
        """The parts of the channels as (B, copies, basis, dimension, cells...)."""
        basis, cells = fields.group.basis, x.shape[2:]
        sizes = [n * basis * one.dimension for one, n in fields.parts]
        return [
            part.reshape(len(x), n, basis, one.dimension, *cells)
            for part, (one, n) in zip(x.split(sizes, dim=1), fields.parts, strict=True)
        ]
