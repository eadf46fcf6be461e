"""Kinetic Monte Carlo: occupations are exchanged between neighbouring sites at random moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from cuda_kernels.philox import log, uniform_pair
from latticemd.integrators.integrator import Array, Integrator
from latticemd.models.model import Motion
from latticemd.parameters import parameter
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System

_WAITING, _CHOICE = 0, 1  # occurrences of the noise within a step


@dataclass(frozen=True)
class KineticMonteCarlo(Integrator):
    """Heavy particles hop to empty nearest neighbours in continuous time, at rates w that obey detailed balance.

    w = a(dOmega/kT)/tau for each pair of unlike neighbours; dOmega is what their exchange adds to the free energy

    ============  ===============================  ======================================
    `rates`       a(y)                             at kT = 0
    ============  ===============================  ======================================
    metropolis    min(1, exp(-y))                  1 for dOmega <= 0, else 0
    glauber       1/(1 + exp(y))                   1, 1/2, 0 for dOmega < 0, = 0, > 0
    ============  ===============================  ======================================

    ======  ================  ===============================================================
    symbol  variable          meaning
    ======  ================  ===============================================================
    tau     attempt_time      [time] between two attempts on one bond; the inverse of the rate without a barrier
    ======  ================  ===============================================================

    The process is exact for any dt: each of the B bonds is tried at the times of a Poisson process of rate 1/tau, so B dt/tau
    attempts are expected in a step, and an attempt is accepted with probability a. dt is only the interval between two
    frames, over which the temperature and ramped parameters are constant. The number of particles never changes; exp(-Omega/kT)
    among arrangements of equal number is stationary. kT = 0 never goes uphill.

    Heat is what accepted exchanges add to the free energy, so free energy - heat is conserved to rounding.

    Cost: one evaluation of all replicas for each attempt on unlike neighbours, and one for each step. Replicas make their
    attempts side by side, each with its own noise. Friction plays no part.

    References: Kawasaki, doi:10.1103/PhysRev.145.224 (exchanges); Metropolis et al., doi:10.1063/1.1699114, and Glauber,
    doi:10.1063/1.1703954 (rates); Gillespie, doi:10.1021/j100540a008 (continuous time).
    """

    attempt_time: float = parameter(
        1.0, doc="time tau between two attempts to exchange a pair of neighbours", dimension="time", gt=0
    )
    rates: Literal["metropolis", "glauber"] = parameter(
        "metropolis", doc="how rates follow from free energies: metropolis or glauber"
    )

    motion: ClassVar[Motion] = Motion.OCCUPATION
    momenta: ClassVar[bool] = False
    needs_energy: ClassVar[bool] = True

    def step(self, state: State, system: System) -> None:
        """Let every replica make the attempts that fall into dt, then evaluate where it arrived."""
        system.update_potential(state, state.step)
        attempts = [self.attempts(state.step, r, system) for r in range(state.replicas)]
        trial = State.at_rest(state.x)
        while True:
            trial.x[...] = state.x
            chances = {r: one.exchange_next(trial.x[r]) for r, one in enumerate(attempts)}
            if all(chance is None for chance in chances.values()):
                break
            system.update_forces(trial, state.step)
            system.update_potential(trial, state.step)
            self._accept(state, trial, chances)
        state.step += 1
        system.update_forces(state, state.step)
        system.update_potential(state, state.step)

    def attempts(self, step: int, replica: int, system: System) -> Attempts:
        """The attempts of a replica of a batch during a step, in the order of time."""
        bonds = system.model.lattice.bonds()
        expected = len(bonds.i) * self.dt / self.attempt_time
        count = self._count(step, replica, expected)
        which, chance = self._uniforms(_CHOICE, step, replica, count)
        # At most one in 2^53 numbers is rounded to 1.
        bond = np.minimum((len(bonds.i) * which).astype(np.int64), len(bonds.i) - 1)
        return Attempts(bonds.i[bond], bonds.j[bond], chance)

    def acceptance(self, rise: Array, temperature: float) -> Array:
        """Share a of attempts that are accepted where the free energy would grow by `rise` [energy], any shape."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            y = np.where(rise == 0.0, 0.0, rise / temperature)  # infinite at kT = 0
        uphill: Array = np.exp(-np.maximum(y, 0.0))
        return uphill if self.rates == "metropolis" else uphill / (1.0 + np.exp(-np.abs(y)))

    def kinetic_energy(self, state: State, system: System) -> Array:
        """Zero: there are no momenta, (R,) [energy]."""
        return np.zeros(state.replicas)

    def _accept(self, state: State, trial: State, chances: dict[int, float | None]) -> None:
        rise = trial.potential - state.potential
        accepted = self.acceptance(rise, self.temperature(state.step))
        for r, chance in chances.items():
            if chance is not None and chance < accepted[r]:
                state.x[r] = trial.x[r]
                state.potential[r] = trial.potential[r]
                state.thermostat["heat"][r] += rise[r]

    def _count(self, step: int, replica: int, expected: float) -> int:
        """A Poisson number of this mean: how many exponential waiting times of mean 1 fit into `expected`."""
        size = int(expected + 6.0 * math.sqrt(expected)) + 10
        while True:
            elapsed = np.cumsum(-log(self._uniforms(_WAITING, step, replica, size)[0]))
            if elapsed[-1] > expected:
                return int(np.searchsorted(elapsed, expected))
            size *= 2

    def _uniforms(self, occurrence: int, step: int, replica: int, count: int) -> tuple[Array, Array]:
        """Two rows of numbers between 0 and 1, (count,) each."""
        first, second = uniform_pair(
            np.uint64(self.seed),
            np.uint64(Stream.KINETIC_MONTE_CARLO),
            np.uint64(occurrence),
            np.uint64(step),
            np.uint64(self.first_replica + replica),
            np.arange(count, dtype=np.uint64),
        )
        return first, second


@dataclass
class Attempts:
    """Pairs of neighbours i, j (A,) that one replica tries to exchange one after the other, and a number in (0, 1) for each."""

    i: Array
    j: Array
    chance: Array
    done: int = 0

    def exchange_next(self, x: Array) -> float | None:
        """Exchange in x (N, 1) the next pair that differs, and return its number; None where none is left."""
        while self.done < len(self.i):
            i, j, chance = (values[self.done] for values in (self.i, self.j, self.chance))
            self.done += 1
            if x[i, 0] != x[j, 0]:
                x[[i, j]] = x[[j, i]]
                return float(chance)
        return None
