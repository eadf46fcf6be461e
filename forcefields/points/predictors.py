"""What networks of points are asked: the force now, where the points are a long time later, or that and how they move then.

A network returns vectors (B, N, 3) that turn with the points and do not see shifts. As a force they are what they are; as
an answer about the future they are what straight motion misses.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from latticemd.lattice import Lattice
from latticemd.models.particles import Particles


class Force(nn.Module):
    """module(x, q) -> forces (B, N, 3) [energy/length] of points at rest, such as those of `coulomb`.

    Predicted, and not differentiated from an energy, so they are no gradients.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        """Forces of points x (B, N, 3) with charges q (B, N)."""
        return self.network(x, torch.zeros_like(x), q)


class OnParticles(nn.Module):
    """A network bound to the particles of a model, whose charges are its own: module(x) -> forces (B, N, 3).

    It works in units of the root mean square of the forces it has been shown first. Give x in double precision.
    """

    scale: Tensor
    conservative = False
    cutoff: float | None = None  # how far it looks; None where it sees all points at once

    def __init__(self, model: Particles) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("charges", torch.from_numpy(model.q).to(self.scale.dtype), persistent=False)

    def initialise(self, x: Tensor, force: Tensor) -> None:
        """Take the unit of force from states x and their forces (B, N, 3)."""
        self.scale.copy_(force.square().mean().sqrt().clamp_min(torch.finfo(force.dtype).tiny))

    def charges_of(self, x: Tensor) -> Tensor:
        """q (B, N) of B copies of the particles."""
        charges: Tensor = self.charges  # type: ignore[assignment]
        return charges.expand(len(x), -1)

    def on(self, lattice: Lattice) -> OnParticles:
        """The same weights for another number of particles."""
        return self.of(dataclasses.replace(self.model, lattice=lattice))

    def of(self, model: Particles) -> OnParticles:
        """The same weights for other particles, of any number and with any charges."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers)
        other.model = model
        other._buffers["charges"] = torch.from_numpy(model.q).to(self.scale)
        return other


class ForceOnParticles(OnParticles):
    """Forces as a network of vectors predicts them."""

    def __init__(self, network: nn.Module, model: Particles) -> None:
        super().__init__(model)
        self.force = Force(network)

    def forward(self, x: Tensor) -> Tensor:
        """Forces (B, N, 3) [energy/length] at x (B, N, 3), in the precision of the weights."""
        return self.forces(x, self.charges_of(x))

    def forces(self, x: Tensor, q: Tensor) -> Tensor:
        """The same for any charges (B, N)."""
        return self.scale * self.force(x, q)


class EnergyOnParticles(OnParticles):
    """Forces as the gradient of the energy of a `PairEnergy`."""

    conservative = True

    def __init__(self, network: nn.Module, model: Particles) -> None:
        super().__init__(model)
        self.network = network
        self.cutoff = float(network.cutoff)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Forces (B, N, 3) [energy/length] at x (B, N, 3), in the precision of the weights; -dE/dx."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            total = self.energy(x).sum()
            (gradient,) = torch.autograd.grad(total, x, create_graph=self.training)
        return -gradient.to(self.scale.dtype)

    def energy(self, x: Tensor) -> Tensor:
        """Energies (B,) [energy], up to a constant."""
        b, n, _ = x.shape
        first, second = (~torch.eye(n, dtype=torch.bool, device=x.device)).nonzero().T
        start = n * torch.arange(b, device=x.device)[:, None]
        away = (x[:, second] - x[:, first]).flatten(0, 1)
        each = self.energies(self.charges_of(x).flatten(), (start + first).flatten(), (start + second).flatten(), away)
        return each.reshape(b, n).sum(dim=1)

    def energies(self, q: Tensor, i: Tensor, j: Tensor, away: Tensor) -> Tensor:
        """Of each of M points with charges q (M,), whose neighbours j are `away` (E, 3) from i, in any cell, (M,) [energy]."""
        found: Tensor = self.scale * self.network(q.to(self.scale.dtype), i, j, away.to(self.scale.dtype))
        return found


class Dynamics(nn.Module):
    """module(x, v, q) -> positions (B, N, 3) after the time `horizon`: x + horizon v + network(x, v, q).

    Positions are summed in the precision of x; the network works in that of its weights, which is also that of q.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        super().__init__()
        self.network = network
        self.horizon = horizon

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Later positions of points x, v (B, N, 3) with charges q (B, N)."""
        return x + self.horizon * v + self.network(x, v, q).to(x.dtype)


class Motion(nn.Module):
    """module(x, v, q) -> positions and velocities after the time `horizon`, from which the next such step can start.

        x' = x + horizon v + missed(x, v, q),    v' = v + gained(x, v, q)

    `network.motion` knows both; `TwoNetworks` makes one that does of two that do not.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        super().__init__()
        self.network = network
        self.horizon = horizon

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Later positions and velocities, both (B, N, 3), in the precision of x."""
        missed, gained = self.network.motion(x, v, q)  # type: ignore[operator]
        return x + self.horizon * v + missed.to(x.dtype), v + gained.to(v.dtype)


class TwoNetworks(nn.Module):
    """One network for what straight motion misses, and another one for the change of velocity."""

    def __init__(self, position: nn.Module, velocity: nn.Module) -> None:
        super().__init__()
        self.position, self.velocity = position, velocity

    def motion(self, x: Tensor, v: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Both answers (B, N, 3)."""
        return self.position(x, v, q), self.velocity(x, v, q)


class Straight(nn.Module):
    """Nothing beyond straight motion: zero vectors, and no weights. What any network has to beat."""

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Zeros (B, N, 3)."""
        return torch.zeros_like(x)
