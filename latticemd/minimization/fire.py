"""FIRE: down the free energy to a configuration without forces, every replica at its own pace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for, on_host
from latticemd.errors import InputError
from latticemd.models.model import require_displacements
from latticemd.state import State
from latticemd.system import System

Array = NDArray[Any]


@dataclass(frozen=True)
class Fire:
    """Fast inertial relaxation: roll downhill, steer towards the force, stop and step back when it goes uphill.

    W = sum_a F_a p_a / m

    W >= 0:  dt <- min(1.1 dt, dt_max),  alpha <- 0.99 alpha
    W < 0:   dt <- 0.7 dt,  alpha <- alpha_0,  x <- x - dt p/2m,  p <- 0

    p <- p + dt F
    p <- (1 - alpha) p + alpha |p| F/|F|
    x <- x + dt p/m

    =================  ========================  ==========================  ==============
    symbol             name                      dimension                   value
    =================  ========================  ==========================  ==============
    max_a |F_a|        `force_tolerance`         energy/length               1e-6
    alpha_0            `mixing`                  1                           0.5
    dt at the start    `first_dt`                sqrt(m/K)                   0.7
    dt_max             `largest_dt`              sqrt(m/K)                   1.5
    dt, alpha          `state.thermostat`        time; 1                     per replica
    =================  ========================  ==========================  ==============

    K is the model's `largest_stiffness`. Where the Hamiltonian is linear in x, the electrons' free energy is a minimum over
    density matrices of functions linear in x, hence concave: they soften modes and never stiffen them, so no mode is
    faster than sqrt(K/m) and dt < 2 sqrt(m/K) keeps the motion stable. Elsewhere dt adapts.

    This is FIRE 2.0 with constants of our own and without its delay (of 20 downhill steps before dt may grow), which
    protects from a dt_max that is a guess; as published it needs two to three times the force calls here (docs/minimization.md).
    A replica is converged, and no longer moves, when no component of its force exceeds the tolerance. Everything that
    decides about the next step is in the state, where p is the momentum of the descent.

    Cost: one force evaluation per step for all replicas, converged ones included, and a few sweeps over memory. On a GPU a step
    waits for the device four times for each replica that moves, since a few numbers decide what it does.

    References: Bitzek et al., doi:10.1103/PhysRevLett.97.170201; Guenole et al., doi:10.1016/j.commatsci.2020.109584
    (semi-implicit Euler, the half step back).
    """

    force_tolerance: float = 1e-6
    mixing: float = 0.5
    first_dt: float = 0.7
    largest_dt: float = 1.5

    def __post_init__(self) -> None:
        if not 0.0 < self.force_tolerance < math.inf:
            raise InputError(f"force tolerance {self.force_tolerance:g}: expected a number > 0 [energy/length]")

    def begin(self, state: State, system: System) -> None:
        """Put the state at rest at step 0 and give it the variables of the descent."""
        replicas = state.replicas
        state.step = 0
        state.p.fill(0.0)
        state.thermostat = {
            "fire_dt": np.full(replicas, self.first_dt / system.stiffest_frequency()),
            "fire_alpha": np.full(replicas, self.mixing),
            "fire_steps": np.zeros(replicas, dtype=np.int64),
        }

    def converged(self, state: State) -> Array:
        """Whether no force exceeds the tolerance, (R,) booleans."""
        return largest_force(state) <= self.force_tolerance

    def step(self, state: State, system: System) -> None:
        """Move the replicas that are not converged, then evaluate forces and free energy where they arrived."""
        largest_dt = self.largest_dt / system.stiffest_frequency()
        # Squares overflow before the numbers do; the system stops the descent when those are no longer finite.
        with np.errstate(over="ignore", invalid="ignore"):
            for replica in np.flatnonzero(~self.converged(state)):
                self._move(state, int(replica), system.model.inertia(), largest_dt)
            state.step += 1
            system.update_forces(state, state.step)
            system.require_bounded(state)
            system.update_potential(state, state.step)
        # Those that have arrived are at rest, so that a state without forces is one without motion.
        for replica in np.flatnonzero(self.converged(state)):
            state.p[int(replica)] = 0.0

    def _move(self, state: State, replica: int, mass: float, largest_dt: float) -> None:
        one = slice(replica, replica + 1)  # not an index: kernels take (R, N, D)
        x, p, f = state.x[one], state.p[one], state.f[one]
        dt, alpha = (state.thermostat[name][replica] for name in ("fire_dt", "fire_alpha"))
        dot = kernels_for(x).dot
        if dot(f, p)[0] < 0.0:
            dt, alpha = 0.7 * dt, self.mixing
            x -= (0.5 * dt / mass) * p
            p.fill(0.0)
        else:
            dt, alpha = min(1.1 * dt, largest_dt), 0.99 * alpha
        p += dt * f
        steer = alpha * math.sqrt(dot(p, p)[0] / dot(f, f)[0])
        p *= 1.0 - alpha
        p += steer * f
        x += (dt / mass) * p
        state.thermostat["fire_dt"][replica] = dt
        state.thermostat["fire_alpha"][replica] = alpha
        state.thermostat["fire_steps"][replica] += 1


def minimize(
    state: State,
    system: System,
    fire: Fire,
    steps: int,
    watch: Callable[[State], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Move `state` down until all replicas are converged, the TOTAL number of steps is `steps`, or `stop()` is true.

    A state that comes from an earlier descent continues it; any other begins one, without the momenta it may have.
    `watch` sees the state at the start and after each step.

    The end is a point without forces. From a disordered start this is a LOCAL minimum, a pattern of domains whose walls are
    straight or pinned, and not the ground state; from a start with more symmetry than the minimum (all x equal, say) it
    has that symmetry and may be a saddle: give such a start some noise. Forces that are not the gradient of an energy may
    vanish nowhere; then `steps` ends the search.

    Raises Diverged when positions or forces are not finite, InputError when a parameter of the model is ramped or what it
    moves is no displacement.
    """
    require_displacements(system.model, "minimisation")
    if system.ramps:
        raise InputError(
            f"minimisation needs a free energy that stays as it is, but {', '.join(sorted(system.ramps))} is ramped; "
            "give the system a model with constant parameters"
        )
    if "fire_dt" not in state.thermostat:
        fire.begin(state, system)
    system.update_forces(state, state.step)
    system.update_potential(state, state.step)
    if watch:
        watch(state)
    while state.step < steps and not fire.converged(state).all() and not (stop and stop()):
        fire.step(state, system)
        if watch:
            watch(state)


def largest_force(state: State) -> Array:
    """max_a |F_a| of each replica, (R,) [energy/length]."""
    return on_host(np.abs(state.f).max(axis=(1, 2)))
