"""The Landau-Lifshitz-Gilbert integrator: lengths, precession, damping, energy, and the distribution at equilibrium."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from test_ensembles import FALSE_ALARM, assert_mean, averages

from forcefields.ed import ExactDiagonalisation
from latticemd import Lattice, Ramp, Simulation, State, System, load_integrator
from latticemd.backends import cpu, specification
from latticemd.models.double_exchange import DoubleExchange


class NoElectrons:
    """A force field without electrons, which leaves classical spins."""

    def capabilities(self, model, replicas):
        return ExactDiagonalisation().capabilities(model, replicas)

    def prepare(self, model, replicas):
        pass

    def evaluate(self, model, x, step, out):
        out.force[...] = 0.0
        out.energy[...] = 0.0
        out.density[...] = 1.0

    def close(self):
        pass


def classical(x, *, dt, field=0.0, superexchange=0.0, temperature=0.0, **more):
    """Spins without electrons: in a field, or with their neighbours on the square lattice or chain that x fits."""
    sites = x.shape[1]
    lattice = Lattice("chain", (sites,), boundary="open")
    model = DoubleExchange(lattice, coupling=0.0, field=field, superexchange=superexchange)
    integrator = load_integrator("llg")(dt=dt, temperature=temperature, **more)
    return Simulation(System(model, NoElectrons(), len(x)), integrator, State.at_rest(x))


def on_the_sphere(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def langevin(y):
    """<cos theta> of a unit spin in a field y kT."""
    return 1.0 / np.tanh(y) - 1.0 / y


def exchanging(dt, *, damping=0.0, temperature=0.0, replicas=1, seed=0, **more):
    """A small double-exchange lattice with warm electrons."""
    model = DoubleExchange(
        Lattice("square", (3, 4)), coupling=3.0, superexchange=0.6, field=0.4, mu=-2.0, electronic_temperature=0.3
    )
    integrator = load_integrator("llg")(dt=dt, damping=damping, temperature=temperature, **more)
    state = State.at_rest(on_the_sphere((replicas, 12, 3), seed))
    return Simulation(System(model, ExactDiagonalisation(), replicas), integrator, state)


SHAPES = [(2, 7, 3), (3, 900, 3), (1, 23_000, 3)]  # below one block, not a multiple of one, and in parallel


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amplitude", [0.0, 0.3])
def test_kernels_have_the_bytes_of_their_specification(shape, amplitude):
    results = []
    for backend in (specification, cpu):
        x, f, later = on_the_sphere(shape), *(np.random.default_rng(n).normal(size=shape) for n in (1, 2))
        base, moved, heat = np.empty(shape), np.empty(shape), np.ones(len(x))
        backend.spins_first_half(x, f, 0.1, 0.4, amplitude, (5, 11, 7, 2), base, moved, heat)
        first = x.copy()
        backend.spins_second_half(x, later, 0.1, 0.4, base, moved, heat)
        results.append((first, base, moved, x, heat))
    for name, spec, compiled in zip(("guess", "base", "moved", "x"), *results, strict=False):
        assert spec.tobytes() == compiled.tobytes(), f"{name} differs by {np.abs(spec - compiled).max():.2e}"
    np.testing.assert_allclose(results[1][4], results[0][4], rtol=1e-12, atol=1e-12)


def test_spins_keep_their_length_through_a_thousand_noisy_steps():
    run = exchanging(0.1, damping=0.3, temperature=0.5)
    run.run(steps=1000)
    assert np.abs(np.linalg.norm(run.state.x, axis=2) - 1.0).max() <= 4e-16
    assert not run.state.p.any()


def test_a_spin_precesses_clockwise_about_its_field_with_a_frequency_exact_to_second_order():
    # dS/dt = S x h z turns S from x to -y; the angle after a time 8 differs from h 8 by a multiple of dt^2.
    errors = []
    for dt in (0.2, 0.1, 0.05):
        run = classical(np.array([[[0.6, 0.0, 0.8]]] * 2).reshape(1, 2, 3), dt=dt, field=1.3, damping=0.0)
        run.run(steps=1)
        assert run.state.x[0, 0, 1] < 0.0
        run.run(steps=round(8.0 / dt))
        angle = -np.angle(run.state.x[0, 0, 0] + 1j * run.state.x[0, 0, 1])
        errors.append((angle - 1.3 * 8.0 + np.pi) % (2 * np.pi) - np.pi)
        assert abs(run.state.x[0, 0, 2] - 0.8) < dt**3
    slopes = np.log2(np.abs(errors[:-1]) / np.abs(errors[1:]))
    assert abs(errors[0]) < 0.1
    assert np.all((slopes > 1.9) & (slopes < 2.1)), (errors, slopes)


def test_damping_leads_down_along_the_exact_path():
    # In a field h, dS_z/dt = alpha h (1 - S_z^2): S_z = tanh(alpha h t + artanh S_z(0)).
    errors = []
    for dt in (0.1, 0.05):
        run = classical(np.array([[[1.0, 0.0, 0.0]] * 2]), dt=dt, field=1.5, damping=0.4)
        run.run(steps=round(2.0 / dt))
        errors.append(abs(run.state.x[0, 0, 2] - np.tanh(0.4 * 1.5 * 2.0)))
    assert errors[0] < 2e-3
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.2


def test_without_damping_and_noise_energy_is_conserved_to_the_square_of_dt():
    errors = []
    for dt in (0.1, 0.05, 0.025):
        run = exchanging(dt)
        start, found = run.frame().conserved_energy[0], []
        for n in range(1, 11):
            run.run(steps=round(0.4 * n / dt))
            found.append(run.frame().conserved_energy[0] - start)
        errors.append(np.sqrt(np.mean(np.square(found))))
        assert run.state.thermostat["heat"][0] == pytest.approx(0.0, abs=1e-14)
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert errors[0] < 3e-3
    assert np.all((slopes > 1.8) & (slopes < 2.6)), (errors, slopes)


def test_the_way_back_of_reversed_spins_is_exact_to_third_order():
    """S -> -S reverses precession where no field is; one guess per step leaves an error that falls as dt^3 at least."""
    errors = []
    for dt in (0.2, 0.1):
        run = classical(on_the_sphere((1, 6, 3)), dt=dt, superexchange=1.0, damping=0.0)
        x = run.state.x.copy()
        run.run(steps=round(2.0 / dt))
        run.state.x *= -1.0
        run.state.f *= -1.0
        run.run(steps=round(4.0 / dt))
        errors.append(np.abs(run.state.x + x).max())
    assert np.log2(errors[0] / errors[1]) > 2.5, errors


def test_heat_closes_the_balance_of_the_bath():
    errors, heats = [], []
    for dt in (0.1, 0.05, 0.025):
        run = exchanging(dt, damping=0.5, temperature=0.4, replicas=8)
        start = run.frame().conserved_energy
        run.run(steps=round(2.0 / dt))
        errors.append(np.sqrt(np.mean((run.frame().conserved_energy - start) ** 2)))
        heats.append(np.sqrt(np.mean(run.state.thermostat["heat"] ** 2)))
    # The trapezoidal rule over rotations by (2 alpha kT dt)^(1/2) = 0.2 each is off by a few percent of the heat.
    assert errors[0] < 0.06 * heats[0]
    assert errors[0] / errors[2] > 3.0, (errors, heats)


def test_cold_damped_motion_takes_from_the_energy_what_the_bath_receives():
    run = exchanging(0.05, damping=0.5)
    before = run.frame()
    free, conserved = before.free_energy[0], before.conserved_energy[0]
    run.run(steps=100)
    after = run.frame()
    assert after.free_energy[0] < free - 0.5
    assert abs(after.conserved_energy[0] - conserved) < 0.01 * abs(after.free_energy[0] - free)


def test_free_spins_forget_their_direction_at_the_rate_of_brownian_motion():
    # D = alpha kT: <S(t).S(0)> = exp(-2 D t) at any dt, from 10^5 spins; the variance of a component is 1/3 in the end.
    for dt in (0.25, 0.5):
        run = classical(np.tile([0.0, 0.0, 1.0], (1, 100_000, 1)), dt=dt, damping=0.5, temperature=0.8, seed=3)
        run.run(steps=round(1.0 / dt))
        assert run.state.x[0, :, 2].mean() == pytest.approx(np.exp(-0.8), abs=4.5 / np.sqrt(3e5))


def test_a_temperature_ramp_is_followed():
    ramp = Ramp.linear(0.1, 1.0, 0, 200)
    run = classical(on_the_sphere((1, 20_000, 3)), dt=0.1, field=1.0, damping=1.0, temperature=ramp, seed=4)
    for step, kT in ((200, 1.0), (300, 1.0)):
        run.run(steps=step)
        assert run.state.x[0, :, 2].mean() == pytest.approx(langevin(1.0 / kT), abs=0.05 if step == 200 else 0.015)


def test_a_step_costs_two_force_evaluations():
    run = exchanging(0.1, damping=0.1, temperature=0.1)
    before = run.system.force_calls
    run.run(steps=10)
    assert run.system.force_calls - before == 20


@pytest.mark.slow
@pytest.mark.parametrize(("damping", "dt"), [(0.2, 0.1), (1.0, 0.1), (1.0, 0.3)])
def test_a_spin_in_a_field_has_the_langevin_function_as_its_average(damping, dt):
    """<S_z> = coth(h/kT) - kT/h, and <S_z> exponentially distributed on [-1, 1]."""
    run = classical(on_the_sphere((64, 400, 3)), dt=dt, field=1.0, damping=damping, temperature=0.4, seed=21)
    relax = round(8.0 / (damping * dt))
    (mean,) = averages(run, [lambda frame: frame.state.x[..., 2].mean(axis=1)], relax=relax, steps=10 * relax, every=20)
    # the bias at dt = 0.3, h dt = 0.3, is measured as 2e-3; at dt = 0.1 it is below the error of 4e-4
    if dt < 0.2:
        assert_mean(mean, langevin(2.5))
        z = run.state.x[..., 2].ravel()
        cdf = lambda s: np.expm1(2.5 * (s + 1.0)) / np.expm1(5.0)  # noqa: E731
        assert stats.kstest(z, cdf).pvalue > FALSE_ALARM
    else:
        assert abs(mean.mean() - langevin(2.5)) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize(("damping", "seed"), [(0.4, 22), (1.0, 23)])
def test_neighbours_in_an_open_chain_have_the_correlation_of_the_canonical_distribution(damping, seed):
    """<S_i.S_j> = -L(J/kT) for every bond of E = J sum S_i.S_{i+1} (Fisher, Am. J. Phys. 32, 343 (1964)), with a bias in dt^2."""
    errors = []
    for dt in (0.1, 0.4):
        run = classical(
            on_the_sphere((24, 1000, 3)), dt=dt, superexchange=1.0, damping=damping, temperature=0.5, seed=seed
        )
        relax = round(12.0 / (damping * dt))
        (correlation,) = averages(
            run, [lambda frame: (frame.state.x[:, 1:] * frame.state.x[:, :-1]).sum(axis=2).mean(axis=1)],
            relax=relax, steps=3 * relax, every=round(1.0 / dt),
        )  # fmt: skip
        errors.append(correlation.mean() + langevin(2.0))
        assert correlation.std() / np.sqrt(24) < 1e-3
    assert abs(errors[0]) < 5e-3, errors
    assert abs(errors[1]) > 4 * abs(errors[0]), errors
