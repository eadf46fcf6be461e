"""What all lattice networks share: from x to the electronic force, on any number of cells."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from forcefields.equivariant import Fields, LatticeGroup
from forcefields.networks.features import Features
from forcefields.networks.variables import Variables
from latticemd.errors import InputError
from latticemd.forcefield import Electrons
from latticemd.lattice import Lattice
from latticemd.models.model import Model

# Of base: cavity. With fewer sweeps messages have not settled at weak coupling; more poles would cost and change nothing.
_SWEEPS, _POLE_TOLERANCE = 4, 1e-4

BaseChoice = Literal["none", "atomic", "cavity"]
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
        base: BaseChoice,
        radius: int,
        conservative: bool,
    ) -> None:
        super().__init__()
        require_fixed_mu(model)
        group = LatticeGroup.of(model)
        self.model, self.shape = model, model.lattice.shape
        self.wrap = True  # whether cells go on periodically: not those of a tile, whose rim is thrown away
        self.coupling = float(getattr(model, "coupling", 1.0))
        self.variables = Variables.of(group)
        self.conservative = conservative
        self.base = base
        self.base_radius = radius
        self._cavities: dict[bool, Any] = {}  # by whether single precision will do
        self.features = features(group)
        out = Fields.of(group, [("scalar", 1)]) if conservative else self.variables.fields
        self.trunk = trunk(self.features.even, self.features.odd, out, self.variables.odd and not conservative)
        self.register_buffer("size", torch.ones(()))
        if base == "atomic" and (model.orbitals != 1 or model.needs_bonds or model.components != 1):
            raise InputError(
                f"base: atomic is for models of one orbital and one displacement, not {type(model).__name__}"
            )
        if base == "cavity" and conservative:
            raise InputError("base: cavity has no energy that its force is the gradient of; use none or atomic")

    @property
    def halo(self) -> int:
        """Cells around a site that its force depends on, the base aside."""
        return int(self.features.reach + self.trunk.reach)  # type: ignore[operator]

    @property
    def base_halo(self) -> int:
        """Cells around a site that its base depends on."""
        return self.base_radius + _SWEEPS if self.base == "cavity" else 0

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
        """The part of the force that nobody learns, g base(x), (B, N, D); no gradient flows through a cavity."""
        if self.base == "atomic":
            return 0.5 * self.coupling * torch.tanh(0.5 * self._energies(x) / self.model.electronic_temperature)
        if self.base == "cavity":
            return self._cavity(x)
        return torch.zeros_like(x)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """The electronic force (B, N, D) at x (B, N, D); `reference`, if it is known already, is not computed again."""
        if self.conservative:
            return self._gradient(x)
        if reference is None:
            reference = self.reference(x)
        u = self.variables.gathered(self._energies(x), self.shape)
        even, odd = self.trunk(self.features(u, self._known(reference)), self.wrap)
        found = odd if self.variables.odd else even
        return reference + self.coupling * self.size * self.variables.scattered(found)

    def energy(self, x: Tensor) -> Tensor:
        """The electronic free energy (B,) of a conservative network, up to a constant."""
        u = self._energies(x)
        even, _ = self.trunk(self.features(self.variables.gathered(u, self.shape), None), True)
        total = self.size * even.flatten(1).sum(dim=1)
        if self.base == "atomic":
            kT = self.model.electronic_temperature
            half = 0.5 * u / kT
            total = total - kT * torch.logaddexp(half, -half).flatten(1).sum(dim=1)
        return total

    def _known(self, reference: Tensor) -> Tensor | None:
        """What the base says, as one more set of variables for the features; None where they have no place for it."""
        return self.variables.gathered(reference / self.coupling, self.shape) if self.features.known else None

    def _gradient(self, x: Tensor) -> Tensor:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=keep)
        return -gradient

    def _energies(self, x: Tensor) -> Tensor:
        """u = g x + mu: the negative of on-site levels measured from mu, where there is one per site."""
        return self.coupling * x + float(self.model.mu or 0.0) * (
            self.model.orbitals == 1 and not self.model.needs_bonds
        )

    def _cavity(self, x: Tensor) -> Tensor:
        from forcefields.cavity import Cavity  # numba need not be loaded for other bases

        single = x.dtype == torch.float32
        if single not in self._cavities:
            precision: Literal["float32", "float64"] = "float32" if single else "float64"
            self._cavities[single] = Cavity(
                radius=self.base_radius, sweeps=_SWEEPS, tolerance=_POLE_TOLERANCE, precision=precision
            )
        if x.is_cuda:
            return self._cavity_on_device(x, self._cavities[single])
        positions = x.detach().cpu().double().numpy()
        out = Electrons.empty(len(x), self.model)
        self._cavities[single].prepare(self.model, len(x))
        self._cavities[single].evaluate(self.model, np.ascontiguousarray(positions), 0, out)
        return torch.as_tensor(out.force, dtype=x.dtype, device=x.device)

    def _cavity_on_device(self, x: Tensor, cavity: Any) -> Tensor:
        """The same on a GPU, between the memory of torch and of the kernels without a copy."""
        from latticemd.backends.cuda.arrays import from_torch, to_torch

        positions = from_torch(x.detach().double().contiguous())
        out = Electrons.empty(len(x), self.model).beside(positions)
        cavity.prepare(self.model, len(x))
        cavity.evaluate(self.model, positions, 0, out)
        found: Tensor = to_torch(out.force).to(x.dtype)
        return found
