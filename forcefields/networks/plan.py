"""What the plans of lattice networks have in common: what a network is shown, what it need not learn, and what it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import nn

from forcefields.equivariant import Fields, LatticeGroup
from forcefields.networks.base import Base
from forcefields.networks.features import Features
from forcefields.networks.module import LatticeNetwork
from latticemd.models.model import Model
from latticemd.parameters import parameter


@dataclass(frozen=True)
class LatticePlan(ABC):
    """Features of a state, a trunk, and a base: see `LatticeNetwork`. Subclasses add the keys of their trunk."""

    features: Literal["raw", "saturated", "cavity"] = parameter(
        "raw", doc="raw, saturated or cavity: what the network is shown of x"
    )
    scales: int = parameter(7, doc="number of scales of saturated features", ge=1, le=32)
    base: Literal["none", "atomic", "cavity", "window"] = parameter(
        "none", doc="none, atomic, cavity or window: the part of the force that is not learned"
    )
    base_radius: int = parameter(1, doc="radius of base: cavity", ge=1, le=4)
    base_width: int = parameter(13, doc="width of base: window, odd", ge=3, le=63)
    base_tolerance: float = parameter(1e-4, doc="tolerance of base: cavity or window", gt=0, lt=0.1)
    conservative: bool = parameter(False, doc="learn a free energy, and take the force from its gradient")

    @abstractmethod
    def trunk(self, even: Fields, odd: Fields | None, out: Fields, odd_out: bool) -> nn.Module:
        """The module from even and odd features to `out`, which is odd if `odd_out`."""

    def build(self, model: Model) -> LatticeNetwork:
        """The module for a model."""
        known = self.base != "none" and not self.conservative

        def features(group: LatticeGroup) -> Features:
            return Features(model, group, self.features, self.scales, known)

        base = Base(self.base, self.base_radius, self.base_width, self.base_tolerance)
        return LatticeNetwork(model, features, self.trunk, base, self.conservative)
