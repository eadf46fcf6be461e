"""The Propagator protocol: what takes a state to a later one, and all that a Simulation knows about it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from latticemd.models.model import Motion
from latticemd.state import State
from latticemd.system import System

Array = NDArray[Any]


@runtime_checkable
class Propagator(Protocol):
    """Steps of a length `dt` [time], each a pure function of state, system and step.

    An `Integrator` is one that follows the forces of the system; a network that has learned where things are a long time later
    is another, which asks for no force. Packages offer the second kind under the entry-point group `latticemd.propagators`, as
    frozen dataclasses made from `dt`, whose `parameter` fields are keys of `dynamics:`.
    """

    @property
    def dt(self) -> float:
        """Time per step [time]."""
        ...

    @property
    def motion(self) -> Motion:
        """Of the models it is for."""
        ...

    @property
    def momenta(self) -> bool:
        """Whether p moves, so that kinetic energy means something."""
        ...

    @property
    def forces_current(self) -> bool:
        """Whether state.f belongs to state.x after a step; if not, frames evaluate it where it is asked for."""
        ...

    @property
    def order(self) -> int:
        """Order in dt of the error of the conserved energy, of the isolated motion."""
        ...

    @property
    def reversible(self) -> bool:
        """Whether the isolated motion leads back when momenta are flipped."""
        ...

    def thermostat_variables(self, replicas: int) -> dict[str, Array]:
        """What else changes in time at the start: `heat` (R,) [energy], and variables of its own."""
        ...

    def check(self, system: System) -> None:
        """Raise InputError unless the system has what it needs."""
        ...

    def step(self, state: State, system: System) -> None:
        """Advance `state` by dt, including state.step."""
        ...

    def isolated(self, dt: float) -> Propagator | None:
        """The same motion with step `dt` and without a bath, which conserves energy; None if there is no such motion."""
        ...

    def kinetic_energy(self, state: State, system: System) -> Array:
        """(R,) [energy]."""
        ...

    def conserved_energy(self, state: State, system: System) -> Array:
        """Free energy + kinetic energy - heat, (R,) [energy]."""
        ...
