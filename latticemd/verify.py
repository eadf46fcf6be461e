"""Checks of the physics on the user's own input: does what this run relies on hold for these forces and this step?

Each check gives a number, the limit it must not exceed, and a verdict; checks that do not apply say why. All of them start
from the initial configuration of the input, with its first replica only, and take about 180 force evaluations together.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latticemd.backends import kernels_for
from latticemd.build import build_first_replica, build_forcefield, build_integrator, build_system
from latticemd.config import RunInput
from latticemd.lattice import Symmetry
from latticemd.output.checkpoint import read_checkpoint, write_checkpoint
from latticemd.rng import Stream
from latticemd.simulation import Simulation, thermal_momenta
from latticemd.state import Array, State
from latticemd.system import System

DERIVATIVE_LIMIT = 1e-6  # relative; five-point differences with step 1e-3 reach 1e-8 with exact forces
SYMMETRY_LIMIT = 1e-9  # relative; exact methods keep symmetries to rounding
REVERSAL_LIMIT = 1e-9  # of x after DYNAMICS_STEPS forth and back
DRIFT_LIMIT = 0.1  # of the fluctuation of the kinetic energy over DRIFT_STEPS
ORDER_SLACK = 0.4  # how far the measured order in dt may be from the expected one
DYNAMICS_STEPS, DRIFT_STEPS = 10, 60


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the table: `value` must not exceed `limit`; `verdict` is pass, fail or skip, and `note` says why."""

    name: str
    verdict: str
    value: float | None = None
    limit: float | None = None
    note: str = ""


def verify(run_input: RunInput) -> Iterator[Check]:
    """All checks, one after the other as they are done. Cost: about 180 force evaluations."""
    bench = Bench(run_input)
    for check in (
        force_is_the_gradient,
        lattice_symmetries,
        internal_symmetries,
        repeated_call,
        replicas,
        restart,
        reversibility,
        order_in_dt,
        energy_drift,
    ):
        yield check(bench)


class Bench:
    """The first replica of an input, and fresh systems and simulations made from it."""

    def __init__(self, run_input: RunInput) -> None:
        alone = run_input.replicas.model_copy(update={"count": 1})
        self.run_input = run_input.model_copy(update={"replicas": alone})
        self.system = build_system(self.run_input)
        self.state = build_first_replica(run_input, self.system.model)
        self.integrator = build_integrator(self.run_input)

    def forces(self, x: Array) -> tuple[Array, Array]:
        """Total force (1, N, D) and free energy (1,) at x."""
        state = State.at_rest(x)
        self.system.update_forces(state, 0)
        self.system.update_potential(state, 0)
        return state.f, state.potential

    def noise(self, occurrence: int) -> Array:
        """Standard normals shaped like x."""
        out = np.empty_like(self.state.x)
        kernels_for(out).normals(0, int(Stream.CHECKS), occurrence, 0, 0, out)
        return out

    def isolated(self, division: int = 1) -> Simulation | None:
        """A simulation without bath or ramps and with the step dt/division; None if there is no motion without a bath.

        It starts from the initial positions with momenta of temperature 0.1 or more.
        """
        cold = self.integrator.isolated(self.integrator.dt / division)
        if cold is None:
            return None
        state = self.state.copy()
        model = self.system.model
        state.p[...] = thermal_momenta(self.noise(1), model.inertia(), max(self.integrator.temperature(0), 0.1))
        return Simulation(System(model, build_forcefield(self.run_input), 1), cold, state)


