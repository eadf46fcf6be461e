"""Checks of the physics on the user's own input: does what this run relies on hold for these forces and this step?

Each check gives a number, the limit it must not exceed, and a verdict; checks that do not apply say why. All of them start
from the initial configuration of the input, with its first replica only, and take about 240 force evaluations together. They
compute where the input says, on a GPU as well.
The numbers come from `latticemd.measurements`, as those of `latticemd.testing` do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from latticemd.backends import kernels_for, on_host
from latticemd.build import build_first_replica, build_propagator, build_state, build_system, placed
from latticemd.config import RunInput
from latticemd.config.parallel_input import ParallelInput
from latticemd.errors import Diverged, InputError
from latticemd.integrators import Integrator, load_integrator
from latticemd.measurements.forces import (
    difference,
    gradient_error,
    internal_symmetry_error,
    symmetry_error,
    symmetry_generators,
)
from latticemd.measurements.motion import (
    EnergyRecord,
    order_in_dt,
    record_energy,
    restarted,
    reversal_error,
    state_difference,
    step_against_forces,
    step_symmetry_error,
)
from latticemd.models.model import Motion
from latticemd.output.summary import json_text, write_text_atomically
from latticemd.parallel.choosing import rim_of
from latticemd.parallel.comm import Alone
from latticemd.parallel.threads import on_ranks
from latticemd.propagator import Propagator
from latticemd.rng import Stream
from latticemd.simulation import Simulation, thermal_momenta
from latticemd.state import Array, State
from latticemd.system import System

DERIVATIVE_LIMIT = 1e-6  # relative; five-point differences with step 1e-3 reach 1e-8 with exact forces
SYMMETRY_LIMIT = 1e-9  # relative; exact methods keep symmetries to rounding,
SINGLE_LIMIT = 1e-6  # which is this in single precision
REVERSAL_LIMIT = 1e-9  # of x after DYNAMICS_STEPS forth and back
DRIFT_LIMIT = 0.1  # of the fluctuation of the kinetic energy over DRIFT_STEPS
BALANCE_LIMIT = 0.1  # of what a bath exchanges, or of the fluctuation of the kinetic energy, over DRIFT_STEPS
ORDER_SLACK = 0.4  # how far the measured order in dt may be from the expected one
RANKS_LIMIT = 1e-12  # of positions and momenta after RANK_STEPS on two blocks, in double precision
DYNAMICS_STEPS, DRIFT_STEPS, RANK_STEPS = 10, 60, 3
LEARNED_SYMMETRY_LIMIT = 1e-5  # of how far a learned step goes; networks compute in single precision
LEARNED_LIMIT = 0.5  # error of a learned step, of what straight motion misses
VERLET_STEPS = 400  # that a learned step is compared with
NO_ISOLATION = "the integrator has no motion without a bath"
PROBE_WIDTH = 0.01  # [length] of the noise on positions at which forces are checked


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the table: `value` must not exceed `limit`; `verdict` is pass, fail or skip, and `note` says why."""

    name: str
    verdict: str
    value: float | None = None
    limit: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A `Check` that doesn't know its name."""

    verdict: str
    value: float | None = None
    limit: float | None = None
    note: str = ""


def verify(run_input: RunInput) -> Iterator[Check]:
    """All checks, one after the other as they are done. Cost: about 240 force evaluations.

    Motion that diverges fails the check that met it; the others are still done.
    """
    bench = Bench(run_input)
    for name, measure in {**CHECKS, **(LEARNED_CHECKS if bench.learned else {})}.items():
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # of motion that is about to diverge
                outcome = measure(bench)
        except Diverged as error:
            outcome = Outcome("fail", note=str(error))
        yield Check(name, outcome.verdict, outcome.value, outcome.limit, outcome.note)


def require_table(path: Path) -> None:
    """Raise InputError unless `write_checks` knows what the name of this file ends in."""
    if path.suffix not in TABLES:
        raise InputError(f"{path}: expected a file name that ends in {' or '.join(TABLES)}")


def write_checks(path: Path, checks: Sequence[Check]) -> None:
    """Write the table as JSON, which `latticemd report` shows where it is RUN/verify.json, or in Markdown, by the file's ending."""
    require_table(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, TABLES[path.suffix](checks))


def _as_json(checks: Sequence[Check]) -> str:
    return json_text([dataclasses.asdict(check) for check in checks])


def _as_markdown(checks: Sequence[Check]) -> str:
    rows: list[tuple[str, ...]] = [("check", "value", "limit", "verdict", "note"), ("---",) * 5]
    for check in checks:
        numbers = ("" if number is None else f"{number:.2g}" for number in (check.value, check.limit))
        rows.append((check.name, *numbers, check.verdict, check.note.replace("|", "\\|")))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TABLES = {".json": _as_json, ".md": _as_markdown}


