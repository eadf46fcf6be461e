"""Kinetic Monte Carlo: occupations are exchanged between neighbouring sites at random moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from cuda_kernels.philox import log, uniform_pair
from latticemd.errors import InputError
from latticemd.integrators.integrator import Array, Integrator
from latticemd.models.model import Motion
from latticemd.parameters import parameter
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System

_WAITING, _ATTEMPT, _EXCHANGE = range(3)  # occurrences of the noise within a step


@dataclass(frozen=True)
class KineticMonteCarlo(Integrator):
    """Heavy particles hop to empty nearest neighbours in continuous time, at rates w that obey detailed balance.

    w = a(dOmega/kT)/tau for each pair of unlike neighbours; dOmega is what their exchange adds to the free energy

    ============  ==================  ===================================================
    `rates`       a(y)                at kT = 0
    ============  ==================  ===================================================
    metropolis    min(1, exp(-y))     1 for dOmega <= 0, else 0
    glauber       1/(1 + exp(y))      1 for dOmega < 0, 1/2 for dOmega = 0, else 0
    ============  ==================  ===================================================

    tau is `attempt_time` [time]: 1/tau is the rate of an exchange that costs nothing (metropolis) or a half of it (glauber).
    The process is the same for any dt, which is only the interval between two frames; temperature and ramped parameters are
    constant within it. The number of particles never changes, and exp(-Omega/kT) is stationary among the arrangements of
    that number.

    ============  =======================================================================================================
    `events`      how the process is realised, exactly by either
    ============  =======================================================================================================
    attempts      each of the B bonds is tried at a rate 1/tau, B dt/tau times a step, and exchanged with probability a: one
                  evaluation of all replicas for each attempt on unlike neighbours. For every force field.
    exchanges     the rates of all bonds say when the next exchange happens and which one it is: one solution for each
                  exchange, however rare exchanges are among attempts. For force fields that know the energies of all
                  exchanges at once: `poles` at fixed mu.
    ============  =======================================================================================================

    Both take one more evaluation for each step. Replicas move side by side, each with its own noise. Heat is what exchanges
    add to the free energy, so free energy - heat is conserved to rounding. Friction plays no part.

    References: Kawasaki, doi:10.1103/PhysRev.145.224 (exchanges); Metropolis et al., doi:10.1063/1.1699114, and Glauber,
    doi:10.1063/1.1703954 (rates); Bortz, Kalos and Lebowitz, doi:10.1016/0021-9991(75)90060-1, and Gillespie,
    doi:10.1021/j100540a008 (events without rejection).
    """

    attempt_time: float = parameter(
        1.0, doc="time tau between two attempts to exchange a pair of neighbours", dimension="time", gt=0
    )
    rates: Literal["metropolis", "glauber"] = parameter(
        "metropolis", doc="how rates follow from free energies: metropolis or glauber"
    )
    events: Literal["attempts", "exchanges"] = parameter(
        "attempts", doc="what costs a solution: attempts, or exchanges only (poles at fixed mu)"
    )

    motion: ClassVar[Motion] = Motion.OCCUPATION
    momenta: ClassVar[bool] = False

    def check(self, system: System) -> None:
        """Beside occupations, moves need free energies."""
        super().check(system)
        if not system.capabilities.energy:
            raise InputError(
                f"integrator {type(self).__name__} compares free energies, and force field "
                f"{type(system.forcefield).__name__} gives none; use one that does, such as ed"
            )
        if self.events == "exchanges":
            system.exchange_energies(np.zeros_like(system.electrons.force), 0)

    def step(self, state: State, system: System) -> None:
        """Let every replica make the moves that fall into dt, then evaluate where it arrived."""
        if self.events == "attempts":
            self._make_attempts(state, system)
        else:
            self._make_exchanges(state, system)
        state.step += 1
        system.update_forces(state, state.step)
        system.update_potential(state, state.step)

    def acceptance(self, rise: Array, temperature: float) -> Array:
        """Share a of attempts that are accepted where the free energy would grow by `rise` [energy], any shape."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            y = np.where(rise == 0.0, 0.0, rise / temperature)  # infinite at kT = 0
        uphill: Array = np.exp(-np.maximum(y, 0.0))
        return uphill if self.rates == "metropolis" else uphill / (1.0 + np.exp(-np.abs(y)))

    # attempts, of which some are rejected

    def attempts(self, step: int, replica: int, system: System) -> Attempts:
        """The attempts of a replica of a batch during a step, in the order of time."""
        bonds = system.model.lattice.bonds()
        count = self._count(step, replica, len(bonds.i) * self.dt / self.attempt_time)
        which, chance = self._uniforms(_ATTEMPT, step, replica, 0, count)
        # At most one in 2^53 numbers is rounded to 1.
        bond = np.minimum((len(bonds.i) * which).astype(np.int64), len(bonds.i) - 1)
        return Attempts(bonds.i[bond], bonds.j[bond], chance)

    def _make_attempts(self, state: State, system: System) -> None:
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
            elapsed = np.cumsum(-log(self._uniforms(_WAITING, step, replica, 0, size)[0]))
            if elapsed[-1] > expected:
                return int(np.searchsorted(elapsed, expected))
            size *= 2

    # exchanges without rejection

    def _make_exchanges(self, state: State, system: System) -> None:
        bonds = system.model.lattice.bonds()
        left = np.full(state.replicas, self.dt)
        event = 0
        while len(going := np.flatnonzero(left > 0.0)):
            x = state.x[going]
            rise = system.exchange_energies(x, state.step)
            rates = self.acceptance(rise, self.temperature(state.step)) / self.attempt_time
            rates[x[:, bonds.i, 0] == x[:, bonds.j, 0]] = 0.0
            for n, r in enumerate(going):
                waiting, bond = self._next_exchange(state.step, int(r), event, rates[n])
                left[r] -= waiting
                if left[r] > 0.0:
                    i, j = bonds.i[bond], bonds.j[bond]
                    state.x[r, [i, j]] = state.x[r, [j, i]]
                    state.thermostat["heat"][r] += rise[n, bond]
            event += 1

    def _next_exchange(self, step: int, replica: int, event: int, rates: Array) -> tuple[float, int]:
        """The time to the next exchange of a replica, infinite if there is none, and its bond; rates (B,) [1/time]."""
        total = np.cumsum(rates)
        if total[-1] == 0.0:
            return math.inf, 0
        waiting, which = self._uniforms(_EXCHANGE, step, replica, event, 1)
        # A bond of rate 0 adds nothing to the sums and is never the first that exceeds a number.
        bond = int(np.searchsorted(total, which[0] * total[-1], side="right"))
        return float(-log(waiting)[0] / total[-1]), min(bond, int(np.flatnonzero(rates)[-1]))

    def _uniforms(self, occurrence: int, step: int, replica: int, first: int, count: int) -> tuple[Array, Array]:
        """Two numbers between 0 and 1 for each of the draws first, first + 1, ..., (count,) each."""
        one, other = uniform_pair(
            np.uint64(self.seed),
            np.uint64(Stream.KINETIC_MONTE_CARLO),
            np.uint64(occurrence),
            np.uint64(step),
            np.uint64(self.first_replica + replica),
            np.arange(first, first + count, dtype=np.uint64),
        )
        return one, other


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
