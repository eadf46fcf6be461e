"""`enn`: the equivariant network of this project, gated residual convolutions over features that keep the whole group."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from torch import nn

from forcefields.equivariant import INTERNAL_COMPONENTS, Fields, GatedBlock, Lift, Pair
from forcefields.networks.features import FeatureChoice, Features
from forcefields.networks.module import BaseChoice, LatticeNetwork
from latticemd.models.model import Model
from latticemd.parameters import parameter


@dataclass(frozen=True)
class EquivariantNetwork:
    """Residual blocks of equivariant convolutions with products for non-linearities."""

    features: FeatureChoice = parameter("saturated", doc="raw, saturated or cavity: what the network is shown of x")
    scales: int = parameter(7, doc="number of scales of saturated features", ge=1, le=32)
    base: BaseChoice = parameter("none", doc="none, atomic or cavity: the part of the force that is not learned")
    base_radius: int = parameter(1, doc="radius of base: cavity", ge=1, le=4)
    scalars: int = parameter(24, doc="hidden features of a site that nothing turns, even and odd ones each", ge=1)
    directed: int = parameter(4, doc="hidden features for each neighbour of a site", ge=0)
    regular: int = parameter(0, doc="hidden features for each operation of the group", ge=0)
    blocks: int = parameter(4, doc="residual blocks", ge=0)
    radius: float = parameter(
        1.5, doc="of the convolutions: 1.5 is 3 x 3 on a square lattice", dimension="length", gt=0
    )
    conservative: bool = parameter(False, doc="learn a free energy, and take the force from its gradient")

    def build(self, model: Model) -> LatticeNetwork:
        """The module for a model."""
        known = self.base != "none" and not self.conservative
        return LatticeNetwork(
            model,
            lambda group: Features(model, group, self.features, self.scales, known),
            functools.partial(_Trunk, self),
            self.base,
            self.base_radius,
            self.conservative,
        )


class _Trunk(nn.Module):
    def __init__(self, plan: EquivariantNetwork, even: Fields, odd: Fields | None, out: Fields, odd_out: bool) -> None:
        super().__init__()
        group = even.group
        components = INTERNAL_COMPONENTS[group.internal]
        hidden = Fields.of(group, [("scalar", plan.scalars), ("directed", plan.directed), ("regular", plan.regular)])
        self.lift = Lift((even, hidden), (odd, hidden) if odd else None, plan.radius)
        gain = 0.3 * max(plan.blocks, 1) ** -0.5
        self.blocks = nn.ModuleList(GatedBlock(hidden, components, plan.radius, gain) for _ in range(plan.blocks))
        nothing = Fields.of(group, [("scalar", 1)])
        self.out = Lift((hidden, nothing if odd_out else out), (hidden, out) if odd_out else None, 0.0)
        self.reach = self.lift.reach + sum(block.reach for block in self.blocks)

    def normalise(self, features: Pair) -> None:
        """Give what enters the blocks unit rms, for features such as these."""
        for convolution, values in zip((self.lift.even, self.lift.odd), self.lift(features, True), strict=True):
            if convolution is not None and values is not None:
                for coefficients in convolution.coefficients:
                    coefficients /= values.square().mean().sqrt()
        for convolution in (self.out.even, self.out.odd):
            if convolution is not None:
                for coefficients in convolution.coefficients:
                    coefficients *= 0.1

    def forward(self, features: Pair, wrap: bool) -> Pair:
        hidden: Pair = self.lift(features, wrap)
        for block in self.blocks:
            hidden = block(hidden, wrap)
        even: Pair = self.out(hidden, wrap)
        return even