def force_is_the_gradient(bench: Bench) -> Check:
    """F . d = -dOmega/dh along a random direction d, by five-point differences."""
    name = "force = -d(free energy)/dx"
    capabilities = bench.system.capabilities
    if not capabilities.energy:
        return Check(name, "skip", note="this force field gives no energy")
    if not capabilities.conservative:
        return Check(name, "skip", note="this force field says that it is not conservative")
    direction, h = bench.noise(0), 1e-3
    forces, _ = bench.forces(bench.state.x)
    energy = [bench.forces(bench.state.x + n * h * direction)[1][0] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    # Scaled by the size of the force, since the projection on one direction can vanish by chance.
    scale = float(np.linalg.norm(forces) * np.linalg.norm(direction) / np.sqrt(direction.size))
    return _judge(name, abs(float(np.vdot(forces, direction)) + derivative) / scale, DERIVATIVE_LIMIT, "relative")


def lattice_symmetries(bench: Bench) -> Check:
    """The force follows every point operation and the primitive translations, which generate the space group."""
    lattice = bench.system.model.lattice
    name = "lattice symmetries of the force"
    if bench.system.model.components != 1:
        return Check(name, "skip", note="only models with one scalar per site are checked yet")
    translations = [
        Symmetry(f"translation {step.tolist()}", lattice.site(lattice.cells + step), np.eye(lattice.dimensions))
        for step in np.eye(lattice.dimensions, dtype=int)
    ]
    operations = [*bench.system.model.symmetries(translations=False), *translations]
    forces, _ = bench.forces(bench.state.x)
    worst, culprit = 0.0, ""
    for operation in operations:
        image = np.empty_like(bench.state.x)
        image[:, operation.permutation] = bench.state.x
        error = _relative(bench.forces(image)[0][:, operation.permutation], forces)
        if error >= worst:
            worst, culprit = error, operation.name
    return _judge(name, worst, SYMMETRY_LIMIT, f"{len(operations)} generators; worst: {culprit}")


def internal_symmetries(bench: Bench) -> Check:
    """x -> factor x takes the force to factor force, for every internal symmetry the model declares."""
    name = "internal symmetries of the force"
    symmetries = bench.system.model.internal_symmetries()
    if not symmetries:
        return Check(name, "skip", note="the model has none for these parameters")
    forces, _ = bench.forces(bench.state.x)
    errors = [_relative(bench.forces(s.factor * bench.state.x)[0], s.factor * forces) for s in symmetries]
    return _judge(name, max(errors), SYMMETRY_LIMIT, ", ".join(s.name for s in symmetries))


def repeated_call(bench: Bench) -> Check:
    """The same positions give the same bytes, after other positions were asked for in between."""
    first, _ = bench.forces(bench.state.x)
    bench.forces(bench.noise(2))
    again, _ = bench.forces(bench.state.x)
    return _same("same call, same bytes", first, again)


def replicas(bench: Bench) -> Check:
    """A replica has the same force alone and beside another one."""
    x = np.concatenate([bench.noise(3), bench.state.x])
    system = System(bench.system.model, build_forcefield(bench.run_input), 2)
    pair = State.at_rest(x)
    system.update_forces(pair, 0)
    return _same("replica alone = replica in a batch", bench.forces(bench.state.x)[0][0], pair.f[1])


def restart(bench: Bench) -> Check:
    """n steps, a checkpoint on disk, and n more steps in new objects equal 2n steps."""

    def run(state: State, steps: int) -> State:
        simulation = Simulation(build_system(bench.run_input), build_integrator(bench.run_input), state)
        simulation.run(steps)
        return simulation.state

    whole = run(bench.state.copy(), 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.h5"
        write_checkpoint(path, run(bench.state.copy(), 2), {})
        parts = run(read_checkpoint(path)[0], 4)
    return _same("restart = uninterrupted run", np.stack([whole.x, whole.p]), np.stack([parts.x, parts.p]))


def reversibility(bench: Bench) -> Check:
    """Without bath, flipping the momenta leads back."""
    name = "reversibility without bath"
    simulation = bench.isolated()
    if simulation is None:
        return Check(name, "skip", note="overdamped motion has no way back")
    if not bench.integrator.reversible:
        return Check(name, "skip", note="the word is no palindrome")
    simulation.run(DYNAMICS_STEPS)
    simulation.state.p *= -1.0
    simulation.run(2 * DYNAMICS_STEPS)
    error = float(np.abs(simulation.state.x - bench.state.x).max())
    return _judge(name, error, REVERSAL_LIMIT, f"{DYNAMICS_STEPS} steps forth and back [length]")


def order_in_dt(bench: Bench) -> Check:
    """Without bath, halving dt divides the energy error by 2^order: 4 for palindromic words, 2 for others."""
    name = "order of the energy error in dt"
    expected, errors = bench.integrator.order, []
    for division in (2, 4):  # the input's own dt may be too large for the asymptotic law
        simulation = bench.isolated(division)
        if simulation is None:
            return Check(name, "skip", note="overdamped motion conserves no energy")
        start = simulation.frame().conserved_energy[0]
        deviations = []
        for n in range(1, DYNAMICS_STEPS + 1):
            simulation.run(n * division)
            deviations.append(simulation.frame().conserved_energy[0] - start)
        errors.append(float(np.sqrt(np.mean(np.square(deviations)))))
    if errors[1] < 1e-11 * max(1.0, abs(float(start))):
        return Check(name, "pass", note=f"the error is rounding: {errors[1]:.1e} [energy]")
    order = float(np.log2(errors[0] / errors[1]))
    return _judge(name, abs(order - expected), ORDER_SLACK, f"measured {order:.2f}, expected {expected}")


def energy_drift(bench: Bench) -> Check:
    """Without bath, the trend of the energy over the run is small against the fluctuation of the kinetic energy."""
    name = "energy drift / kinetic fluctuation"
    simulation = bench.isolated()
    if simulation is None:
        return Check(name, "skip", note="overdamped motion conserves no energy")
    total, kinetic = [], []
    for n in range(DRIFT_STEPS):
        simulation.run(n)
        frame = simulation.frame()
        total.append(frame.conserved_energy[0])
        kinetic.append(frame.kinetic_energy[0])
    trend = abs(float(np.polyfit(np.arange(DRIFT_STEPS), total, 1)[0])) * DRIFT_STEPS
    return _judge(name, trend / float(np.std(kinetic)), DRIFT_LIMIT, f"over {DRIFT_STEPS} steps without bath")


def _relative(value: Array, reference: Array) -> float:
    return float(np.abs(value - reference).max() / np.abs(reference).max())


def _judge(name: str, value: float, limit: float, note: str) -> Check:
    return Check(name, "pass" if value <= limit else "fail", value, limit, note)


def _same(name: str, one: Array, other: Array) -> Check:
    equal = one.tobytes() == other.tobytes()
    return Check(name, "pass" if equal else "fail", float(np.abs(one - other).max()), 0.0, "largest difference")
