"""Integrators: order in dt, reversibility, conserved quantities, exact distributions."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from conftest import random_positions, simulation
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.errors import InputError
from latticemd.forcefield import Capabilities
from latticemd.integrators import load_integrator

DETERMINISTIC = ["verlet", "ABA", "RBR", "BRB", "BABAB"]
THERMAL = ["langevin", "langevin_obabo", "ABOBA", "OBRBO", "BRORB"]
RESCALING = ["nose_hoover", "velocity_rescaling"]


class NoElectrons:
    """A force field without electrons, for cases with closed forms."""

    def capabilities(self, model, replicas):
        return Capabilities(True, True, True, True, 0, 0)

    def prepare(self, model, replicas):
        pass

    def evaluate(self, model, x, step, out):
        out.force[...] = 0.0
        out.energy[...] = 0.0
        out.density[...] = 0.5

    def close(self):
        pass


def oscillators(integrator, x, *, dt, temperature=0.0, friction=0.2, mass=1.0, stiffness=1.0, **more):
    """Independent oscillators: Holstein with g = kappa = 0."""
    side = round(np.sqrt(x.shape[1]))
    model = Holstein(Lattice("square", (side, side)), coupling=0.0, intersite=0.0, mass=mass, stiffness=stiffness)
    cls = load_integrator(integrator)
    made = cls(dt=dt, temperature=Ramp.constant(temperature), friction=friction, **more)
    return Simulation(System(model, NoElectrons(), len(x)), made, State.at_rest(x))


def energy_error(integrator, model, x, p, dt):
    """Root mean square of the energy error over a fixed grid of times, so that steps of different dt are comparable."""
    run = simulation(model, integrator, x, dt=dt)
    run.state.p[...] = p
    start = run.frame().conserved_energy[0]
    errors = []
    for n in range(1, 21):
        run.run(steps=round(n * 0.1 / dt))
        errors.append(run.frame().conserved_energy[0] - start)
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("integrator", DETERMINISTIC)
def test_energy_error_falls_with_the_square_of_dt(integrator, small):
    x, p = random_positions(small, seed=1), random_positions(small, seed=2)
    # A warm electron gas is smooth enough for the asymptotic regime at these steps.
    model = Holstein(small.lattice, electronic_temperature=0.5)
    errors = [energy_error(integrator, model, x, p, dt) for dt in (0.02, 0.01, 0.005)]
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all((slopes > 1.8) & (slopes < 2.2)), (errors, slopes)


@pytest.mark.parametrize("integrator", DETERMINISTIC)
def test_motion_reverses_when_momenta_are_flipped(integrator, small):
    x = random_positions(small, seed=1)
    run = simulation(small, integrator, x, dt=0.05)
    run.state.p[...] = random_positions(small, seed=2)
    p = run.state.p.copy()
    run.run(steps=40)
    assert np.abs(run.state.x - x).max() > 0.5
    run.state.p *= -1.0
    run.run(steps=80)
    assert np.abs(run.state.x - x).max() <= 1e-11
    assert np.abs(run.state.p + p).max() <= 1e-11


def test_free_oscillators_follow_the_exact_trajectory_under_r_at_any_dt():
    x = np.random.default_rng(0).normal(size=(1, 9, 1))
    run = oscillators("RBR", x, dt=0.9, mass=2.0, stiffness=3.0)
    run.state.p[...] = 0.3
    run.run(steps=25)
    frequency, time = np.sqrt(3.0 / 2.0), 25 * 0.9
    exact = x * np.cos(frequency * time) + 0.3 / (2.0 * frequency) * np.sin(frequency * time)
    np.testing.assert_allclose(run.state.x, exact, atol=1e-12)


def test_verlet_follows_its_own_exact_solution_for_free_oscillators():
    # Velocity Verlet turns the oscillator by cos(w' dt) = 1 - (w dt)^2/2 in each step, w^2 = k/m.
    x = np.ones((1, 9, 1))
    run = oscillators("verlet", x, dt=0.5, mass=2.0, stiffness=1.5)
    run.run(steps=30)
    angle = np.arccos(1 - 0.75 * 0.5**2 / 2)
    np.testing.assert_allclose(run.state.x, np.cos(30 * angle) * x, atol=1e-12)


@pytest.mark.parametrize("integrator", [*THERMAL, *RESCALING])
def test_heat_closes_the_energy_balance_of_a_bath(integrator, small):
    """Halving dt must quarter the error of the conserved quantity, averaged over replicas (weak noise dependence)."""
    model = Holstein(small.lattice, electronic_temperature=0.5)
    x = random_positions(model, seed=1, replicas=4)
    errors = []
    for dt in (0.04, 0.02):
        run = simulation(model, integrator, x, dt=dt, temperature=0.5, friction=0.5)
        run.state.p[...] = random_positions(model, seed=2, replicas=4)
        start = run.frame().conserved_energy
        run.run(steps=round(2.0 / dt))
        errors.append(np.abs(run.frame().conserved_energy - start).mean())
        assert np.abs(run.state.thermostat["heat"]).min() > 20 * errors[-1]  # the bath did exchange energy
    assert errors[0] / errors[1] > 2.0


def test_a_nose_hoover_chain_conserves_its_energy_to_the_square_of_dt_also_while_the_temperature_ramps(small):
    model = Holstein(small.lattice, electronic_temperature=0.5)
    ramp = Ramp.linear(0.5, 1.5, 0, 100)
    drifts = []
    for dt in (0.04, 0.02, 0.01):
        run = simulation(model, "nose_hoover", random_positions(model, seed=1), dt=dt, relaxation_time=0.5)
        run.integrator = dataclasses.replace(
            run.integrator, temperature=Ramp(tuple((round(step * 0.04 / dt), kT) for step, kT in ramp.points))
        )
        run.state.p[...] = random_positions(model, seed=2)
        start, worst = run.frame().conserved_energy[0], []
        for n in range(1, 26):
            run.run(steps=round(n * 0.08 / dt))
            worst.append(run.frame().conserved_energy[0] - start)
        drifts.append(np.sqrt(np.mean(np.square(worst))))
    slopes = np.log2(np.array(drifts[:-1]) / np.array(drifts[1:]))
    assert np.all((slopes > 1.8) & (slopes < 2.2)), (drifts, slopes)


def test_a_nose_hoover_chain_runs_backwards(small):
    """Momenta and the velocities of the chain change sign, and the way back ends at the start with the chain unwound."""
    run = simulation(small, "nose_hoover", random_positions(small, seed=1), dt=0.05, temperature=0.3)
    run.state.p[...] = p = random_positions(small, seed=2)
    run.run(steps=30)
    assert np.abs(run.state.thermostat["chain_position"]).min() > 1e-3
    for moving in (run.state.p, run.state.thermostat["chain_velocity"]):
        moving *= -1.0
    run.run(steps=60)
    assert np.abs(run.state.x - random_positions(small, seed=1)).max() <= 1e-10
    assert np.abs(run.state.p + p).max() <= 1e-10
    assert np.abs(run.state.thermostat["chain_velocity"]).max() <= 1e-10
    assert np.abs(run.state.thermostat["chain_position"]).max() <= 1e-10


def test_velocity_rescaling_relaxes_the_kinetic_energy_at_exactly_its_rate():
    # Free particles, 400 replicas: <K>(t) = K_eq + (K_0 - K_eq) exp(-t/tau) at any dt, and at late times the variance of a
    # gamma distribution with N_f/2 degrees, (kT)^2 N_f/2.
    x = np.zeros((400, 16, 1))
    run = oscillators("velocity_rescaling", x, dt=0.5, temperature=0.4, stiffness=1e-12, relaxation_time=2.0, seed=3)
    run.state.p[...] = 2.0
    run.run(steps=4)
    mean, at_rest, start = run.frame().kinetic_energy.mean(), 16 * 0.2, 32.0
    assert mean == pytest.approx(at_rest + (start - at_rest) * np.exp(-1.0), abs=4 * np.sqrt(2 * start * 0.4 / 400))
    run.run(steps=60)
    kinetic = run.frame().kinetic_energy
    assert kinetic.mean() == pytest.approx(at_rest, abs=4 * np.sqrt(8 * 0.16 / 400))
    assert kinetic.var() == pytest.approx(8 * 0.16, rel=4 * np.sqrt(2 / 400 * (1 + 3 / 8)))


def test_velocity_rescaling_without_temperature_cools_at_its_rate_and_leaves_rest_alone():
    x = np.zeros((2, 16, 1))
    run = oscillators("velocity_rescaling", x, dt=0.5, temperature=0.0, stiffness=1e-99, relaxation_time=2.0)
    run.state.p[0] = 1.0
    run.run(steps=8)
    np.testing.assert_allclose(run.frame().kinetic_energy, [8.0 * np.exp(-2.0), 0.0], rtol=1e-12)


def test_heat_closes_the_energy_balance_of_overdamped_motion(small):
    model = Holstein(small.lattice, electronic_temperature=0.5)
    for integrator in ("overdamped", "overdamped_lm"):
        run = simulation(model, integrator, random_positions(model, seed=1), dt=0.01, temperature=0.1, friction=1.0)
        before = run.frame()
        free, conserved = before.free_energy[0], before.conserved_energy[0]
        run.run(steps=100)
        after = run.frame()
        assert abs(after.conserved_energy[0] - conserved) < 0.01 * abs(after.free_energy[0] - free)


def variances(integrator, *, dt, steps, temperature=0.7, friction=1.0, sites=60):
    """Stationary <x^2> and <p^2> of oscillators with k = m = 1, with the standard error of <x^2>."""
    x = np.zeros((1, sites * sites, 1))
    run = oscillators(integrator, x, dt=dt, temperature=temperature, friction=friction, seed=5)
    run.run(steps=steps)
    xx, pp = [], []
    for _ in range(8):  # far apart, so nearly independent
        run.run(steps=run.state.step + max(1, round(8 / dt)))
        xx.append((run.state.x**2).mean())
        pp.append((run.state.p**2).mean())
    return np.mean(xx), np.mean(pp), temperature * np.sqrt(2 / (8 * sites * sites))


@pytest.mark.parametrize("integrator", ["langevin", "BRORB", "OBRBO", "overdamped_lm"])
@pytest.mark.parametrize("dt", [0.2, 0.9])
def test_harmonic_wells_are_sampled_exactly_at_any_dt(integrator, dt):
    xx, pp, error = variances(integrator, dt=dt, steps=100)
    assert abs(xx - 0.7) < 4 * error  # false alarm rate 6e-5 per case, if the seed were not fixed
    if integrator in ("BRORB", "OBRBO"):
        assert abs(pp - 0.7) < 4 * error


@pytest.mark.parametrize(("integrator", "exact"), [
    # Euler-Maruyama: <x^2> = kT/k / (1 - k dt/2 gamma). Verlet with exact friction: kT/k / (1 - (w dt)^2/4).
    ("overdamped", lambda dt: 0.7 / (1 - dt / 2)),
    ("langevin_obabo", lambda dt: 0.7 / (1 - dt**2 / 4)),
])  # fmt: skip
def test_known_bias_of_simple_schemes(integrator, exact):
    xx, _, error = variances(integrator, dt=0.6, steps=100)
    assert abs(xx - exact(0.6)) < 4 * error * exact(0.6) / 0.7
    assert abs(xx - 0.7) > 10 * error


def test_ornstein_uhlenbeck_relaxes_at_exactly_its_rate():
    # A spring too weak to matter leaves pure O dynamics: <p^2>(t) = m kT + (p0^2 - m kT) exp(-2 gamma t).
    x = np.zeros((1, 10_000, 1))
    run = oscillators("langevin", x, dt=0.5, temperature=0.4, friction=0.3, mass=2.0, stiffness=1e-12, seed=3)
    run.state.p[...] = 3.0
    run.run(steps=4)
    decay = np.exp(-0.3 * 2.0)
    assert run.state.p.mean() == pytest.approx(3.0 * decay, abs=4 * np.sqrt(0.8 / 1e4))
    assert run.state.p.var() == pytest.approx(0.8 * (1 - decay**2), rel=4 * np.sqrt(2 / 1e4))


def test_the_o_letters_of_a_step_have_noise_of_their_own():
    # OBABO ends a step with the noise of its second O and nothing of its first: over a long half step both forget p.
    run = oscillators("OBABO", np.zeros((1, 10_000, 1)), dt=0.01, temperature=1.0, friction=1e4, stiffness=1e-99)
    run.run(steps=1)
    second = run.state.p.copy()
    # Positions have moved by the noise of the first.
    first = run.state.x / 0.01
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4.5 / np.sqrt(10_000)


def test_both_halves_of_a_rescaled_step_have_noise_of_their_own():
    """The factors of the two halves, over replicas, are uncorrelated."""
    made = load_integrator("velocity_rescaling")(dt=0.2, temperature=0.5, seed=4)
    run = oscillators("velocity_rescaling", np.zeros((2000, 9, 1)), dt=0.2, temperature=0.5, stiffness=1e-99)
    kinetic = np.full(2000, 9 * 0.25)
    factors = [made._factor(run.state, kinetic, 9, 0.5, 7, half) for half in (0, 1)]
    assert abs(np.corrcoef(factors)[0, 1]) < 4.5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("word", "calls"), [("BAB", 1), ("ABA", 1), ("BAOAB", 1), ("ABOBA", 1), ("BABAB", 2), ("BAOA", 1)]
)
def test_words_pay_only_for_the_forces_they_need(word, calls, small):
    run = simulation(small, word, random_positions(small), dt=0.05, temperature=0.1)
    before = run.system.force_calls
    run.run(steps=10)
    assert run.system.force_calls - before == 10 * calls


@pytest.mark.parametrize("integrator", ["langevin", "ABOBA", "verlet", "overdamped_lm", *RESCALING])
def test_a_step_allocates_nothing_of_the_size_of_the_lattice(integrator):
    x = np.random.default_rng(0).normal(size=(2, 150 * 150, 1))  # large beside the 32 KiB in which a block is added up
    run = oscillators(integrator, x, dt=0.1, temperature=0.3)
    run.run(steps=2)  # buffers are made and kernels are loaded
    tracemalloc.start()
    run.run(steps=12)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x[0].nbytes / 4


@given(st.text("ABOR", min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_valid_word_closes_its_energy_balance_and_every_other_is_refused(word):
    valid = "B" in word and ("A" in word) != ("R" in word)
    if not valid:
        with pytest.raises(InputError):
            load_integrator(word)
        return
    x = np.random.default_rng(1).normal(size=(1, 9, 1))
    run = oscillators(word, x, dt=0.01, temperature=0.3)
    start = run.frame().conserved_energy[0]
    run.run(steps=50)
    # First-order words are off by O(dt) times the energy (about 5 here), second-order ones by far less.
    assert abs(run.frame().conserved_energy[0] - start) < 0.15


def test_a_temperature_ramp_is_followed():
    x = np.zeros((1, 2500, 1))
    cls = load_integrator("langevin")
    model = Holstein(Lattice("square", (50, 50)), coupling=0.0, intersite=0.0)
    made = cls(dt=0.2, temperature=Ramp.linear(0.0, 2.0, 0, 400), friction=5.0)
    run = Simulation(System(model, NoElectrons()), made, State.at_rest(x))
    run.run(steps=400)
    assert (run.state.p**2).mean() == pytest.approx(2.0, rel=0.15)