class Bench:
    """The first replica of an input, and fresh systems and simulations made from it."""

    def __init__(self, run_input: RunInput) -> None:
        if run_input.precision == "fp32":
            raise InputError(
                "verify measures to nine digits, and positions of precision: fp32 have seven; use --set precision=mixed"
            )
        alone = run_input.replicas.model_copy(update={"count": 1})
        self.run_input = run_input.model_copy(update={"replicas": alone})
        self.system = build_system(self.run_input)
        self.state = build_first_replica(run_input, self.system.model)
        self.integrator = build_propagator(self.run_input)

    @property
    def temperature(self) -> float:
        """kT of the bath at step 0; zero where there is none [energy]."""
        return self.integrator.temperature(0) if isinstance(self.integrator, Integrator) else 0.0

    @property
    def learned(self) -> bool:
        """Whether steps were learned instead of following forces."""
        return not isinstance(self.integrator, Integrator)

    @cached_property
    def x(self) -> Array:
        """Where forces are checked: the initial positions and a little noise, so that no start is too regular to tell."""
        return self.state.x + PROBE_WIDTH * self.noise(4)

    def forces(self, x: Array) -> tuple[Array, Array]:
        """Total force (1, N, D) and free energy (1,) at x."""
        state = placed(self.run_input, State.at_rest(x))
        self.system.update_forces(state, 0)
        self.system.update_potential(state, 0)
        return on_host(state.f), on_host(state.potential)

    def noise(self, occurrence: int) -> Array:
        """Standard normals shaped like x."""
        out = np.empty_like(self.state.x)
        kernels_for(out).normals(0, int(Stream.CHECKS), occurrence, 0, 0, out)
        return out

    def started(self, state: State) -> Simulation:
        """The input's own simulation of a state, with objects of its own."""
        return self.simulation(build_system(self.run_input), build_propagator(self.run_input), state)

    def simulation(self, system: System, mover: Propagator, state: State) -> Simulation:
        """One where the input computes."""
        return Simulation(system, mover, placed(self.run_input, state))

    def moving(self) -> State:
        """The start, with momenta of temperature 0.1 where it has none: what a step is judged on."""
        state = self.state.copy()
        if not state.p.any():
            state.p[...] = thermal_momenta(self.noise(1), self.system.model.site_masses(), 0.1)
        return state

    def isolated(self, division: int = 1) -> Simulation | None:
        """A simulation without bath or ramps and with the step dt/division; None if there is no motion without a bath.

        It starts from the initial positions, where momenta move with those of temperature 0.1 or more.
        """
        cold = self.integrator.isolated(self.integrator.dt / division)
        if cold is None:
            return None
        state = self.state.copy()
        model = self.system.model
        if cold.momenta:
            state.p[...] = thermal_momenta(self.noise(1), model.site_masses(), max(self.temperature, 0.1))
        return self.simulation(build_system(self.run_input, ramped=False), cold, state)

    def fluctuation(self, record: EnergyRecord) -> float:
        """Of the kinetic energy in time; of spins, which have none, the thermal one of their energy, kT sqrt(N) [energy]."""
        if self.integrator.motion is not Motion.SPIN:
            return record.fluctuation
        temperature = self.temperature or self.system.model.electronic_temperature
        return float(temperature * np.sqrt(self.system.model.lattice.sites))

    def refinement(self, division: int) -> EnergyRecord | None:
        """Energies of the isolated motion with step dt/division over DYNAMICS_STEPS dt, at the same times for all."""
        simulation = self.isolated(division)
        return None if simulation is None else record_energy(simulation, DYNAMICS_STEPS, division)


def force_is_the_gradient(bench: Bench) -> Outcome:
    """F . d = -dOmega/dh along a random direction d, by five-point differences."""
    capabilities = bench.system.capabilities
    if not capabilities.energy:
        return Outcome("skip", note="this force field gives no energy")
    if not capabilities.conservative:
        return Outcome("skip", note="this force field says that it is not conservative")
    return _judge(gradient_error(bench.forces, bench.x, bench.noise(0)), DERIVATIVE_LIMIT, "relative")


def _symmetry_limit(bench: Bench) -> float:
    return SINGLE_LIMIT if bench.system.capabilities.single else SYMMETRY_LIMIT


def lattice_symmetries(bench: Bench) -> Outcome:
    """Force and energy follow operations that generate the space group of the model."""
    model = bench.system.model
    operations = symmetry_generators(model)
    measured = symmetry_error(bench.forces, model, operations, bench.x)
    if measured is None:
        return Outcome("skip", note="the model does not say how the components of a site turn with the lattice")
    return _judge(measured[0], _symmetry_limit(bench), f"{len(operations)} generators; worst: {measured[1]}")


