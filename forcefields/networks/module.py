"""What all lattice networks share: from x to the electronic force, on any number of cells."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from forcefields.equivariant import Fields, LatticeGroup
from forcefields.networks.base import Base
from forcefields.networks.features import Features
from forcefields.networks.variables import Variables
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Model

MakeTrunk = Callable[[Fields, Fields | None, Fields, bool], nn.Module]


def require_fixed_mu(model: Model) -> None:
    """Raise InputError at fixed filling, where no force is local."""
    if model.filling is not None:
        raise InputError("networks need a fixed mu: at fixed filling, mu depends on sites however far away")


class LatticeNetwork(nn.Module):
    """F(x) = g [ base(x) + s trunk(features(x)) ], the electronic force, with g the coupling of the model.

    Conservative networks have F = -d/dx sum_i phi_i instead, with phi_i = base energy + s trunk, a number per site.

    A trunk is a module with a `reach` in cells; it is called with even and odd features and whether to continue them
    periodically, and gives features like the force, or scalars.
    """

    size: Tensor

    def __init__(
        self,
        model: Model,
        features: Callable[[LatticeGroup], Features],
        trunk: MakeTrunk,
        base: Base,
        conservative: bool,
    ) -> None:
        super().__init__()
        require_fixed_mu(model)
        base.check(model, conservative)
        group = LatticeGroup.of(model)
        self.model, self.shape = model, model.lattice.shape
        self.wrap = True  # whether cells go on periodically: not those of a tile, whose rim is thrown away
        self.coupling = float(getattr(model, "coupling", 1.0))
        self.variables = Variables.of(group)
        self.conservative = conservative
        self.base = base
        self.features = features(group)
        out = Fields.of(group, [("scalar", 1)]) if conservative else self.variables.fields
        self.trunk = trunk(self.features.even, self.features.odd, out, self.variables.odd and not conservative)
        self.register_buffer("size", torch.ones(()))

    @property
    def halo(self) -> int:
        """Cells around a site that its force depends on, the base aside: twice as many if they decide about energies."""
        return int(self.features.reach + self.trunk.reach) * (1 + self.conservative)  # type: ignore[operator]

    @property
    def base_halo(self) -> int:
        """Cells around a site that its base depends on."""
        return self.base.halo(self.model)

    def require(self, model: Model) -> None:
        """Raise InputError where the base does not serve the lattice of a model."""
        self.base.require(model)

    def on(self, lattice: Lattice) -> LatticeNetwork:
        """The same network, sharing all its tensors, on a lattice of the same kind with other extents."""
        bound = copy.copy(self)
        bound.model, bound.shape = dataclasses.replace(self.model, lattice=lattice), lattice.shape
        return bound

    def on_tile(self, shape: tuple[int, ...]) -> LatticeNetwork:
        """The same for a piece of a lattice, whose force is right but for `halo` cells at its rim."""
        bound = copy.copy(self)
        bound.shape, bound.wrap = shape, False
        return bound

    @torch.no_grad()
    def initialise(self, x: Tensor, force: Tensor) -> None:
        """Scales of features and of the output from states x and forces (B, N, D) of the training data."""
        u = self.variables.gathered(self._energies(x), self.shape)
        self.features.initialise(u)
        reference = self.reference(x)
        normalise = getattr(self.trunk, "normalise", None)
        if normalise is not None:
            normalise(self.features(u, self._known(reference)))
        rest = force / self.coupling - reference / self.coupling
        self.size.fill_(float(rest.square().mean().sqrt()))

    def reference(self, x: Tensor) -> Tensor:
        """The part of the force that nobody learns, g base(x), (B, N, D)."""
        lattice = self.model.lattice.asking(self.halo)
        return self.base.force(dataclasses.replace(self.model, lattice=lattice), x, self._energies(x))

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """The electronic force (B, N, D) at x (B, N, D); `reference`, if it is known already, is not computed again."""
        if self.conservative:
            return self.energies_and_force(x)[1]
        if reference is None:
            reference = self.reference(x)
        u = self.variables.gathered(self._energies(x), self.shape)
        even, odd = self.trunk(self.features(u, self._known(reference)), self.wrap)
        found = odd if self.variables.odd else even
        return reference + self.coupling * self.size * self.variables.scattered(found)

    def energy(self, x: Tensor) -> Tensor:
        """The electronic free energy (B,) of a conservative network, up to a constant."""
        return self.energies(x).flatten(1).sum(dim=1)

    def energies(self, x: Tensor) -> Tensor:
        """The same by cells, (B, cells...)."""
        u = self._energies(x)
        even, _ = self.trunk(self.features(self.variables.gathered(u, self.shape), None), self.wrap)
        known = self.base.energies(self.model, u).reshape(len(x), *self.shape, -1)
        return self.size * even.sum(dim=1) + known.sum(dim=-1)

    def energies_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`energies` and the force (B, N, D) that is minus the gradient of their sum."""
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            energies = self.energies(x)
            (gradient,) = torch.autograd.grad(energies.sum(), x, create_graph=keep)
        return energies.detach(), -gradient

    def _known(self, reference: Tensor) -> Tensor | None:
        """What the base says, as one more set of variables for the features; None where they have no place for it."""
        return self.variables.gathered(reference / self.coupling, self.shape) if self.features.known else None

    def _energies(self, x: Tensor) -> Tensor:
        """u = g x + mu: the negative of on-site levels measured from mu, where there is one per site."""
        return self.coupling * x + float(self.model.mu or 0.0) * (
            self.model.orbitals == 1 and not self.model.needs_bonds
        )
