"""Simulation: the only orchestrator. It steps a State and shows it to reporters when they are due.

What takes the steps is an `integrator` here, be it one that follows forces or any other `Propagator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import beside, kernels_for, on_host
from latticemd.errors import InputError
from latticemd.models.model import Model
from latticemd.parallel.share import Share
from latticemd.propagator import Propagator
from latticemd.schedules import When
from latticemd.state import State
from latticemd.system import System

Array = NDArray[Any]


class Frame:
    """What can be seen at one step; each quantity is computed when a reporter first asks for it.

    Positions, momenta, forces, density, energies and order are arrays on the host, brought there when they are asked for; forces
    are first evaluated where the integrator's word leaves them behind the positions. `state` itself may be on a GPU, and what has
    "in place" in its name too. Sums over sites are taken there, so that reporters of numbers bring numbers only.
    """

    def __init__(self, state: State, system: System, integrator: Propagator) -> None:
        self.state = state
        self.integrator = integrator
        self.step = state.step
        self.time = state.step * integrator.dt
        self._system = system

    @cached_property
    def model(self) -> Model:
        """The model with its parameters at this step."""
        return self._system.model_at(self.step)

    @cached_property
    def system(self) -> System:
        """The system, with electrons and forces that belong to these positions."""
        if not self.integrator.forces_current:
            self._system.update_forces(self.state, self.step)
        self._system.require_bounded(self.state)
        return self._system

    @cached_property
    def positions(self) -> Array:
        """The classical variable (R, N, D) [length]."""
        return on_host(self.state.x)

    @cached_property
    def momenta(self) -> Array:
        """Its momentum (R, N, D) [mass length/time]."""
        return on_host(self.state.p)

    @cached_property
    def force(self) -> Array:
        """Total force (R, N, D) [energy/length]."""
        _ = self.system
        return on_host(self.state.f)

    @cached_property
    def density(self) -> Array:
        """Electrons per site (R, N); NaN where the force field does not know it."""
        return on_host(self.density_in_place)

    @property
    def density_in_place(self) -> Array:
        """Electrons per site (R, N), where the state lives."""
        return self.system.density

    @property
    def uncertainty(self) -> Array:
        """How uncertain the electronic force of a site is, (R, N) [energy/length]. Raises InputError where nobody says."""
        found = self.system.electrons.uncertainty
        if found is None:
            name = type(self._system.forcefield).__name__
            raise InputError(
                f"force field {name} does not tell how uncertain its forces are; forcefield: committee does"
            )
        return self._system.share.cropped(found)

    @property
    def displaced(self) -> Array:
        """Positions in three dimensions that show x to a viewer, (R, N, 3)."""
        share = self.share
        return share.cropped(self.model.displaced(share.extended(self.positions)))

    @property
    def digest(self) -> str:
        """That of the state, see `State.digest`."""
        return self.state.digest(self.share)

    @property
    def share(self) -> Share:
        """Which replicas and sites the arrays of this frame are about."""
        return self._system.share

    @cached_property
    def free_energy(self) -> Array:
        """Omega, or Omega + mu N at fixed filling, (R,) [energy]."""
        self.system.update_potential(self.state, self.step)
        return on_host(self.state.potential).copy()

    @cached_property
    def kinetic_energy(self) -> Array:
        """Kinetic energy (R,) [energy]; zero in overdamped motion."""
        return on_host(self.integrator.kinetic_energy(self.state, self._system))

    @cached_property
    def conserved_energy(self) -> Array:
        """The integrator's conserved quantity (R,) [energy]."""
        _ = self.free_energy  # brings state.potential up to date
        return on_host(self.integrator.conserved_energy(self.state, self._system))

    @cached_property
    def virial(self) -> Array:
        """sum_a x_a f_a, (R,) [energy]."""
        _ = self.system
        return on_host(kernels_for(self.state.x).dot(self.state.x, self.state.f, self.share))

    @cached_property
    def order_field(self) -> Array:
        """The local order parameter (R, N)."""
        return on_host(self.order_field_in_place)

    @cached_property
    def order_field_in_place(self) -> Array:
        """The local order parameter (R, N), where the state lives."""
        return self.system.order_field(self.state, self.step)

    @cached_property
    def order_parameter(self) -> Array:
        """|1/N sum_i phi_i| of the order field, (R,)."""
        return np.abs(on_host(self.share.total(self.order_field_in_place))) / self.share.whole.sites

    @cached_property
    def local_order(self) -> Array:
        """1/N sum_i |phi_i| of the order field, (R,)."""
        return on_host(self.share.total(np.abs(self.order_field_in_place))) / self.share.whole.sites

    @cached_property
    def wall_fraction(self) -> Array:
        """Share of nearest-neighbour pairs that a domain wall cuts, see `observables.wall_fraction`, (R,)."""
        return self.share.cut_bonds(self.order_field_in_place)


class Reporter(Protocol):
    """Looks at frames when its schedule says so; must not change them."""

    when: When

    def report(self, frame: Frame) -> None:
        """Look at one frame."""
        ...


class Simulation:
    """A state, the system that moves it, the integrator that steps it, and those who watch.

        simulation = Simulation(system, integrator, State.at_rest(x))
        simulation.run(steps=400)
        simulation.state.x

    Steps cost one force evaluation for most integrators; everything else is a few sweeps over memory. Raises InputError when
    the integrator is for another kind of motion than that of the model, or needs what the force field lacks.
    """

    def __init__(
        self,
        system: System,
        integrator: Propagator,
        state: State,
        reporters: Sequence[Reporter] = (),
        resumed: bool = False,
    ) -> None:
        integrator.check(system)
        self.system = system
        self.integrator = integrator
        self.state = state
        self.reporters = list(reporters)
        self._shown = resumed  # whether reporters have seen the present state
        if not state.thermostat:
            bath = integrator.thermostat_variables(state.replicas)
            state.thermostat = {name: beside(value, state.x) for name, value in bath.items()}
        system.house(state)
        system.update_forces(state, state.step)

    def run(self, steps: int, stop: Callable[[], bool] | None = None) -> None:
        """Take steps until the TOTAL number of steps is `steps`, or until `stop()` is true between two steps.

        The state it begins with is shown first, unless it has been: by an earlier call, or before a restart.
        """
        if not self._shown:
            self.show()
        while self.state.step < steps and not (stop and stop()):
            self.integrator.step(self.state, self.system)
            self.show()

    def show(self) -> None:
        """Let every reporter that is due see the present state."""
        self._shown = True
        frame = self.frame()
        for reporter in self.reporters:
            if reporter.when.due(self.state.step):
                reporter.report(frame)

    def frame(self) -> Frame:
        """The present state, to be looked at before the next step."""
        return Frame(self.state, self.system, self.integrator)


def thermal_momenta(normals: Array, mass: float | Array, temperature: float) -> Array:
    """Momenta drawn from exp(-p^2/2 m kT), given standard normals (..., N, D) and m or m_i (N, 1) [mass length/time]."""
    momenta: Array = np.sqrt(mass * temperature) * normals
    return momenta
