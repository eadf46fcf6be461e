"""`enn`: the equivariant network of this project, gated residual convolutions over features that keep the whole group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from forcefields.equivariant import INTERNAL_COMPONENTS, Fields, GatedBlock, Lift, Pair, RegularBlock, sign_regular
from forcefields.networks.plan import LatticePlan
from latticemd.errors import InputError
from latticemd.parameters import parameter

_FIRST_GAIN, _FIRST_OUTPUT = 0.3, 0.1  # of the blocks and of the output before training


@dataclass(frozen=True)
class EquivariantNetwork(LatticePlan):
    """Residual blocks of equivariant convolutions.

    `gated` blocks multiply channels and serve every model. `regular` ones apply a function to each channel of representations
    that are permuted, of the sign of x too; they are for models whose variables at most change sign, and have learned more slowly
    (twice the error after 1500 steps at g = 3.5). Features that nothing turns have been worth more than as many channels of others.
    """

    features: Literal["raw", "saturated", "cavity"] = parameter(
        "saturated", doc="raw, saturated or cavity: what the network is shown of x"
    )
    scalars: int = parameter(16, doc="hidden features of a site that nothing turns, even and odd ones each", ge=0)
    directed: int = parameter(4, doc="hidden features for each neighbour of a site", ge=0)
    regular: int = parameter(0, doc="hidden features for each operation of the group", ge=0)
    blocks: int = parameter(4, doc="residual blocks", ge=0)
    nonlinearity: Literal["gated", "regular"] = parameter("gated", doc="gated or regular: what blocks do to channels")
    radius: float = parameter(
        1.5, doc="of the convolutions: 1.5 is 3 x 3 on a square lattice", dimension="length", gt=0
    )

    def trunk(self, even: Fields, odd: Fields | None, out: Fields, odd_out: bool) -> Trunk:
        """Gated blocks between these features."""
        hidden = Fields.of(
            even.group, [("scalar", self.scalars), ("directed", self.directed), ("regular", self.regular)]
        )
        regular = self.nonlinearity == "regular"
        if regular and INTERNAL_COMPONENTS[even.group.internal] > 1:
            raise InputError(
                "nonlinearity: regular is for models whose variables at most change sign; use nonlinearity: gated"
            )
        outs = None if odd_out else out, out if odd_out else None
        return Trunk(even, odd, hidden, *outs, self.blocks, self.radius, regular)


class Trunk(nn.Module):
    """Features to the output: a convolution into hidden features, gated blocks, and a linear map out of each site.

    `even_out` and `odd_out` are what comes out, or None; `odd` features, and what is made of them, need an internal symmetry.
    """

    def __init__(
        self,
        even: Fields,
        odd: Fields | None,
        hidden: Fields,
        even_out: Fields | None,
        odd_out: Fields | None,
        blocks: int,
        radius: float,
        regular: bool = False,
    ) -> None:
        super().__init__()
        group = even.group
        components = INTERNAL_COMPONENTS[group.internal]
        self.lift = Lift((even, hidden), (odd, hidden) if odd else None, radius)
        gain = _FIRST_GAIN * max(blocks, 1) ** -0.5
        block = RegularBlock if regular else GatedBlock
        made = [block(hidden, components, radius, gain) for _ in range(blocks)]
        self.blocks, self.regular = nn.ModuleList(made), regular
        nothing = Fields.of(group, [("scalar", 1)])
        self.out = Lift((hidden, even_out or nothing), (hidden, odd_out) if odd_out else None, 0.0)
        self.reach = self.lift.reach + sum(block.reach for block in made)

    @torch.no_grad()
    def normalise(self, features: Pair) -> None:
        """Give what enters the blocks unit rms, for features such as these, and start with a small output."""
        for convolution, values in zip((self.lift.even, self.lift.odd), self.lift(features, True), strict=True):
            if convolution is not None and values is not None:
                convolution.scale(1.0 / float(values.square().mean().sqrt()))
        for convolution in (self.out.even, self.out.odd):
            if convolution is not None:
                convolution.scale(_FIRST_OUTPUT)

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """Even and odd features of the output."""
        if not torch.is_grad_enabled():
            features = _by_channels(features)
        hidden: Pair = self.lift(features, wrap)
        for block in self.blocks:
            hidden = block(hidden, wrap)
        if self.regular:
            hidden = sign_regular(hidden, functional.silu)
        found: Pair = self.out(hidden, wrap)
        return found


def _by_channels(features: Pair) -> Pair:
    """The same with channels next to each other in memory, in two dimensions: narrow convolutions are far faster so."""
    even, odd = features
    if even.ndim != 4:
        return features
    layout = torch.channels_last
    return even.contiguous(memory_format=layout), None if odd is None else odd.contiguous(memory_format=layout)
