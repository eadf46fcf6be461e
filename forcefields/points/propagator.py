"""The propagator that steps particles by a trained network, a long time at once."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.integrators.integrator import kinetic_energy
from latticemd.learning.modelfile import read_card
from latticemd.learning.networks import require_torch
from latticemd.models.model import Motion
from latticemd.models.particles import Particles
from latticemd.parameters import parameter
from latticemd.state import State
from latticemd.system import System


@dataclass(frozen=True)
class PointMotion:
    """x, v -> x, v a time `dt` later, as a network has learned it from trajectories.

    One step stands for hundreds of those of an integrator, and asks for no force: the force field is only asked where frames
    show forces and energies. What it has not learned it does not know: the motion conserves energy as well as its errors allow,
    and beyond the positions, charges and speeds of its training it answers all the same. Where each step has to be right, choose
    an integrator.

    Cost: one evaluation of the network per step and replica.
    """

    model: str = parameter(doc="file of a network of later positions and velocities, see docs/point_networks.md")
    precision: Literal["float32", "float64"] | None = parameter(
        None, doc="of the arithmetic; that of the file unless given"
    )
    _: KW_ONLY
    dt: float
    _prepared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    motion: ClassVar[Motion] = Motion.DISPLACEMENT
    momenta: ClassVar[bool] = True
    forces_current: ClassVar[bool] = False
    order: ClassVar[int] = 0  # dt is no choice
    reversible: ClassVar[bool] = False

    def __post_init__(self) -> None:
        horizon = read_card(Path(self.model)).horizon
        if horizon is None:
            raise InputError(f"{self.model}: gives forces, and does not say where particles will be; use a force field")
        if abs(self.dt - horizon) > 1e-9 * horizon:
            raise InputError(f"dynamics.dt is {self.dt:g}, but {self.model} moves particles by {horizon:g} at a time")

    def thermostat_variables(self, replicas: int) -> dict[str, Array]:
        """No bath: a heat of zero."""
        return {"heat": np.zeros(replicas)}

    def check(self, system: System) -> None:
        """Read the weights. Raises InputError where the model is none of particles."""
        if not isinstance(system.model, Particles):
            raise InputError(f"point_network moves particles in space, but {type(system.model).__name__} has none")
        self._motion()

    def step(self, state: State, system: System) -> None:
        """Advance each replica by itself, so that it moves with the same bytes in any batch."""
        import torch

        motion, model = self._motion(), system.model_at(state.step)
        assert isinstance(model, Particles), "check has refused other models"
        charges = torch.from_numpy(model.q).to(next(motion.parameters()).dtype)[None]
        with torch.no_grad():
            for r in range(state.replicas):
                x, v = (
                    torch.from_numpy(values[r : r + 1].copy()) for values in (state.x, state.p / model.site_masses())
                )
                later, velocity = motion(x, v, charges)
                state.x[r], state.p[r] = later[0].numpy(), model.site_masses() * velocity[0].numpy()
        state.step += 1

    def isolated(self, dt: float) -> PointMotion | None:
        """None: nothing that it conserves, and no other dt."""
        return None

    def kinetic_energy(self, state: State, system: System) -> Array:
        """sum p^2/2m, (R,) [energy]."""
        return kinetic_energy(state.p, system.model_at(state.step), system.share)

    def conserved_energy(self, state: State, system: System) -> Array:
        """Energy of the force field + kinetic energy, (R,) [energy]: as constant as the network is right."""
        return state.potential + self.kinetic_energy(state, system)

    def _motion(self) -> Any:
        if "motion" not in self._prepared:
            require_torch()
            from forcefields.points.modelfile import load_motion

            self._prepared["motion"] = load_motion(Path(self.model), self.precision)[1]
        return self._prepared["motion"]
