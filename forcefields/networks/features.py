"""What a network is shown of a state: the local displacement in units of energy, in ways that are easy to learn from.

All features are computed from u = g x, the energy that a displacement means to an electron (its sign that of x), with g the
model's coupling: a network trained at one coupling then knows the atomic limit of all of them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from forcefields.equivariant import Fields, LatticeGroup, Pair, representation
from forcefields.equivariant.representations import neighbours_of
from forcefields.networks.messages import Messages, shifted, uniform_hopping
from forcefields.networks.variables import Variables
from latticemd.models.model import Model

FeatureChoice = Literal["raw", "saturated", "cavity"]

_FIRST, _LAST = 1.5, 5.0  # smallest scale in units of kT, largest in units of the rms of u
_FREQUENCIES = (math.pi, 16.0, 64.0)  # of messages shown to a network, in units of kT
_SWEEPS = 3


class Features(nn.Module):
    """u, and functions of it, as even and odd features.

    =========  ====================================================================================================
    choice     features of a site
    =========  ====================================================================================================
    raw        u/s, with s the rms of u in the training data; |u/s|^2 if even
    saturated  u/sqrt(s^2 + |u|^2) (of one component, tanh(u/s)) and the square of it, for several s from 1.5 kT to 5 rms of u
    cavity     these, and for three frequencies w the messages w M_{y -> x}(i w) of all neighbours y: real parts odd,
               imaginary parts even
    =========  ====================================================================================================

    Where a uniform shift of x changes nothing, u is taken relative to each neighbour in turn. What the base of a network
    knows already may be added as one more set of variables, `known`.
    """

    scales: Tensor
    scale: Tensor
    frequencies: Tensor

    def __init__(self, model: Model, group: LatticeGroup, choice: FeatureChoice, scales: int, known: bool) -> None:
        super().__init__()
        self.variables = Variables.of(group)
        self.choice, self.known = choice, known
        self.floating = group.floating
        own = self.variables.fields
        measures = Fields.of(group, [("scalar", 1)])
        if self.floating:
            around = representation(group, "directed")
            measures = Fields.of(group, [(around, 1)])
            own = Fields.of(group, [(around.times(own.parts[0][0]), 1)])
        kT = model.electronic_temperature
        self.register_buffer("scales", torch.logspace(math.log10(_FIRST * kT), math.log10(60 * kT), scales))
        self.register_buffer("scale", torch.ones(()))
        count = 1 if choice == "raw" else scales
        vectors = Fields(group, own.parts * count)
        squares = Fields(group, measures.parts * count)
        if known:
            vectors, squares = vectors + self.variables.fields, squares + Fields.of(group, [("scalar", 1)])
        self.messages = None
        if choice == "cavity":
            self.messages = Messages(group, uniform_hopping(model), _SWEEPS)
            self.register_buffer("frequencies", kT * torch.tensor(_FREQUENCIES))
            bonds = Fields.of(group, [("directed", len(_FREQUENCIES))])
            vectors, squares = vectors + bonds, squares + bonds
        self.even = squares if self.variables.odd else squares + vectors
        self.odd = vectors if self.variables.odd else None
        self.reach = self.messages.reach if self.messages else int(self.floating)

    def initialise(self, u: Tensor) -> None:
        """Scales from the values u that the training data have."""
        rms = float(u.square().mean().sqrt())
        first, last = float(self.scales[0]), max(_LAST * rms, 4.0 * float(self.scales[0]))
        self.scale.fill_(rms)
        self.scales.copy_(torch.logspace(math.log10(first), math.log10(last), len(self.scales)))

    def forward(self, u: Tensor, known: Tensor | None) -> Pair:
        """Features of u (n B, C, cells...), as `Variables.gathered` returns it."""
        shown, variables = self._relative(u), self.variables
        square = self._square(shown)
        if self.choice == "raw":
            vectors, squares = [shown / self.scale], [square / self.scale**2]
        else:
            vectors, squares = self._saturated(shown, square)
        if known is not None:
            vectors.append(known)
            squares.append(variables.square(known))
        if self.messages is not None:
            real, imaginary = self.messages.into(-u, self.frequencies)
            w = self.frequencies.reshape(1, -1, 1, *(1,) * (u.ndim - 2))
            vectors.append((w * real).flatten(1, 2))
            squares.append((w * imaginary).flatten(1, 2))
        if variables.odd:
            return torch.cat(squares, dim=1), torch.cat(vectors, dim=1)
        return torch.cat(squares + vectors, dim=1), None

    def _relative(self, u: Tensor) -> Tensor:
        """u itself or, where only differences matter, those to all neighbours: (B, b z m, cells...)."""
        if not self.floating:
            return u
        group = self.variables.group
        own = u.unflatten(1, (group.basis, -1))
        differences = [
            shifted(own[:, source], offset) - own[:, b]
            for b, around in enumerate(neighbours_of(group))
            for source, offset in around
        ]
        return torch.cat(differences, dim=1)

    def _square(self, shown: Tensor) -> Tensor:
        """|u|^2 of each site or difference."""
        if not self.floating:
            return self.variables.square(shown)
        m = self.variables.fields.parts[0][0].dimension
        return shown.unflatten(1, (-1, m)).square().sum(dim=2)

    def _saturated(self, shown: Tensor, square: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        vectors, squares = [], []
        one_component = shown.shape == square.shape
        for s in self.scales:
            if one_component:
                vector = torch.tanh(shown / s)
                vectors.append(vector)
                squares.append(vector.square())
                continue
            factor = torch.rsqrt(s * s + square)
            squares.append(square * factor.square())
            copies = shown.shape[1] // square.shape[1]
            repeated = factor.repeat_interleave(copies, dim=1)
            vectors.append(shown * repeated.repeat(self.variables.components, *(1,) * (shown.ndim - 1)))
        return vectors, squares
