"""`gcn`: graph convolutions over nearest neighbours, the published graph network of arXiv:2603.02039."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forcefields.equivariant import Convolution, Fields, wrapped
from forcefields.networks.joined import JoinedPlan
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.parameters import parameter

PUBLISHED = (128, 512, 1024, 2048, 1024, 512, 128)
_SILU_GAIN = 1.68  # 1/rms of silu(z) for a normal z of unit variance
_OUTPUT_GAIN = 0.1  # a small output before training


@dataclass(frozen=True)
class GraphConvolutions(JoinedPlan):
    """h_i <- silu(W0 h_i + W1 sum_{j nn i} h_j + b), layer after layer; the last one is linear.

    Neighbours count alike, so the point group is kept by construction; x -> -x is not, unless `parity` is true. Features
    that turn with the lattice enter, and forces that do leave, by equivariant convolutions over the nearest neighbours.

    The published network has 8 layers of up to 2048 channels and 10.75 million parameters. Its other widths are not known
    here: 128, 512, 1024, 2048, 1024, 512, 128, a natural sequence, have 10 753 793. Nor is its activation: here it is silu, so
    that forces are smooth. The published network learns the total force; this one, like all here, the electronic part.

    Cost: 4 w w' operations per site and layer; 43 million operations per site at the published size.
    When to choose something else: `enn` tells neighbours apart.

    References: arXiv:2603.02039.
    """

    widths: tuple[int, ...] = parameter(
        (32, 64, 96, 128, 96, 64, 32), doc="a list of numbers of features > 0, one for each layer but the last"
    )

    def site_network(self, source: Fields, target: Fields) -> nn.Module:
        """The stack of layers between these features."""
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"widths must be one or more numbers > 0, got {list(self.widths)}")
        return _Stack(source, target, self.widths)


class _Stack(nn.Module):
    def __init__(self, source: Fields, target: Fields, widths: tuple[int, ...]) -> None:
        super().__init__()
        hidden = [Fields.of(source.group, [("scalar", width)]) for width in widths]
        gains = [1.0] + [_SILU_GAIN] * (len(widths) - 1) + [_OUTPUT_GAIN]
        layers = [
            _layer(before, after, gain)
            for (before, after), gain in zip(itertools.pairwise([source, *hidden, target]), gains, strict=True)
        ]
        self.layers = nn.ModuleList(layers)
        self.reach = sum(layer.reach for layer in layers)

    @torch.no_grad()
    def normalise(self, x: Tensor) -> None:
        """Give what enters each activation unit rms."""
        for layer in self.layers[:-1]:
            found = layer(x, True)
            rms = found.square().mean().sqrt()
            for weight in layer.parameters():
                weight.div_(rms)
            x = functional.silu(found / rms)

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.silu(layer(x, wrap))
        found: Tensor = self.layers[-1](x, wrap)
        return found


def _layer(source: Fields, target: Fields, gain: float) -> Convolution | _GraphConvolution:
    scalars = all(one.dimension == 1 and one.permutes for fields in (source, target) for one, _ in fields.parts)
    if scalars:
        return _GraphConvolution(source.group.lattice, source.channels, target.channels, gain)
    return Convolution(source, target, _nearest(source.group.lattice), bias=target.permutes, gain=gain)


class _GraphConvolution(nn.Module):
    """y_i = W0 x_i + W1 sum over nearest neighbours of x + b, with the same matrices for all sites of a cell."""

    def __init__(self, lattice: Lattice, inputs: int, outputs: int, gain: float) -> None:
        super().__init__()
        self.basis = len(lattice.cell.basis)
        self.neighbours = lattice.offsets(1)
        self.reach = max(abs(n) for *_, offset in self.neighbours for n in offset)
        inputs, outputs = inputs // self.basis, outputs // self.basis
        around = len(self.neighbours) / self.basis
        self.own = nn.Parameter(gain * (2 * inputs) ** -0.5 * torch.randn(outputs, inputs))
        self.others = nn.Parameter(gain * (2 * around * inputs) ** -0.5 * torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        cells = x.shape[2:]
        sites = x.reshape(len(x), self.own.shape[1], -1)
        # The matrix first: neighbours are then summed in the few channels of a layer that narrows.
        own = torch.matmul(self.own, sites) + self.bias[:, None]
        others = torch.matmul(self.others, sites).reshape(len(x), -1, *cells)
        return own.reshape(len(x), -1, *cells) + self._around(others, wrap)

    def _around(self, x: Tensor, wrap: bool) -> Tensor:
        """The sum over nearest neighbours, on the same channels."""
        cells, reach = x.shape[2:], self.reach
        edges = [reach] * (2 * len(cells))
        padded = (wrapped(x, reach) if wrap else functional.pad(x, edges)).unflatten(1, (-1, self.basis))
        sums = [torch.zeros_like(x[:, :: self.basis]) for _ in range(self.basis)]
        for target, source, offset in self.neighbours:
            seen = padded[:, :, source]
            for axis, (n, step) in enumerate(zip(cells, offset, strict=True)):
                seen = seen.narrow(2 + axis, reach + step, n)
            sums[target] = sums[target] + seen
        return torch.stack(sums, dim=2).flatten(1, 2)


def _nearest(lattice: Lattice) -> float:
    """The distance of nearest neighbours [length]."""
    target, source, offset = lattice.offsets(1)[0]
    places, vectors = np.array(lattice.cell.basis), np.array(lattice.cell.vectors)
    return float(np.linalg.norm(np.array(offset) @ vectors + places[source] - places[target]))
