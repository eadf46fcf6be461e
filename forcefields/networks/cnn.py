"""`cnn`: plain convolutions with residual blocks, the simplest network that is any good, for contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from forcefields.equivariant import Fields, convolved
from forcefields.networks.joined import JoinedPlan
from latticemd.parameters import parameter

_BLOCK_GAIN, _OUTPUT_GAIN = 0.3, 0.1  # before training: near the identity, and a small output


@dataclass(frozen=True)
class PlainConvolutions(JoinedPlan):
    """h <- h + V * silu(W * silu(h)) in every block, between a convolution into h and a linear map out of each site.

    It keeps translations by cells and no other symmetry: train it with `augment: true`, which tells it about the rest.

    Cost: 2 (2 reach + 1)^d channels^2 operations per cell for each of 1 + 2 blocks convolutions.
    When to choose something else: nearly always; `enn` keeps every symmetry and needs fewer data.
    """

    channels: int = parameter(48, doc="hidden features of a cell", ge=1)
    blocks: int = parameter(2, doc="residual blocks of two convolutions", ge=0)
    kernel_reach: int = parameter(1, doc="cells that a kernel reaches: 1 is 3 x 3 on a square lattice", ge=1, le=8)

    def site_network(self, source: Fields, target: Fields) -> nn.Module:
        """The stack between channels of these numbers."""
        return _Stack(self, source.channels, target.channels, source.group.lattice.directions)


class _Stack(nn.Module):
    def __init__(self, plan: PlainConvolutions, inputs: int, outputs: int, directions: int) -> None:
        super().__init__()
        width, reach = plan.channels, plan.kernel_reach
        self.lift = _Circular(inputs, width, reach, directions)
        gain = _BLOCK_GAIN * max(plan.blocks, 1) ** -0.5
        self.blocks = nn.ModuleList(_Block(width, reach, directions, gain) for _ in range(plan.blocks))
        self.out = _Circular(width, outputs, 0, directions, _OUTPUT_GAIN)
        self.reach = reach * (1 + 2 * plan.blocks)

    @torch.no_grad()
    def normalise(self, x: Tensor) -> None:
        """Give what enters the blocks unit rms."""
        self.lift.weight.div_(self.lift(x, True).square().mean().sqrt())

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        inplace = not torch.is_grad_enabled()  # what is worked on then stays in cache
        h = self.lift(x, wrap)
        for block in self.blocks:
            change = block(h, wrap)
            h = change.add_(h) if inplace else h + change
        found: Tensor = self.out(functional.silu(h, inplace=inplace), wrap)
        return found


class _Block(nn.Module):
    def __init__(self, width: int, reach: int, directions: int, gain: float) -> None:
        super().__init__()
        self.first = _Circular(width, width, reach, directions)
        self.second = _Circular(width, width, reach, directions, gain)

    def forward(self, h: Tensor, wrap: bool) -> Tensor:
        first = self.first(functional.silu(h), wrap)
        found: Tensor = self.second(functional.silu(first, inplace=not torch.is_grad_enabled()), wrap)
        return found


class _Circular(nn.Module):
    """A convolution of cells at most `reach` apart; its outputs start with the variance gain^2."""

    def __init__(self, inputs: int, outputs: int, reach: int, directions: int, gain: float = 1.0) -> None:
        super().__init__()
        cells = (2 * reach + 1,) * directions
        size = inputs * math.prod(cells)
        self.weight = nn.Parameter(gain * size**-0.5 * torch.randn(outputs, inputs, *cells))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        return convolved(x, self.weight, self.bias, wrap)
