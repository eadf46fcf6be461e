"""Checks of an integrator: restart, replicas, noise, energy, reversibility, exact motion where it is known.

`make` makes an integrator from `dt`, `temperature`, `friction`, `seed` and `first_replica`, as the class of a plug-in or
`load_integrator(word)` does; parameters of its own are bound beforehand with `functools.partial`. It moves a small lattice
with warm, hence smooth, electrons, solved by `DenseElectrons`: of the Holstein model, or one with its kind of motion.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from latticemd.forcefield import Array
from latticemd.integrators.integrator import Integrator
from latticemd.lattice import Lattice
from latticemd.measurements.motion import order_in_dt, record_energy, restarted, reversal_error, state_difference
from latticemd.models.double_exchange import DoubleExchange
from latticemd.models.falicov_kimball import FalicovKimball
from latticemd.models.holstein import Holstein
from latticemd.models.model import Model, Motion
from latticemd.ramps import Ramp
from latticemd.simulation import Simulation
from latticemd.state import State
from latticemd.system import System
from latticemd.testing.outcome import Skipped, require, require_within, run_all
from latticemd.testing.reference import DenseElectrons

Make = Callable[..., Integrator]
SEED = 11
MOBILE = 2.0  # friction [mass/time] at which overdamped oscillators relax about as fast as others turn
SIDE = 4  # sites per direction of the lattice that is moved
# Time steps of a model whose variables hop, in units of dt: in so many, something moves.
HOPPING = 20.0
COUPLING = {  # what is ramped
    Motion.DISPLACEMENT: "coupling",
    Motion.SPIN: "coupling",
    Motion.OCCUPATION: "interaction",
}
NO_ISOLATION = "the integrator has no motion without a bath"


def check_integrator(
    make: Make, *, dt: float = 0.05, balance: float = 0.05, reversal: float = 1e-10, slack: float = 0.3
) -> dict[str, str]:
    """Run INTEGRATOR_CHECKS; returns those that do not apply with the reason, raises one AssertionError for all that fail.

    `dt` is a time step at which motion with frequency 1 and friction 1 is well resolved; those that move occupations are
    given HOPPING dt, in which some of 32 pairs of neighbours must change places. `balance` is the tolerance of the energy
    balance, relative to the heat; `reversal` that of the way back [length]; `slack` that of orders in dt.
    Cost: about 1500 steps of 16 sites, half a second for common schemes.
    """
    options: dict[str, dict[str, float]] = {
        "assert_energy_order": {"slack": slack},
        "assert_balance": {"tolerance": balance},
        "assert_reversible": {"tolerance": reversal},
        "assert_exact_motion": {"slack": slack},
    }
    checks = {
        check.__name__: functools.partial(check, make, dt=dt, **options.get(check.__name__, {}))
        for check in INTEGRATOR_CHECKS
    }
    return run_all(type(make(dt=dt, temperature=Ramp.constant(0.3))).__name__, checks)


def assert_counts_steps(make: Make, *, dt: float = 0.05) -> Skipped:
    """One call of `step` is one step: state.step grows by one, x moves, everything stays finite."""
    run = _simulation(make, dt)
    for n in range(1, 4):
        before = run.state.copy()
        run.integrator.step(run.state, run.system)
        require(run.state.step == n, f"state.step is {run.state.step} after {n} calls of step")
        require(bool(np.abs(run.state.x - before.x).max() > 0.0), f"positions did not move in step {n}")
        for name, value in _variables(run.state).items():
            require(bool(np.isfinite(value).all()), f"{name} is not finite after {n} steps")
    return None


def assert_restarts(make: Make, *, dt: float = 0.05) -> Skipped:
    """A run that goes through a checkpoint file at step 3 has the bytes of an uninterrupted one at step 8."""
    state = _start(_motion(make, dt), replicas=2)
    whole, parts = restarted(lambda state: _simulation(make, dt, state), state, 3, 8)
    _require_same(whole, parts, "after a restart")
    return None


def assert_follows_ramps(make: Make, *, dt: float = 0.05) -> Skipped:
    """Under ramps of temperature and coupling, an integrator that joins at step 4 continues as one that was there from the start.

    Also in the middle of another run of its own: settings are functions of the step, not of how often `step` was called.
    """
    ramp, coupling = Ramp.linear(0.2, 1.0, 0, 8), {_coupling(make, dt): Ramp.linear(1.0, 2.0, 2, 7)}
    veteran = _simulation(make, dt, temperature=ramp, ramps=coupling)
    veteran.run(4)
    middle = veteran.state.copy()
    veteran.run(8)
    recruit = _simulation(make, dt, middle.copy(), temperature=ramp, ramps=coupling)
    recruit.run(8)
    _require_same(veteran.state, recruit.state, "joining at step 4 of a ramp")
    again = Simulation(veteran.system, veteran.integrator, middle.copy())
    again.run(8)
    _require_same(veteran.state, again.state, "going from step 4 a second time")
    return None


def assert_replicas_are_independent(make: Make, *, dt: float = 0.05) -> Skipped:
    """A replica moves with the same bytes alone and in a batch, given its number as `first_replica`."""
    state = _start(_motion(make, dt), replicas=3)
    batch = _simulation(make, dt, state.copy())
    batch.run(6)
    for r in range(3):
        part = State(state.x[r : r + 1], state.p[r : r + 1], state.f[r : r + 1], state.potential[r : r + 1]).copy()
        alone = _simulation(make, dt, part, first_replica=r)
        alone.run(6)
        for name, value in _variables(alone.state).items():
            other = _variables(batch.state)[name][r : r + 1]
            require(
                value.tobytes() == other.tobytes(),
                f"{name} of replica {r} differs by {np.abs(value - other).max():.2e} alone and in a batch of 3",
            )
    return None


def assert_may_be_watched(make: Make, *, dt: float = 0.05) -> Skipped:
    """Asking every frame for forces and energies does not change the run."""
    watched, alone = _simulation(make, dt), _simulation(make, dt)
    for _ in range(6):
        watched.integrator.step(watched.state, watched.system)
        frame = watched.frame()
        for value in (frame.force, frame.density, frame.conserved_energy, frame.kinetic_energy):
            require(bool(np.isfinite(value).all()), "a frame shows numbers that are not finite")
    alone.run(6)
    _require_same(alone.state, watched.state, "when it is watched")
    return None


def assert_seeds_matter(make: Make, *, dt: float = 0.05) -> Skipped:
    """The same seed gives the same bytes; if replicas have noise of their own, another seed gives other bytes."""
    first, again, other_seed, other_replica = (
        _simulation(make, dt),
        _simulation(make, dt),
        _simulation(make, dt, seed=SEED + 1),
        _simulation(make, dt, first_replica=1),
    )
    for run in (first, again, other_seed, other_replica):
        run.run(4)
    _require_same(first.state, again.state, "with the same seed")
    seeded, counted = (run.state.digest() != first.state.digest() for run in (other_seed, other_replica))
    if not seeded and not counted:
        return "the integrator draws no noise"
    require(seeded, f"seeds {SEED} and {SEED + 1} give the same noise")
    require(counted, "replicas 0 and 1 have the same noise")
    return None


def assert_forces_are_current(make: Make, *, dt: float = 0.05) -> Skipped:
    """If `forces_current`, state.f after a step is the force at state.x with the parameters of state.step, to the byte."""
    ramps = {_coupling(make, dt): Ramp.linear(1.0, 2.0, 0, 5)}
    run = _simulation(make, dt, ramps=ramps)
    if not run.integrator.forces_current:
        return "the integrator says that its forces lag behind"
    fresh = System(run.system.model, DenseElectrons(), 1, ramps)
    for _ in range(3):
        run.integrator.step(run.state, run.system)
        expected = State.at_rest(run.state.x)
        fresh.update_forces(expected, run.state.step)
        require(
            expected.f.tobytes() == run.state.f.tobytes(),
            f"state.f differs by {np.abs(expected.f - run.state.f).max():.2e} from the force at state.x and state.step",
        )
    return None


def assert_energy_order(make: Make, *, dt: float = 0.05, slack: float = 0.3) -> Skipped:
    """Without bath, halving dt divides the error of the conserved energy by 2^order."""
    records = []
    for division in (1, 2):
        run = _isolated(make, dt / division)
        if run is None:
            return NO_ISOLATION
        records.append(record_energy(run, 20, division))
    measured, expected = order_in_dt(*records), make(dt=dt).order
    require(
        measured is not None and measured >= expected - slack,
        f"energy errors {records[0].deviation:.2e} and {records[1].deviation:.2e} at dt = {dt:g} and half of it: order "
        f"{np.nan if measured is None else measured:.2f}, expected {expected}",
    )
    return None


def assert_balance(make: Make, *, dt: float = 0.05, tolerance: float = 0.05) -> Skipped:
    """With bath, free energy + kinetic energy - heat is conserved better the smaller dt is, and well against the heat.

    Where no heat is exchanged, the fluctuation of the kinetic energy takes its place.
    """
    errors = []
    for division in (1, 4):
        record = record_energy(_simulation(make, dt / division, _start(_motion(make, dt), replicas=4)), 40, division)
        errors.append(record.deviation / max(record.exchanged(), record.fluctuation))
    require_within(errors[0], tolerance, f"error of the energy balance at dt = {dt:g}, relative to the heat")
    require_within(errors[1], max(errors[0] / 2, 1e-10), f"the same at dt = {dt / 4:g}, against half of that at {dt:g}")
    return None


def assert_reversible(make: Make, *, dt: float = 0.05, tolerance: float = 1e-10) -> Skipped:
    """Without bath, flipping the momenta leads back, if the integrator is `reversible`."""
    run = _isolated(make, dt)
    if run is None:
        return NO_ISOLATION
    if not run.integrator.reversible:
        return "the integrator says that it is not reversible"
    require_within(reversal_error(run, 20), tolerance, "distance from the start after 20 steps forth and back")
    return None


def assert_exact_motion(make: Make, *, dt: float = 0.05, slack: float = 0.3) -> Skipped:
    """Independent oscillators follow their exact trajectory, with an error of at most 2 dt that falls as dt^order.

    x(t) = cos(wt) x + sin(wt) p/(m w) without bath; x(t) = exp(-k t/gamma) x where momenta do not move and kT = 0. Spins
    turn about a field along z: S_x + i S_y goes as exp(-iwt).
    """
    if _motion(make, dt) is Motion.SPIN:
        return _assert_exact_precession(make, dt, slack)
    if make(dt=dt).motion is Motion.OCCUPATION:
        return "what it moves is neither displacement nor spin, so that it knows no exact motion"
    errors, moving = [], make(dt=dt).momenta
    for division in (1, 2):
        run = _oscillators(make, dt / division)
        if run is None:
            return NO_ISOLATION
        x, p = run.state.x.copy(), run.state.p.copy()
        run.run(40 * division)
        model, time = run.system.model, 40 * dt
        frequency = np.sqrt(model.harmonic_stiffness() / model.inertia())
        exact = np.cos(frequency * time) * x + np.sin(frequency * time) * p / (model.inertia() * frequency)
        if not moving:
            exact = np.exp(-model.harmonic_stiffness() * time / MOBILE) * x
        errors.append(float(np.abs(run.state.x - exact).max()))
    require_within(errors[0], 2.0 * dt, f"distance from the exact trajectory at dt = {dt:g}")
    expected = make(dt=dt).order if moving else 1
    bound = max(errors[0] / 2 ** (expected - slack), 1e-11)
    require_within(errors[1], bound, f"distance at half that step, order {expected}")
    return None


def _assert_exact_precession(make: Make, dt: float, slack: float) -> Skipped:
    frequency, errors = 1.2, []
    model = DoubleExchange(Lattice("square", (SIDE, SIDE)), coupling=0.0, field=frequency)
    for division in (1, 2):
        integrator = make(dt=dt).isolated(dt / division)
        if integrator is None:
            return NO_ISOLATION
        run = Simulation(System(model, DenseElectrons()), integrator, _start(Motion.SPIN))
        x = run.state.x.copy()
        run.run(40 * division)
        cosine, sine = np.cos(frequency * 40 * dt), np.sin(frequency * 40 * dt)
        exact = np.stack([cosine * x[..., 0] + sine * x[..., 1], cosine * x[..., 1] - sine * x[..., 0], x[..., 2]], -1)
        errors.append(float(np.abs(run.state.x - exact).max()))
    require_within(errors[0], 2.0 * dt, f"distance from the exact precession at dt = {dt:g}")
    order = make(dt=dt).order
    bound = max(errors[0] / 2 ** (order - slack), 1e-11)
    require_within(errors[1], bound, f"distance at half that step, order {order}")
    return None


INTEGRATOR_CHECKS: tuple[Callable[..., Skipped], ...] = (
    assert_counts_steps,
    assert_restarts,
    assert_follows_ramps,
    assert_replicas_are_independent,
    assert_may_be_watched,
    assert_seeds_matter,
    assert_forces_are_current,
    assert_energy_order,
    assert_balance,
    assert_reversible,
    assert_exact_motion,
)


def _motion(make: Make, dt: float) -> Motion:
    return make(dt=dt).motion


def _coupling(make: Make, dt: float) -> str:
    return COUPLING[_motion(make, dt)]


def _start(motion: Motion = Motion.DISPLACEMENT, replicas: int = 1) -> State:
    """Random positions, those that the model admits, and momenta (R, N, D) of order one."""
    random, model = np.random.default_rng(1), _warm(motion)
    state = State.at_rest(model.admissible(random.normal(size=(replicas, SIDE * SIDE, model.components))))
    state.p[...] = random.normal(size=state.p.shape)
    return state


def _simulation(
    make: Make,
    dt: float,
    state: State | None = None,
    temperature: Ramp | None = None,
    ramps: Mapping[str, Ramp] | None = None,
    seed: int = SEED,
    first_replica: int = 0,
) -> Simulation:
    """With a bath at kT = 0.3 and friction 1."""
    motion = _motion(make, dt)
    state = _start(motion) if state is None else state
    temperature = temperature or Ramp.constant(0.3)
    dt = HOPPING * dt if motion is Motion.OCCUPATION else dt
    integrator = make(dt=dt, temperature=temperature, friction=1.0, seed=seed, first_replica=first_replica)
    if not integrator.momenta:
        state.p[...] = 0.0
    return Simulation(System(_warm(motion), DenseElectrons(), state.replicas, ramps), integrator, state)


def _isolated(make: Make, dt: float) -> Simulation | None:
    integrator = make(dt=dt, temperature=Ramp.constant(0.3), friction=1.0).isolated(dt)
    if integrator is None:
        return None
    state = _start(integrator.motion)
    if not integrator.momenta:
        state.p[...] = 0.0
    return Simulation(System(_warm(integrator.motion), DenseElectrons()), integrator, state)


def _oscillators(make: Make, dt: float) -> Simulation | None:
    """Oscillators with w = 1.2 and m = 2 that no electron feels, without bath; or overdamped ones at kT = 0."""
    model = Holstein(Lattice("square", (SIDE, SIDE)), coupling=0.0, intersite=0.0, mass=2.0, stiffness=2.88)
    bath = make(dt=dt, temperature=Ramp.constant(0.3), friction=1.0)
    integrator = bath.isolated(dt) if bath.momenta else make(dt=dt, friction=MOBILE)
    return None if integrator is None else Simulation(System(model, DenseElectrons()), integrator, _start())


def _warm(motion: Motion = Motion.DISPLACEMENT) -> Model:
    lattice = Lattice("square", (SIDE, SIDE))
    if motion is Motion.SPIN:
        return DoubleExchange(lattice, coupling=2.0, electronic_temperature=0.5)
    model = FalicovKimball if motion is Motion.OCCUPATION else Holstein
    return model(lattice, electronic_temperature=0.5)


def _variables(state: State) -> dict[str, Array]:
    return {"x": state.x, "p": state.p, **state.thermostat}


def _require_same(one: State, other: State, when: str) -> None:
    variables = [
        name for name, value in _variables(one).items() if value.tobytes() != _variables(other)[name].tobytes()
    ]
    require(
        one.digest() == other.digest(),
        f"{when}, other bytes in {', '.join(variables) or 'step'}; x and p differ by {state_difference(one, other):.2e}",
    )
