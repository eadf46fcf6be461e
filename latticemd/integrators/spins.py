"""Spins of unit length that precess, are damped, and are kicked by a bath: the Landau-Lifshitz-Gilbert equation."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from latticemd.backends import kernels_for
from latticemd.integrators.integrator import COLD, Array, Integrator
from latticemd.models.model import Motion
from latticemd.parameters import parameter
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System


@dataclass(frozen=True)
class LandauLifshitzGilbert(Integrator):
    """dS/dt = S x (F + b) - alpha S x (S x F),   F = -dOmega/dS,   <b_a(t) b_c(t')> = 2 alpha kT delta_ac delta(t - t')

    ======  ================  ==============================================================================
    symbol  variable          meaning
    ======  ================  ==============================================================================
    S       state.x           unit vectors; a spin's angular momentum is 1, so that fields are frequencies
    F       state.f           field of each spin [energy]
    alpha   damping           [1]; 0 leaves precession alone, whatever the temperature
    b       noise             isotropic, in the sense of Stratonovich
    ======  ================  ==============================================================================

    Precession moves spins along surfaces of equal energy, the damping moves them down at the rate alpha, and S x b is
    Brownian motion on the sphere with the diffusion constant alpha kT: the probability current alpha F_t P - alpha kT grad P,
    with F_t the field across S, vanishes for P proportional to exp(-Omega/kT). Noise in the damping term as well would be
    the same process with alpha kT/(1 + alpha^2) in the place of alpha kT.

    One step is D(dt/2) B(dt) D*(dt/2): half a step of precession and damping with the field at its start, the exact Brownian
    rotation of a step, and half a step with the field at its end, which is found by one guess. Every piece is a rotation
    S' = S + (S + S')/2 x w, so lengths stay 1. The composition is symmetric up to the error of the guess: stationary averages
    are of second order in dt, and so is the energy without bath. Precession depends on nothing but the field across the
    spin, so dt is limited by how fast spins turn and not by how strongly electrons are tied to them.

    The heat is minus the work of the field along damping and noise, the latter by the trapezoidal rule:
    free energy - heat is conserved to first order in dt. `friction` plays no part.

    Cost: two force evaluations per step, one at the guess.

    References: Landau and Lifshitz, Phys. Z. Sowjetunion 8, 153 (1935); Gilbert, doi:10.1109/TMAG.2004.836740; Brown,
    doi:10.1103/PhysRev.130.1677 (noise); Mentink et al., doi:10.1088/0953-8984/22/17/176001 (schemes that keep the length).
    """

    damping: float = parameter(0.1, doc="damping alpha of the spins", ge=0)

    motion: ClassVar[Motion] = Motion.SPIN
    momenta: ClassVar[bool] = False
    _buffers: dict[str, Array] = field(init=False, default_factory=dict, repr=False, compare=False)

    def step(self, state: State, system: System) -> None:
        """First half with noise, the field at the guess, second half, the field where it arrived."""
        kernels, buffers, half = kernels_for(state.x), self._buffers, 0.5 * self.dt
        if "base" not in buffers or buffers["base"].shape != state.x.shape:
            buffers.update(base=np.empty_like(state.x), moved=np.empty_like(state.x))
        heat, share = state.thermostat["heat"], system.share
        noise = (self.seed, int(Stream.SPINS), state.step, self.first_replica)
        amplitude = thermal_rotation(2.0 * self.damping * self.temperature(state.step) * self.dt)
        kernels.spins_first_half(
            state.x, state.f, half, self.damping, amplitude, noise, buffers["base"], buffers["moved"], heat, share
        )
        system.update_forces(state, state.step + 1)
        kernels.spins_second_half(state.x, state.f, half, self.damping, buffers["base"], buffers["moved"], heat, share)
        system.update_forces(state, state.step + 1)
        state.step += 1

    def isolated(self, dt: float) -> Integrator:
        """Precession alone: no damping, and with it no noise."""
        return dataclasses.replace(self, dt=dt, temperature=COLD, damping=0.0)

    @property
    def reversible(self) -> bool:
        """False: one guess in the place of the field at the end leads back up to third order in dt only."""
        return False


def thermal_rotation(variance: float) -> float:
    """Standard deviation of each component of the rotation that stands for Brownian motion with this variance 2 D dt.

    Then <S'.S> = exp(-2 D dt) up to third order in the variance; turning by tangents in place of angles costs the second.
    """
    return math.sqrt(variance * (1.0 + 0.75 * variance))