def internal_symmetries(bench: Bench) -> Outcome:
    """x -> factor x takes the force to factor force, for every internal symmetry the model declares."""
    measured = internal_symmetry_error(bench.forces, bench.system.model, bench.x)
    if measured is None:
        return Outcome("skip", note="the model has none for these parameters")
    return _judge(measured[0], _symmetry_limit(bench), f"worst: {measured[1]}")


def repeated_call(bench: Bench) -> Outcome:
    """The same positions give the same bytes, after other positions were asked for in between."""
    if not bench.system.capabilities.deterministic:
        return Outcome("skip", note="this force field says that it is not deterministic")
    first, _ = bench.forces(bench.x)
    bench.forces(bench.noise(2))
    again, _ = bench.forces(bench.x)
    return _same(first, again)


def replicas(bench: Bench) -> Outcome:
    """A replica has the same force alone and beside another one."""
    if not bench.system.capabilities.deterministic:
        return Outcome("skip", note="this force field says that it is not deterministic")
    x = np.concatenate([bench.noise(3), bench.x])
    system = build_system(bench.run_input, replicas=2, ramped=False)
    pair = placed(bench.run_input, State.at_rest(x))
    system.update_forces(pair, 0)
    return _same(bench.forces(bench.x)[0][0], on_host(pair.f)[1])


def ranks(bench: Bench) -> Outcome:
    """Two blocks of the lattice, each with the rim that the force field asks for, move as the whole lattice does."""
    if not bench.system.capabilities.deterministic:
        return Outcome("skip", note="this force field says that it is not deterministic")
    if bench.run_input.backend == "cuda":
        return Outcome("skip", note="a GPU has the whole lattice")
    run_input = bench.run_input.model_copy(update={"parallel": ParallelInput()})
    if rim_of(bench.system.model, bench.system.forcefield) is None:
        return Outcome("skip", note="forces need all sites: ranks share replicas alone")

    def moved(world: Alone) -> State | None:
        system = build_system(run_input, world=world)
        state = build_state(run_input, system.model, system.share)
        Simulation(system, build_propagator(run_input, system.share), state).run(RANK_STEPS)
        x, p = system.share.gathered(state.x), system.share.gathered(state.p)
        return None if x is None or p is None else State(x, p, np.zeros_like(x), np.zeros(len(x)))

    try:
        parts = on_ranks(2, moved)[0]
    except InputError as error:
        return Outcome("skip", note=str(error))
    whole = moved(Alone())
    if whole is None or parts is None:
        raise AssertionError("the first rank gathers everything")
    # Networks sum up in another order where tiles are cut otherwise.
    limit = SINGLE_LIMIT if bench.system.capabilities.single else RANKS_LIMIT
    return _judge(state_difference(whole, parts), limit, f"after {RANK_STEPS} steps; 0 where bytes are the same")


def restart(bench: Bench) -> Outcome:
    """2 steps, a checkpoint on disk, and 2 more steps in new objects equal 4 steps, thermostat variables included."""
    if not bench.system.capabilities.deterministic:
        return Outcome("skip", note="this force field says that it is not deterministic")
    whole, parts = restarted(bench.started, bench.state, 2, 4)
    verdict = "pass" if whole.digest() == parts.digest() else "fail"
    return Outcome(verdict, state_difference(whole, parts), 0.0, "largest difference")


def reversibility(bench: Bench) -> Outcome:
    """Without bath, flipping the momenta leads back."""
    simulation = bench.isolated()
    if simulation is None:
        return Outcome("skip", note=NO_ISOLATION)
    if not bench.integrator.reversible:
        return Outcome("skip", note="the integrator says that it is not reversible")
    note = f"{DYNAMICS_STEPS} steps forth and back [length]"
    return _judge(reversal_error(simulation, DYNAMICS_STEPS), REVERSAL_LIMIT, note)


def order_of_the_energy_error(bench: Bench) -> Outcome:
    """Without bath, halving dt divides the energy error by 2^order: 4 for palindromic words, 2 for others.

    Spins may be better than their order while errors of the next one outweigh it.
    """
    if not bench.system.capabilities.conservative:
        return Outcome("skip", note="forces that are no gradient conserve no energy, whatever dt; see the drift")
    expected = bench.integrator.order
    # The input's own dt may be too large for the asymptotic law.
    coarse, fine = bench.refinement(2), bench.refinement(4)
    if coarse is None or fine is None:
        return Outcome("skip", note=NO_ISOLATION)
    order = order_in_dt(coarse, fine)
    if order is None:
        return Outcome("pass", note=f"the error is rounding: {fine.deviation:.1e} [energy]")
    off = expected - order if bench.integrator.motion is Motion.SPIN else abs(order - expected)
    return _judge(max(off, 0.0), ORDER_SLACK, f"measured {order:.2f}, expected {expected}")


