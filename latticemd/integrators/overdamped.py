"""Overdamped (Brownian) motion: friction so strong that momenta follow at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from latticemd.backends import kernels_for
from latticemd.integrators.integrator import Array, Integrator
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System


@dataclass(frozen=True)
class EulerMaruyama(Integrator):
    """x <- x + F dt/gamma + sqrt(2 kT dt/gamma) xi.

    Strong order 1 and weak order 1: averages carry an error proportional to dt. The plain scheme of published quenches;
    `overdamped_lm` costs the same and samples to second order.

    The heat is minus the work of the force along the path by the trapezoidal rule, so free energy - heat is conserved up
    to the error of the force and of the rule.

    References: Maruyama, doi:10.1007/BF02846028; arXiv:2601.07583 (the quench protocol).
    """

    momenta: ClassVar[bool] = False
    positive: ClassVar[tuple[str, ...]] = ("friction",)  # the mobility is its inverse
    _shares: ClassVar[tuple[float, float]] = (1.0, 0.0)  # of the noise of this step and of the next
    _moved: dict[str, Array] = field(init=False, default_factory=dict, repr=False, compare=False)

    def step(self, state: State, system: System) -> None:
        """Move along force and noise, then evaluate the force where it arrived."""
        kernels = kernels_for(state.x)
        if "moved" not in self._moved:
            self._moved["moved"] = np.empty_like(state.x)
        moved = self._moved["moved"]
        mobility = self.dt / self.friction
        amplitude = math.sqrt(2.0 * self.temperature(state.step) * mobility)
        noise = (self.seed, int(Stream.OVERDAMPED), state.step, self.first_replica)
        kernels.overdamped(
            state.x,
            state.f,
            mobility,
            (amplitude * self._shares[0], amplitude * self._shares[1]),
            noise,
            moved,
            system.share,
        )
        work = kernels.dot(state.f, moved, system.share)
        system.update_forces(state, state.step + 1)
        work += kernels.dot(state.f, moved, system.share)
        state.thermostat["heat"] -= 0.5 * work
        state.step += 1


@dataclass(frozen=True)
class LeimkuhlerMatthews(EulerMaruyama):
    """x <- x + F dt/gamma + sqrt(2 kT dt/gamma) (xi_n + xi_{n+1})/2: the high-friction limit of BAOAB.

    Stationary averages are of second order in dt (exact in a harmonic well) at the cost of one force per step; averages at
    a finite time are of first order. The noise of the next step is drawn twice from its counter instead of being stored.

    Reference: Leimkuhler and Matthews, doi:10.1093/amrx/abs010.
    """

    _shares: ClassVar[tuple[float, float]] = (0.5, 0.5)
