"""Networks that know the lattice but not the internal symmetries of a model: even and odd features are one to them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from forcefields.equivariant import INTERNAL_COMPONENTS, Fields, Pair
from forcefields.networks.plan import LatticePlan
from latticemd.errors import InputError
from latticemd.parameters import parameter


@dataclass(frozen=True)
class JoinedPlan(LatticePlan):
    """A plan whose trunk is a `site_network` between ordinary features."""

    parity: bool = parameter(False, doc="keep the symmetry x -> -x of the model too, at twice the cost")

    @abstractmethod
    def site_network(self, source: Fields, target: Fields) -> nn.Module:
        """A module with a `reach` that takes (B, C, cells...) and whether to wrap, to features of `target`."""

    def trunk(self, even: Fields, odd: Fields | None, out: Fields, odd_out: bool) -> Joined:
        """The site network between what is joined of the features, and what the force is made of."""
        if self.parity and even.group.internal != "reversal":
            raise InputError("parity: true needs a model with the symmetry x -> -x, and this one has none; use false")
        components = INTERNAL_COMPONENTS[even.group.internal] or 1
        parts = odd.parts * components if odd else ()
        if not odd or self.features != "raw":
            parts = even.parts + parts
        source, target = Fields(even.group, parts), Fields(even.group, out.parts * (components if odd_out else 1))
        return Joined(self.site_network(source, target), source, components, odd_out, self.parity)


class Joined(nn.Module):
    """A network of features (B, C, cells...) as one of even and odd features.

    Components of odd features become channels, one set after the other behind the even ones; where x -> -x is a symmetry and
    the features are raw, the odd ones alone, which say everything. With `parity` the answer is

        y(even, odd) = [net(even, odd) -+ net(even, -odd)] / 2,   - for an odd force, + for an energy.
    """

    def __init__(self, network: nn.Module, source: Fields, components: int, odd_out: bool, parity: bool) -> None:
        super().__init__()
        self.network = network
        self.channels, self.components = source.channels, components
        self.odd_out, self.parity = odd_out, parity

    @property
    def reach(self) -> int:
        """Cells around a site that its output depends on."""
        return int(self.network.reach)  # type: ignore[arg-type]

    def normalise(self, features: Pair) -> None:
        """Let the network set its scales by features such as these."""
        self.network.normalise(self._joined(*features))  # type: ignore[operator]

    def forward(self, features: Pair, wrap: bool) -> Pair:
        """Even or odd features on the same cells."""
        even, odd = features
        found = self.network(self._joined(even, odd), wrap)
        if self.parity and odd is not None:
            mirrored = self.network(self._joined(even, -odd), wrap)
            found = 0.5 * (found - mirrored if self.odd_out else found + mirrored)
        if not self.odd_out:
            return found, None
        return even, torch.cat(found.chunk(self.components, dim=1))

    def _joined(self, even: Tensor, odd: Tensor | None) -> Tensor:
        if odd is None:
            return even
        channels = torch.cat(odd.chunk(self.components), dim=1)
        return channels if channels.shape[1] == self.channels else torch.cat((even, channels), dim=1)
