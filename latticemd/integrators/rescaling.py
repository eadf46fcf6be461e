"""Thermostats that rescale all momenta of a replica at once: canonical sampling with almost undisturbed dynamics."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latticemd.backends import kernels_for
from latticemd.integrators.integrator import Array, Integrator, kinetic_energy
from latticemd.integrators.splitting import Splitting
from latticemd.parameters import parameter
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System


@dataclass(frozen=True)
class Rescaling(Splitting):
    """T(dt/2) word(dt) T(dt/2), where T multiplies all momenta of a replica by one factor and the word moves them.

    Any word without O will do; BRB leaves only the electronic forces to limit dt. Each T costs two sweeps over p.
    """

    word: str = "BAB"
    relaxation_time: float = parameter(1.0, doc="relaxation time tau of the thermostat", dimension="time", gt=0)

    def step(self, state: State, system: System) -> None:
        """Thermostat for half a step, the word, thermostat for half a step; all with the temperature of the first."""
        step = state.step
        self._rescale(state, system, step, 0)
        super().step(state, system)
        self._rescale(state, system, step, 1)

    def isolated(self, dt: float) -> Integrator:
        """The word alone."""
        return Splitting(word=self.word, dt=dt)

    def _rescale(self, state: State, system: System, step: int, half: int) -> None:
        kinetic = kinetic_energy(state.p, system.model_at(step), system.share)
        degrees = system.share.whole.sites * system.model.components
        factor = self._factor(state, kinetic, degrees, self.temperature(step), step, half)
        state.p *= factor[:, None, None]

    @abstractmethod
    def _factor(self, state: State, kinetic: Array, degrees: int, temperature: float, step: int, half: int) -> Array:
        """The factors (R,) for kinetic energies (R,) of N_f degrees of freedom; updates the bath's variables."""


@dataclass(frozen=True)
class NoseHooverChain(Rescaling):
    """A chain of M deterministic thermostats around velocity Verlet: reversible canonical sampling without noise.

    x' = p/m,   p' = F - v_1 p,   v_1' = (2K/(N_f kT) - 1)/tau^2 - v_1 v_2,   ...

    ======  ================  ==================================================================
    symbol  variable          meaning
    ======  ================  ==================================================================
    tau     relaxation_time   [time]; choose it near the period of the lattice, 2 pi sqrt(m/k)
    M       chain_length      links; one link alone does not sample a nearly harmonic lattice
    v_j     chain_velocity    friction of link j [1/time], (R, M)
    xi_j    chain_position    integral of v_j, (R, M)
    ======  ================  ==================================================================

    The conserved energy is Omega + K + kT [N_f (tau^2 v_1^2/2 + xi_1) + sum_{j>1} (tau^2 v_j^2/2 + xi_j)]: the heat is
    minus what the chain has gained, so it closes the balance also while the temperature ramps. Second order in dt.
    Almost harmonic lattices mix slowly under a deterministic thermostat; prefer `langevin` there.

    References: Nose, doi:10.1063/1.447334; Martyna, Klein and Tuckerman, doi:10.1063/1.463940; Martyna et al.,
    doi:10.1080/00268979600100761 (integration).
    """

    chain_length: int = parameter(3, doc="number of links of the chain", ge=1, le=64)

    positive: ClassVar[tuple[str, ...]] = ("temperature",)  # momenta are compared with it

    def thermostat_variables(self, replicas: int) -> dict[str, Array]:
        """A chain at rest, which has given no heat."""
        links = (replicas, self.chain_length)
        return {
            **super().thermostat_variables(replicas),
            "chain_velocity": np.zeros(links),
            "chain_position": np.zeros(links),
        }

    def _factor(self, state: State, kinetic: Array, degrees: int, temperature: float, step: int, half: int) -> Array:
        bath = state.thermostat
        factor, gained = kernels_for(state.p).nose_hoover(
            bath["chain_velocity"],
            bath["chain_position"],
            2.0 * kinetic / (degrees * temperature),
            degrees,
            self.relaxation_time,
            0.5 * self.dt,
        )
        bath["heat"] -= temperature * gained
        return factor


@dataclass(frozen=True)
class VelocityRescaling(Rescaling):
    """Stochastic velocity rescaling around velocity Verlet: the kinetic energy follows its own canonical dynamics.

    dK = (N_f kT/2 - K) dt/tau + 2 sqrt(K kT/2) dW/sqrt(tau), solved exactly over each half step

    One random factor per replica and half step, so correlations in time are disturbed by O(1/N_f) only. kT = 0 cools with
    the rate 1/tau; a replica at rest, K = 0, is left alone. The conserved energy is Omega + K - heat, with heat the
    changes of K by the factors. Second order in dt.

    Reference: Bussi, Donadio and Parrinello, doi:10.1063/1.2408420.
    """

    def _factor(self, state: State, kinetic: Array, degrees: int, temperature: float, step: int, half: int) -> Array:
        noise = (self.seed, int(Stream.VELOCITY_RESCALING), half, step, self.first_replica)
        keep = math.exp(-0.5 * self.dt / self.relaxation_time)
        moving = kinetic > 0.0
        ratio = np.where(moving, 0.5 * temperature / np.where(moving, kinetic, 1.0), 0.0)
        factor = np.where(moving, kernels_for(state.p).resampling(noise, degrees, keep, ratio), 1.0)
        state.thermostat["heat"] += kinetic * (factor * factor - 1.0)
        return factor
