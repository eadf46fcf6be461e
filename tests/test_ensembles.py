"""Ensembles: what long runs must sample, by tests with a stated rate of false alarms.

Averages are taken over time in each of R independent replicas and compared with the exact value by Student's t over the R
averages: whatever the correlation time, replicas are independent. A test fails when the two-sided p-value is below
FALSE_ALARM; with T comparisons in this file, a correct engine fails with a probability below T FALSE_ALARM = 1e-4 for a
new choice of seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions, simulation
from scipy import stats
from test_integrators import NoElectrons, oscillators

from latticemd import Holstein, Lattice, Simulation, State, System, load_integrator
from latticemd.observables import kinetic_temperature, virial_temperature

FALSE_ALARM = 1e-6
KT = 0.4
SECOND_ORDER = ["langevin", "langevin_obabo", "BRORB", "nose_hoover", "velocity_rescaling"]

pytestmark = pytest.mark.slow


def assert_mean(samples, exact):
    """The replicas' averages have this mean."""
    p_value = stats.ttest_1samp(samples, exact).pvalue
    error = np.std(samples, ddof=1) / np.sqrt(len(samples))
    assert p_value > FALSE_ALARM, f"{np.mean(samples):.5f} +- {error:.5f}, exact {exact:.5f}, p = {p_value:.1e}"


def averages(run, quantities, *, relax, steps, every=5):
    """Time averages (R,) of functions of a frame after `relax` steps."""
    run.run(steps=relax)
    sums, count = [0.0] * len(quantities), 0
    while run.state.step < relax + steps:
        run.run(steps=run.state.step + every)
        frame = run.frame()
        sums = [total + quantity(frame) for total, quantity in zip(sums, quantities, strict=True)]
        count += 1
    return [total / count for total in sums]


def kinetic(frame):
    return kinetic_temperature(frame.kinetic_energy, frame.state.x[0].size)


def virial(frame):
    return virial_temperature(frame.state.x, frame.force)


def mean_square(frame):
    return (frame.state.x**2).mean(axis=(1, 2))


def mean_fourth(frame):
    return (frame.state.x**4).mean(axis=(1, 2))


@pytest.mark.parametrize("integrator", SECOND_ORDER)
def test_momenta_and_positions_of_a_holstein_lattice_have_the_temperature_of_the_bath(integrator):
    """Equipartition: kinetic and configurational (virial) temperature, and the variance of the kinetic energy N_f (kT)^2/2."""
    model = Holstein(Lattice("square", (4, 4)), coupling=1.0, electronic_temperature=0.4)
    x = random_positions(model, replicas=48)
    more = {"relaxation_time": 1.0} if integrator in ("nose_hoover", "velocity_rescaling") else {}
    run = simulation(model, integrator, x, dt=0.05, temperature=KT, friction=0.5, seed=11, **more)
    run.state.p[...] = np.sqrt(KT) * random_positions(model, seed=1, replicas=48)
    mean = 0.5 * 16 * KT
    from_momenta, from_forces, variance = averages(
        run, [kinetic, virial, lambda frame: (frame.kinetic_energy - mean) ** 2], relax=800, steps=4000
    )
    # Second order at omega dt = 0.07: a bias of (omega dt)^2/12 at most, 4e-4, far below the statistical error of 2e-3.
    assert_mean(from_momenta, KT)
    assert_mean(from_forces, KT)
    assert_mean(variance, 8 * KT**2)


@pytest.mark.parametrize("integrator", ["overdamped_lm"])
def test_positions_of_an_overdamped_holstein_lattice_have_the_temperature_of_the_bath(integrator):
    model = Holstein(Lattice("square", (4, 4)), coupling=1.0, electronic_temperature=0.4)
    run = simulation(
        model, integrator, random_positions(model, replicas=48), dt=0.05, temperature=KT, friction=1.0, seed=12
    )
    (from_forces,) = averages(run, [virial], relax=500, steps=4000)
    assert_mean(from_forces, KT)


