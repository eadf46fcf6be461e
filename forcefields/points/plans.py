"""The networks of points by name: plans whose fields are the keys of `network:`, each with what it makes.

A plan makes a network that answers with vectors, module(x, v, q) -> (B, N, 3), or `pair_energy` with an energy. What is asked
of it comes on top: a force, for `latticemd train` and the force field `point_network`, or a motion, for the propagator of the
same name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from forcefields.points.egnn import EGNN
from forcefields.points.energy import PairEnergy
from forcefields.points.frame_graph import FrameGraph
from forcefields.points.frames import FrameAveraged
from forcefields.points.graph import DeepSets, GraphNetwork
from forcefields.points.predictors import EnergyOnParticles, ForceOnParticles, Straight, TwoNetworks
from forcefields.points.second_order import SecondOrder
from forcefields.points.tensor_products import TensorProducts
from latticemd.errors import InputError
from latticemd.models.model import Model
from latticemd.models.particles import Particles
from latticemd.parameters import parameter


class PointPlan(ABC):
    """The plan of a network of points; a `latticemd.learning.networks.Network` for models of particles."""

    @abstractmethod
    def network(self) -> nn.Module:
        """module(x, v, q) -> vectors (B, N, 3), its first weights drawn from torch's generator."""

    def build(self, model: Model) -> nn.Module:
        """The network as the force on the particles of a model. Raises InputError for any other model."""
        return ForceOnParticles(self.network(), self.particles(model))

    def particles(self, model: Model) -> Particles:
        """The model, which has to be one of particles. Raises InputError for any other."""
        if not isinstance(model, Particles):
            raise InputError(
                f"{type(self).__name__} is a network of particles in space, but {type(model).__name__} has none; use one for "
                "lattices, such as enn"
            )
        return model

    def motion(self, horizon: float) -> nn.Module:
        """A module with `motion(x, v, q)` -> what straight motion misses after a time, and the change of v, both (B, N, 3)."""
        return TwoNetworks(self.network(), self.network())


@dataclass(frozen=True)
class StraightPlan(PointPlan):
    """Zero: no force, straight motion."""

    def network(self) -> nn.Module:
        """See `Straight`."""
        return Straight()


@dataclass(frozen=True)
class GraphPlan(PointPlan):
    """A plain graph network, without the symmetries of space."""

    hidden: int = parameter(64, doc="numbers per point", ge=1)
    depth: int = parameter(4, doc="graph convolutions", ge=1)

    def network(self) -> nn.Module:
        """See `GraphNetwork`."""
        return GraphNetwork(self.hidden, self.depth)


@dataclass(frozen=True)
class SetsPlan(PointPlan):
    """DeepSets averaged over frames."""

    hidden: int = parameter(128, doc="numbers per point", ge=1)
    drawn: int = parameter(0, doc="frames of each cloud seen in a step of the training; 0 for all", ge=0, le=8)

    def network(self) -> nn.Module:
        """See `DeepSets`."""
        return FrameAveraged(DeepSets(self.hidden), drawn=self.drawn)


@dataclass(frozen=True)
class FramesPlan(PointPlan):
    """A graph network averaged over frames."""

    hidden: int = parameter(64, doc="numbers per point", ge=1)
    depth: int = parameter(4, doc="graph convolutions", ge=1)
    drawn: int = parameter(0, doc="frames of each cloud seen in a step of the training; 0 for all", ge=0, le=8)

    def network(self) -> nn.Module:
        """See `FrameAveraged`."""
        return FrameAveraged(GraphNetwork(self.hidden, self.depth), drawn=self.drawn)


@dataclass(frozen=True)
class FrameGraphPlan(PointPlan):
    """A graph network of vectors, averaged over frames layer by layer."""

    vectors: int = parameter(20, doc="vectors per point", ge=1)
    depth: int = parameter(4, doc="graph convolutions", ge=1)
    drawn: int = parameter(
        0, doc="frames of each cloud and layer seen in a step of the training; 0 for all", ge=0, le=8
    )

    def network(self) -> nn.Module:
        """See `FrameGraph`."""
        return FrameGraph(self.vectors, self.depth, drawn=self.drawn)


