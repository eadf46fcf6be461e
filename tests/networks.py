"""Small networks for tests of what surrounds networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from latticemd.learning.modelfile import Card, save_network, symmetry_of
from latticemd.learning.networks import build_network
from latticemd.learning.records import record_of
from latticemd.parameters import parameter
from latticemd.plugins import register


class SmallStack(nn.Module):
    """Two periodic convolutions of 3 x 3 on x/scale."""

    def __init__(self, lattice, width, components):
        super().__init__()
        self.lattice = lattice
        self.first = nn.Conv2d(components, width, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(width, components, 3, padding=1, padding_mode="circular")
        self.register_buffer("scale", torch.ones(2))

    def initialise(self, x, force):
        self.scale.copy_(torch.stack([x.std(), force.std()]))

    def on(self, lattice):
        other = SmallStack.__new__(SmallStack)
        other.__dict__.update(self.__dict__)
        other.lattice = lattice
        return other

    def forward(self, x):
        batch, _, components = x.shape
        image = (x / self.scale[0]).reshape(batch, *self.lattice.shape, components).permute(0, 3, 1, 2)
        force = self.second(functional.silu(self.first(image)))
        return self.scale[1] * force.permute(0, 2, 3, 1).reshape(x.shape)


@dataclass(frozen=True)
class SmallNetwork:
    """A stack of two convolutions."""

    width: int = parameter(6, doc="channels between the convolutions", ge=1)

    def build(self, model):
        return SmallStack(model.lattice, self.width, model.components)


class LinearForce(nn.Module):
    """a sum over neighbours - b x + c (x ahead - x behind) along the last direction of a square lattice."""

    def __init__(self, lattice, a, b, c):
        super().__init__()
        self.lattice = lattice
        self.coefficients = nn.Parameter(torch.tensor([a, -b, c]))

    def on(self, lattice):
        other = LinearForce.__new__(LinearForce)
        other.__dict__.update(self.__dict__)
        other.lattice = lattice
        return other

    def forward(self, x):
        image = x.reshape(len(x), *self.lattice.shape, x.shape[2])
        ahead, behind = (torch.roll(image, shift, 2) for shift in (-1, 1))
        around = ahead + behind + torch.roll(image, 1, 1) + torch.roll(image, -1, 1)
        a, b, c = self.coefficients
        return (a * around + b * image + c * (ahead - behind)).reshape(x.shape)


@dataclass(frozen=True)
class LinearNetwork:
    """A force that is linear in the neighbours; c breaks its symmetry and makes it no gradient."""

    a: float = parameter(1.0, doc="weight of each neighbour")
    b: float = parameter(0.5, doc="spring of the site itself")
    c: float = parameter(0.0, doc="difference of the neighbours along the last direction")

    def build(self, model):
        return LinearForce(model.lattice, self.a, self.b, self.c)


def register_networks():
    """`small` and `linear`."""
    register("network", "small", SmallNetwork)
    register("network", "linear", LinearNetwork)


def saved_linear(path, model, **coefficients):
    """The file of a linear network that has seen all positions; its card says what it can of a model of this kind."""
    module = build_network("linear", coefficients, model)
    card = Card(
        network={"name": "linear", "parameters": coefficients},
        model=record_of(type(model).__name__.lower(), model),
        components=model.components,
        dtype="float64",
        parameters=3,
        symmetry=symmetry_of(model),
        ranges={"x": {"min": -10.0, "max": 10.0, "rms": [0.0, 10.0]}, "temperature": None, "model": {}},
        data={},
        errors={},
        training={},
    )
    save_network(Path(path), card, module.state_dict())