def energy_drift(bench: Bench) -> Outcome:
    """Without bath, the trend of the energy over the run is small against the fluctuation of the kinetic energy."""
    if not bench.system.capabilities.energy:
        return Outcome("skip", note="this force field gives no energy")
    simulation = bench.isolated()
    if simulation is None:
        return Outcome("skip", note=NO_ISOLATION)
    record = record_energy(simulation, DRIFT_STEPS)
    trend = abs(record.slope) * float(record.time[-1])
    note = f"slope {record.slope:.1e} [energy/time] over {DRIFT_STEPS} steps without bath"
    return _judge(trend / bench.fluctuation(record), DRIFT_LIMIT, note)


def balance_with_the_bath(bench: Bench) -> Outcome:
    """With bath, free energy + kinetic energy - heat stays where it was, against what is exchanged meanwhile.

    The scale is the heat of the first DYNAMICS_STEPS or, where that is more, the fluctuation of the kinetic energy. Later
    heat doesn't count: overdamped motion accounts for the work along its path by the trapezoidal rule, which is exact in
    harmonic wells, so an unstable run would hide a growing error behind a heat that grows faster.
    """
    if not bench.system.capabilities.energy:
        return Outcome("skip", note="this force field gives no energy")
    if bench.system.ramps:
        return Outcome("skip", note="ramps of the model do work that no heat accounts for")
    if bench.learned:
        return Outcome("skip", note="a learned step conserves energy as well as it is right, see below")
    record = record_energy(bench.started(bench.state.copy()), DRIFT_STEPS)
    exchanged = record.exchanged(DYNAMICS_STEPS)
    scale = max(exchanged, bench.fluctuation(record))
    if scale == 0.0:
        return Outcome("skip", note="nothing moves: no heat, no kinetic energy")
    note = f"error {record.deviation:.1e} over {DRIFT_STEPS} steps, heat {exchanged:.1e} in the first {DYNAMICS_STEPS} [energy]"
    return _judge(record.deviation / scale, BALANCE_LIMIT, note)


def symmetries_of_the_step(bench: Bench) -> Outcome:
    """A learned step from a state that is shifted, turned or mirrored ends shifted, turned or mirrored."""
    measured = step_symmetry_error(bench.started, bench.moving())
    if measured is None:
        return Outcome("skip", note="the model has none for these parameters")
    return _judge(measured[0], LEARNED_SYMMETRY_LIMIT, f"worst: {measured[1]}")


def step_follows_the_forces(bench: Bench) -> Outcome:
    """A learned step ends where many small ones under the force field do, against where straight motion ends."""
    state = bench.moving()
    small = load_integrator("verlet")(dt=bench.integrator.dt / VERLET_STEPS)
    reference = bench.simulation(build_system(bench.run_input), small, state.copy())
    error, straight = step_against_forces(bench.started(state), reference, VERLET_STEPS)
    note = f"rms error {error:.1e}, of straight motion {straight:.1e} [length]"
    return _judge(error / straight if straight else error, LEARNED_LIMIT, note)


CHECKS: dict[str, Callable[[Bench], Outcome]] = {
    "force = -d(free energy)/dx": force_is_the_gradient,
    "lattice symmetries": lattice_symmetries,
    "internal symmetries": internal_symmetries,
    "same call, same bytes": repeated_call,
    "replica alone = replica in a batch": replicas,
    "one rank = many ranks": ranks,
    "restart = uninterrupted run": restart,
    "reversibility without bath": reversibility,
    "order of the energy error in dt": order_of_the_energy_error,
    "energy drift / kinetic fluctuation": energy_drift,
    "energy balance with the bath": balance_with_the_bath,
}

LEARNED_CHECKS: dict[str, Callable[[Bench], Outcome]] = {  # of propagators that follow no forces
    "symmetries of a learned step": symmetries_of_the_step,
    "learned step = many small ones": step_follows_the_forces,
}


def _judge(value: float, limit: float, note: str) -> Outcome:
    if not np.isfinite(value):  # for which JSON has no word
        return Outcome("fail", None, limit, f"not finite: {note}")
    return Outcome("pass" if value <= limit else "fail", value, limit, note)


def _same(one: Array, other: Array) -> Outcome:
    equal = one.tobytes() == other.tobytes()
    return Outcome("pass" if equal else "fail", difference(one, other), 0.0, "largest difference")