@dataclass(frozen=True)
class EGNNPlan(PointPlan):
    """Numbers on points, and points that move along the lines between them."""

    hidden: int = parameter(64, doc="numbers per point", ge=1)
    depth: int = parameter(4, doc="layers", ge=1)

    def network(self) -> nn.Module:
        """See `EGNN`."""
        return EGNN(self.hidden, self.depth)


@dataclass(frozen=True)
class TensorProductsPlan(PointPlan):
    """Scalars, vectors and quadrupoles in Clebsch-Gordan products, by e3nn."""

    channels: int = parameter(32, doc="scalars per point; half as many vectors, a quarter as many quadrupoles", ge=4)
    depth: int = parameter(3, doc="rounds of messages", ge=1)
    degree: int = parameter(2, doc="largest l of the spherical harmonics", ge=1, le=3)

    def network(self) -> nn.Module:
        """See `TensorProducts`."""
        return TensorProducts(self.channels, self.depth, self.degree)


@dataclass(frozen=True)
class SecondOrderPlan(PointPlan):
    """Newton's law in a few steps, with a learned acceleration between pairs; for motions only."""

    hidden: int = parameter(48, doc="numbers per pair", ge=1)
    steps: int = parameter(12, doc="steps of position Verlet from now to then", ge=1)
    horizon: float = parameter(1.0, doc="time from now to then", dimension="time", gt=0)

    def network(self) -> nn.Module:
        """See `SecondOrder`."""
        return SecondOrder(self.hidden, self.steps, self.horizon)

    def build(self, model: Model) -> nn.Module:
        """It has no force to give. Raises InputError."""
        raise InputError("second_order learns where points will be, not the force now; use egnn or another network")

    def motion(self, horizon: float) -> nn.Module:
        """Both answers come from one network. Raises InputError where it is for another time."""
        if abs(horizon - self.horizon) > 1e-9 * horizon:
            raise InputError(f"second_order is made for a time of {self.horizon:g}, and asked for one of {horizon:g}")
        return self.network()


@dataclass(frozen=True)
class PairEnergyPlan(PointPlan):
    """An energy of distances within a cutoff, whose gradient is the force; for forces only."""

    hidden: int = parameter(64, doc="numbers per point", ge=1)
    depth: int = parameter(2, doc="rounds of messages", ge=1)
    cutoff: float = parameter(5.0, doc="distance beyond which points do not see each other", dimension="length", gt=0)
    basis: int = parameter(16, doc="radial functions", ge=1)

    def network(self) -> nn.Module:
        """See `PairEnergy`."""
        return PairEnergy(self.hidden, self.depth, self.cutoff, self.basis)

    def build(self, model: Model) -> nn.Module:
        """The network as the force on the particles of a model. Raises InputError for any other model."""
        return EnergyOnParticles(self.network(), self.particles(model))

    def motion(self, horizon: float) -> nn.Module:
        """It has no motion to give. Raises InputError."""
        raise InputError("pair_energy is the energy of particles now, and does not say where they will be; use egnn")


PLANS: dict[str, type[PointPlan]] = {  # of networks that answer with vectors
    "straight": StraightPlan,
    "graph": GraphPlan,
    "sets": SetsPlan,
    "frames": FramesPlan,
    "frame_graph": FrameGraphPlan,
    "egnn": EGNNPlan,
    "tensor_products": TensorProductsPlan,
    "second_order": SecondOrderPlan,
}


def made(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """What `make` makes, such as the `network` of a plan, with the first weights that belong to a seed, in double precision.

    Convert it with `.to(torch.float32)`; the other way round, the coupling coefficients of e3nn would stay rounded.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        return make()
    finally:
        torch.set_default_dtype(before)


def network_named(name: str, seed: int = 0) -> nn.Module:
    """`made` of the plan of this name with its standard sizes. Raises InputError for an unknown name."""
    if name not in PLANS:
        raise InputError(f"unknown network of points {name!r}; known: {', '.join(PLANS)}")
    return made(PLANS[name]().network, seed)
