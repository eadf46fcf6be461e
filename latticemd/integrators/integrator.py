"""The Integrator interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for
from latticemd.backends.place import WHOLE, Place
from latticemd.errors import InputError
from latticemd.models.model import Model, Motion
from latticemd.ramps import Ramp
from latticemd.state import State
from latticemd.system import System

Array = NDArray[Any]
COLD = Ramp.constant(0.0)


@dataclass(frozen=True)
class Integrator(ABC):
    """Advances a State by one time step `dt` [time] under a System's forces.

    `temperature` is the bath's kT [energy], a ramp or a number; `friction` is gamma [1/time; mass/time in overdamped
    motion]; `seed` is the key of its noise; `first_replica` is the number of the first replica, so that a replica has its
    own noise in any batch.
    """

    _: KW_ONLY
    dt: float
    temperature: Ramp = COLD
    friction: float = 0.2
    seed: int = 0
    first_replica: int = 0

    motion: ClassVar[Motion] = Motion.DISPLACEMENT  # of the models it is for
    momenta: ClassVar[bool] = True  # whether p moves, so that kinetic energy means something
    forces_current: ClassVar[bool] = True  # whether state.f belongs to state.x after a step
    positive: ClassVar[tuple[str, ...]] = ()  # settings that must not be zero, beside dt

    def __post_init__(self) -> None:
        if not isinstance(self.temperature, Ramp):  # a number, which reads better in notebooks
            object.__setattr__(self, "temperature", Ramp.constant(self.temperature))

    def thermostat_variables(self, replicas: int) -> dict[str, Array]:
        """Initial variables of the bath; `heat` (R,) [energy] is what it has given to the system so far."""
        return {"heat": np.zeros(replicas)}

    def check(self, system: System) -> None:
        """Raise InputError unless the system has what the integrator needs: here, variables of the right kind."""
        if self.motion is not system.model.motion:
            raise InputError(
                f"integrator {type(self).__name__} moves {self.motion.value}s, "
                f"but the variables of {type(system.model).__name__} are {system.model.motion.value}s"
            )

    @abstractmethod
    def step(self, state: State, system: System) -> None:
        """Advance `state` by dt, including state.step and the bath's variables."""

    def isolated(self, dt: float) -> Integrator | None:
        """The same motion with step `dt` and without a bath, which conserves energy; None if there is no such motion."""
        return None

    @property
    def order(self) -> int:
        """Order in dt of the error of the conserved energy."""
        return 2

    @property
    def reversible(self) -> bool:
        """Whether the isolated motion leads back when momenta are flipped."""
        return True

    def kinetic_energy(self, state: State, system: System) -> Array:
        """sum p^2/2m, or zero where no momenta move, (R,) [energy]."""
        if not self.momenta:
            return np.zeros_like(state.potential)
        return kinetic_energy(state.p, system.model_at(state.step), system.share)

    def conserved_energy(self, state: State, system: System) -> Array:
        """Free energy + kinetic energy - heat given by the bath, (R,) [energy]: constant up to the error of the step."""
        return state.potential + self.kinetic_energy(state, system) - state.thermostat["heat"]


def kinetic_energy(p: Array, model: Model, place: Place = WHOLE) -> Array:
    """sum_i p_i^2/2m_i of momenta (R, N, D) of a part of the lattice, over the whole, (R,) [energy]."""
    root = mass_root(model)
    energy: Array = kernels_for(p).kinetic_energy(p if root is None else p / root, 1.0 / model.inertia(), place)
    return energy


def mass_root(model: Model) -> Array | None:
    """w_i = sqrt(m_i/m), (N, 1), with m `inertia`; None where all masses are equal.

    In x w, p/w and f/w all masses are m: what is written for one mass serves any.
    """
    masses = model.site_masses()
    return np.sqrt(masses / model.inertia()) if isinstance(masses, np.ndarray) else None
