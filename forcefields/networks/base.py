"""What a network need not learn: the part of the electronic force that a cheap method knows already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from latticemd.errors import InputError
from latticemd.forcefield import Electrons, ForceField
from latticemd.models.model import Model

BaseChoice = Literal["none", "atomic", "cavity", "window"]

_SWEEPS = 4  # of cavity: with fewer, messages have not settled at weak coupling


@dataclass(frozen=True)
class Base:
    """The known part of the electronic force, from which training starts.

    ======  ==========================================================================================================
    choice  force of a site
    ======  ==========================================================================================================
    none    0
    atomic  g/2 tanh(u/2 kT) with u = g x + mu, that of a site without hops; it has an energy
    cavity  `forcefields.cavity` with `radius`, poles to `tolerance`
    window  `forcefields.window` with `width`, moments to `tolerance`: what they leave out close by is easily learned
    ======  ==========================================================================================================

    No gradient flows through `cavity` and `window`.
    """

    choice: BaseChoice
    radius: int
    width: int
    tolerance: float
    _solvers: dict[bool, ForceField] = field(init=False, default_factory=dict, repr=False, compare=False)

    def check(self, model: Model, conservative: bool) -> None:
        """Raise InputError where the model has no such base, or a conservative network could not use it."""
        if self.choice == "atomic" and (model.orbitals != 1 or model.needs_bonds or model.components != 1):
            raise InputError(
                f"base: atomic is for models of one orbital and one displacement, not {type(model).__name__}"
            )
        if self.choice in ("cavity", "window") and conservative:
            raise InputError(f"base: {self.choice} has no energy that its force is the gradient of; use none or atomic")

    def require(self, model: Model) -> None:
        """Raise InputError where the force field behind the base does not serve the lattice of a model."""
        if self.choice in ("cavity", "window"):
            try:
                self._solver(single=True).prepare(model, 1)
            except InputError as error:
                raise InputError(f"the base of this network does not serve the lattice: {error}") from error

    def halo(self, model: Model) -> int:
        """Layers of cells around a site that its base depends on."""
        if self.choice in ("none", "atomic"):
            return 0
        return self._solver(single=True).capabilities(model, 1).halo or 0

    def force(self, model: Model, x: Tensor, u: Tensor) -> Tensor:
        """The known force (B, N, D) at x (B, N, D); u = g x + mu, in the precision of x."""
        if self.choice == "none":
            return torch.zeros_like(x)
        if self.choice == "atomic":
            coupling = float(getattr(model, "coupling", 1.0))
            return 0.5 * coupling * torch.tanh(0.5 * u / model.electronic_temperature)
        solver, out = self._solver(single=x.dtype == torch.float32), Electrons.empty(len(x), model)
        solver.prepare(model, len(x))
        if x.is_cuda:
            from latticemd.backends.cuda.arrays import from_torch, to_torch  # without a copy

            on_device = from_torch(x.detach().double().contiguous())
            out = out.beside(on_device)
            solver.evaluate(model, on_device, 0, out)
            found: Tensor = to_torch(out.force).to(x.dtype)
            return found
        solver.evaluate(model, np.ascontiguousarray(x.detach().double().numpy()), 0, out)
        return torch.as_tensor(out.force, dtype=x.dtype)

    def energies(self, model: Model, u: Tensor) -> Tensor:
        """Of sites (B, N): the known force is minus the gradient of their sum; up to a constant."""
        if self.choice == "none":
            return torch.zeros_like(u[..., 0])
        kT = model.electronic_temperature
        half = 0.5 * u[..., 0] / kT
        return -kT * torch.logaddexp(half, -half)

    def _solver(self, single: bool) -> ForceField:
        """The force field behind the base, in single or double precision."""
        if single not in self._solvers:
            from forcefields.cavity import Cavity  # numba need not be loaded for other bases
            from forcefields.window import Window

            precision: Literal["float32", "float64"] = "float32" if single else "float64"
            both: dict[str, Any] = {"tolerance": self.tolerance, "precision": precision}
            cavity = self.choice == "cavity"
            self._solvers[single] = (
                Cavity(radius=self.radius, sweeps=_SWEEPS, **both) if cavity else Window(width=self.width, **both)
            )
        return self._solvers[single]
