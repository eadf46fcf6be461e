"""`irrep_mlp`: products of irreps of what surrounds a site, the published equivariant network of arXiv:2601.04104."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forcefields.equivariant import Convolution, Fields, PairProducts, convolved, intertwiners, representation
from forcefields.networks.joined import JoinedPlan
from latticemd.errors import InputError
from latticemd.parameters import parameter

Array = NDArray[Any]

_HALF = 2**-0.5  # linear terms and products share the variance
_OUTPUT_GAIN = 0.1  # a small output before training
_TINY = 1e-30  # keeps 0/0 away from the published activation
_SOFTENING = 0.3  # norm below which the smooth activation is linear, in units of the rms before training


@dataclass(frozen=True)
class IrrepNetwork(JoinedPlan):
    """Every site by itself: its surroundings in irreps of the point group, multiplied pair by pair, layer after layer.

    v_0 = projections of x within `radius` on all irreps        (sqrt(13) on a square lattice: 45 sites, 9 A1 + 3 A2 + 6 B1
                                                                 + 5 B2 + 11 E)
    v <- act(L v + Q(v, v) + b)                                 with `hidden` copies of every irrep
    F = last linear map of v

    L mixes copies of an irrep, Q holds all Clebsch-Gordan products of pairs of copies, b is for the trivial irrep alone, and
    act acts on each copy by its norm:

        act(v) = tanh(|v| + c) v/|v|,   c learned                                `smooth: false`, jumps by 2 tanh c at v = 0
        act(v) = tanh(r + c) v/r,       r = (|v|^2 + 0.3^2)^(1/2)                `smooth: true`

    It keeps the point group, and x -> -x only if `parity` is true. Where a site has more than one feature (others than `raw`,
    vectors, differences, a base that is shown) v_0 is learned linear combinations of them, as many as of one number per site.

    The publication gives the surroundings, the copies 32-8-4, pairwise products, an activation by the norm that is
    discontinuous at 0, and 143 thousand parameters. Left open there, and decided here: the function in the activation; that
    all pairs of copies are multiplied (with 9 + 3 + 6 + 5 + 11 copies this alone takes 144 160 parameters, so it must
    be nearly that); that linear terms are added (2528 parameters: products alone are even in x, forces odd), biases and c (269
    more). That makes 146 957 parameters on a square lattice. The publication learns the total force; this one, like all here,
    the electronic part.

    Cost: about 2 operations for each parameter and site.
    When to choose something else: `enn` shares between neighbouring sites what this one works out for each.

    References: arXiv:2601.04104.
    """

    radius: float = parameter(13**0.5, doc="of the surroundings of a site", dimension="length", gt=0)
    hidden: tuple[int, ...] = parameter((32, 8, 4), doc="a list of copies of every irrep > 0, one for each layer")
    smooth: bool = parameter(True, doc="an activation that is smooth at 0; false: as published")

    def site_network(self, source: Fields, target: Fields) -> nn.Module:
        """The layers between these features."""
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"hidden must be one or more numbers > 0, got {list(self.hidden)}")
        return _SiteWise(self, source, target)


class _SiteWise(nn.Module):
    def __init__(self, plan: IrrepNetwork, source: Fields, target: Fields) -> None:
        super().__init__()
        group = source.group
        names = [irrep.name for irrep in group.lattice.irreps()]
        single = len(source.parts) == 1 and source.channels == group.basis
        shown = source.parts[0][0] if single else representation(group, "scalar")
        kernels = [intertwiners(group, shown, representation(group, name), plan.radius).kernels for name in names]
        first = Fields.of(group, [(name, len(found)) for name, found in zip(names, kernels, strict=True)])
        project = _Projection(kernels) if single else Convolution(source, first, plan.radius)
        self.project, self.reach = project, project.reach
        layers = [first, *(Fields.of(group, [(name, n) for name in names]) for n in plan.hidden)]
        self.layers = nn.ModuleList(_Layer(*pair, plan.smooth) for pair in itertools.pairwise(layers))
        self.out = Convolution(layers[-1], target, 0.0, bias=target.permutes, gain=_OUTPUT_GAIN)

    @torch.no_grad()
    def normalise(self, x: Tensor) -> None:
        """Give linear terms and products in every layer the same rms, and what enters its activation about 1."""
        v = self.project(x, True)
        for layer in self.layers:
            layer.normalise(v)  # type: ignore[operator]
            v = layer(v)

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        v = self.project(x, wrap)
        for layer in self.layers:
            v = layer(v)
        found: Tensor = self.out(v)
        return found


class _Projection(nn.Module):
    """One number per site to its symmetry-adapted combinations: a convolution with fixed kernels of length one."""

    def __init__(self, kernels: list[Array]) -> None:
        super().__init__()
        # (K, grid..., b, m, b, 1) -> (K b m, b, grid...)
        directions = kernels[0].ndim - 5
        order = 0, 1 + directions, 2 + directions, 3 + directions, 4 + directions, *range(1, 1 + directions)
        channels = [one.transpose(order) for one in kernels]
        # A kernel has length one; here each of its b m channels shall.
        channels = [one * (one.shape[1] * one.shape[2]) ** 0.5 for one in channels]
        self.kernel = torch.tensor(
            np.concatenate([one.reshape(-1, *one.shape[3:4], *one.shape[5:]) for one in channels])
        )
        self.reach = (self.kernel.shape[-1] - 1) // 2

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        return convolved(x, self.kernel.to(x), None, wrap)


class _Layer(nn.Module):
    def __init__(self, source: Fields, target: Fields, smooth: bool) -> None:
        super().__init__()
        self.linear = Convolution(source, target, 0.0, gain=_HALF)
        self.products = PairProducts(source, target, gain=_HALF)
        self.bias = nn.Parameter(torch.zeros(target.parts[0][1]))  # the trivial irrep is the first
        self.activation = _NormActivation(target, smooth)

    @torch.no_grad()
    def normalise(self, v: Tensor) -> None:
        for part in (self.linear, self.products):
            factor = _HALF / part(v).square().mean().sqrt()
            for weight in part.parameters():
                weight.mul_(factor)

    def forward(self, v: Tensor) -> Tensor:
        z = self.linear(v) + self.products(v)
        return self.activation(z, self.bias)


class _NormActivation(nn.Module):
    """act(v) of each copy of each irrep, see `IrrepNetwork`."""

    def __init__(self, fields: Fields, smooth: bool) -> None:
        super().__init__()
        self.fields, self.smooth = fields, smooth
        self.shift = nn.Parameter(torch.zeros(sum(n for _, n in fields.parts)))

    def forward(self, z: Tensor, bias: Tensor) -> Tensor:
        basis, cells = self.fields.group.basis, z.shape[2:]
        sizes = [n * basis * one.dimension for one, n in self.fields.parts]
        shifts = self.shift.split([n for _, n in self.fields.parts])
        found = []
        for number, (part, (one, n), shift) in enumerate(
            zip(z.split(sizes, 1), self.fields.parts, shifts, strict=True)
        ):
            v = part.reshape(len(z), n, basis, one.dimension, -1)
            if number == 0:
                v = v + bias.reshape(1, -1, 1, 1, 1)
            square = v.square().sum(dim=3, keepdim=True)
            r = (square + _SOFTENING**2 if self.smooth else square.clamp_min(_TINY)).sqrt()
            found.append((v * torch.tanh(r + shift.reshape(1, -1, 1, 1, 1)) / r).reshape(len(z), -1, *cells))
        return torch.cat(found, dim=1)