@pytest.mark.parametrize("dt", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("integrator", ["langevin", "overdamped_lm", "BRORB"])
def test_harmonic_displacements_are_distributed_exactly_at_any_dt(integrator, dt):
    """<x^2> = kT/k, <x^4> = 3 (kT/k)^2 and the whole distribution, up to steps near the limit of stability."""
    run = oscillators(integrator, np.zeros((64, 400, 1)), dt=dt, temperature=KT, friction=1.2, stiffness=1.3, seed=13)
    second, fourth = averages(run, [mean_square, mean_fourth], relax=400, steps=2000, every=20)
    assert_mean(second, KT / 1.3)
    assert_mean(fourth, 3 * (KT / 1.3) ** 2)
    assert stats.kstest(run.state.x.ravel(), "norm", args=(0, np.sqrt(KT / 1.3))).pvalue > FALSE_ALARM


@pytest.mark.parametrize("dt", [0.1, 2.5])
def test_ornstein_uhlenbeck_momenta_have_exact_mean_and_variance_at_every_step(dt):
    run = oscillators(
        "OBAB", np.zeros((64, 400, 1)), dt=dt, temperature=KT, friction=0.7, stiffness=1e-99, mass=2.0, seed=14
    )
    run.state.p[...] = 1.5
    for n in range(1, 4):
        run.run(steps=n)
        decay = np.exp(-0.7 * n * dt)
        assert_mean(run.state.p.mean(axis=(1, 2)), 1.5 * decay)
        variance = ((run.state.p - 1.5 * decay) ** 2).mean(axis=(1, 2))
        assert_mean(variance, 2.0 * KT * (1 - decay**2))


class Hardening(Holstein):
    """Springs that harden, V = x^2/2 + x^4/4 on every site."""

    def total_force(self, x, electronic, out):
        super().total_force(x, electronic, out)
        out -= x * x * x


# The ratio of the errors at dt and dt/2; terms of higher order leave it beside 2 and 4 (from transfer matrices on a grid).
@pytest.mark.parametrize(("scheme", "dt", "ratio"), [("overdamped", 0.1, 2.2), ("overdamped_lm", 0.2, 3.9)])
def test_stationary_averages_of_overdamped_schemes_converge_with_their_order(scheme, dt, ratio):
    """<x^2> against quadrature: halving dt halves the error of Euler-Maruyama and quarters that of Leimkuhler-Matthews."""
    grid = np.linspace(-8, 8, 20_001)
    weight = np.exp(-(grid**2 / 2 + grid**4 / 4))
    exact = (grid**2 * weight).sum() / weight.sum()
    model = Hardening(Lattice("square", (50, 50)), coupling=0.0, intersite=0.0)
    errors = []
    for step in (dt, dt / 2):
        made = load_integrator(scheme)(dt=step, temperature=1.0, friction=1.0, seed=15)
        run = Simulation(System(model, NoElectrons(), 64), made, State.at_rest(np.zeros((64, 2500, 1))))
        every = round(0.5 / step)
        (mean,) = averages(run, [mean_square], relax=round(10 / step), steps=round(700 / step), every=every)
        errors.append(mean - exact)
    found = errors[0].mean() / errors[1].mean()
    spread = abs(found) * np.hypot(*(error.std(ddof=1) / np.sqrt(len(error)) / error.mean() for error in errors))
    assert spread < 0.15 * ratio
    assert abs(found - ratio) < 5 * spread, (found, spread)


def test_the_quench_forgets_its_force_field_call_order():
    """A replica alone and in a batch agree after hundreds of chaotic steps, by which any difference would have grown."""
    model = Holstein(Lattice("square", (6, 6)))
    x = random_positions(model, replicas=2)
    batch = simulation(model, "langevin", x, dt=0.1, temperature=0.1, seed=1)
    batch.run(steps=600)
    alone = simulation(model, "langevin", x[1:], dt=0.1, temperature=0.1, seed=1, first_replica=1)
    alone.run(steps=600)
    assert alone.state.x.tobytes() == batch.state.x[1:].tobytes()
    assert np.isfinite(forces_and_energy(model, alone.state.x)[1]).all()
