"""The suggested time step against closed forms, against runs that keep or break it, and against what it promises."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions, simulation
from test_run import QUENCH, latticemd

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice
from latticemd.config import load_input
from latticemd.integrators.integrator import Integrator
from latticemd.output.checkpoint import write_checkpoint
from latticemd.plugins import register
from latticemd.stability import stability_limit
from latticemd.state import State
from latticemd.timestep import ENERGY_STEPS, PRODUCTS, SMALL_STEP, Probe, suggest_dt
from latticemd.verify import verify


@dataclass(frozen=True)
class OneVerlet(Integrator):
    """Velocity Verlet that is no splitting word."""

    def step(self, state, system):
        """Half a kick, a drift, half a kick."""
        state.p += 0.5 * self.dt * state.f
        state.x += self.dt * state.p / system.model.inertia()
        system.update_forces(state, state.step + 1)
        state.p += 0.5 * self.dt * state.f
        state.step += 1


class Stiffening(ExactDiagonalisation):
    """Electrons that add a spring of constant 3 to each site."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force -= 3.0 * x
        out.energy += 1.5 * (x**2).sum(axis=(1, 2))


@pytest.fixture
def load(tmp_path):
    register("integrator", "one_verlet", OneVerlet)
    register("forcefield", "stiffening", Stiffening)
    (tmp_path / "input.yaml").write_text(QUENCH)
    return lambda *settings: load_input(tmp_path / "input.yaml", settings)


def value(advice, name):
    return next(quantity.value for quantity in advice.quantities if quantity.name == name)


# --- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mass", "intersite"), [(1.0, 0.18), (5.0, 0.0), (2.0, -0.1)])
def test_free_oscillators_have_the_frequencies_of_the_phonon_band(load, mass, intersite):
    settings = [f"model={{name: holstein, coupling: 0.0, mass: {mass}, intersite: {intersite}}}"]
    advice = suggest_dt(load("dynamics.integrator=verlet", *settings))
    frequency = np.sqrt((1.0 + 4 * abs(intersite)) / mass)
    for name in ("stiffest frequency, start", "stiffest frequency, step 5", "stiffest frequency, springs alone"):
        assert value(advice, name) == pytest.approx(frequency, rel=0.01)
    assert value(advice, "stability limit of dt") == pytest.approx(2.0 / frequency, rel=0.01)
    assert advice.force_calls <= 64
    overdamped = suggest_dt(load("dynamics.integrator=overdamped_lm", *settings))
    assert value(overdamped, "stability limit of dt") == pytest.approx(2.0 * 0.2 / (1 + 4 * abs(intersite)), rel=0.01)
    assert overdamped.suggested == pytest.approx(0.2 / (1 + 4 * abs(intersite)), rel=0.1)


def test_electrons_soften_the_lattice_as_the_whole_second_derivative_says(load):
    probe = Probe(load("dynamics.integrator=verlet", "lattice.shape=[4, 4]"))
    x, h = probe.state.x, 1e-4
    shifted = [x + sign * h * np.eye(16).reshape(16, 16, 1) for sign in (1, -1)]
    forward, backward = (forces_and_energy(probe.system.model, shift)[0][..., 0] for shift in shifted)
    eigenvalues = np.linalg.eigvalsh((backward - forward) / (2 * h))
    found = probe.curvature(x, np.random.default_rng(0).normal(size=x.shape), PRODUCTS)
    assert found.highest == pytest.approx(eigenvalues[-1], rel=0.01)
    assert found.lowest == pytest.approx(eigenvalues[0], abs=0.02)
    assert found.rms == pytest.approx(np.sqrt(np.mean(eigenvalues**2)), rel=0.3)  # one random vector of 16 numbers
    assert eigenvalues[-1] < 0.95 * probe.system.model.largest_stiffness()
    assert np.linalg.norm(found.mode) == pytest.approx(1.0)


def test_electrons_that_stiffen_the_lattice_lower_the_limit(load):
    settings = ["forcefield.name=stiffening", "model.coupling=0"]
    for integrator, expected in (("verlet", 2.0 / np.sqrt(4.72)), ("overdamped", 2 * 0.2 / 4.72)):
        advice = suggest_dt(load(f"dynamics.integrator={integrator}", *settings))
        assert value(advice, "stability limit of dt") == pytest.approx(expected, rel=0.01)


def test_limits_of_words_in_closed_form():
    def limit(word, curvature, on_site=1.0, mass=2.0):
        made = simulation(Holstein(Lattice("square", (4, 4))), word, np.zeros((1, 16, 1)), dt=0.1).integrator
        return stability_limit(made, [curvature], on_site, mass)

    for word in ("verlet", "langevin", "langevin_obabo", "ABOBA", "BA"):
        assert limit(word, 1.7) == pytest.approx(2 * np.sqrt(2 / 1.7), rel=1e-4)
    # BRB on a mode whose kick is k' beyond the rotation: |cos wt - k' t sin(wt)/2 m w| = 1, that is tan(wt/2) = 2 m w/k' t.
    dt, frequency = limit("BRB", 1.7), np.sqrt(1.0 / 2.0)
    assert np.tan(0.5 * frequency * dt) == pytest.approx(2 * 2.0 * frequency / (0.7 * dt), rel=1e-3)
    assert limit("BRB", 0.3) == pytest.approx(np.pi / frequency, rel=1e-3)  # softened modes: half a turn
    assert limit("verlet", -1.0) == np.inf  # leaves a saddle at any dt
    assert limit("BRB", 1.7, on_site=0.0) == pytest.approx(
        limit("BAB", 1.7), rel=1e-6
    )  # a rotation without springs drifts


# --- runs that keep and break the limit -----------------------------------------------------------------------------


@pytest.mark.parametrize("start", [{"coupling": 0.0, "width": 0.3}, {"coupling": 1.5, "width": 100.0}], ids=str)
@pytest.mark.parametrize(
    "word", ["verlet", "BAOAB", "ABOBA", "BABAB", "BRORB", "OBRBRBO", "overdamped", "overdamped_lm"]
)
def test_a_run_diverges_just_above_the_limit_and_not_just_below(load, word, start):
    # Displacements as large as 100 fix all electrons, which then soften nothing: the limit is that of the springs.
    settings = [f"model.coupling={start['coupling']}", f"initial={{kind: normal, width: {start['width']}}}"]
    run_input = load(f"dynamics.integrator={word}", "lattice.shape=[4, 4]", *settings)
    limit = value(suggest_dt(run_input), "stability limit of dt")
    probe = Probe(run_input)
    reached = {}
    for share in (0.9, 1.1):
        run = simulation(probe.system.model, word, probe.state.x, dt=share * limit, temperature=0.1, friction=0.2)
        for _ in range(1500):
            run.run(run.state.step + 1)
            reached[share] = np.abs(run.state.x).max()
            if reached[share] > 1e6:
                break
    assert reached[0.9] < 10.0 * start["width"]
    assert reached[1.1] > 1e6


# --- what is promised -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["verlet", "BAOAB", "ABOBA", "BABAB", "BRORB", "OBA", "nose_hoover", "one_verlet"])
@pytest.mark.parametrize("tolerance", [0.02, 0.001])
def test_the_suggested_step_has_the_promised_energy_error(load, word, tolerance):
    run_input = load(f"dynamics.integrator={word}", "dynamics.temperature=0.2")
    advice = suggest_dt(run_input, tolerance)
    assert "energy error" in advice.limited_by
    probe = Probe(run_input)
    time = ENERGY_STEPS * SMALL_STEP / np.sqrt(probe.system.model.largest_stiffness())
    error = probe.energy_error(advice.suggested, max(1, round(time / advice.suggested)))
    assert tolerance / 2 < error < 2 * tolerance


@pytest.mark.parametrize("word", ["verlet", "ABOBA", "BRORB", "OBA"])
def test_the_errors_of_all_degrees_of_freedom_add_up_to_the_error_of_the_energy(load, word):
    probe = Probe(load(f"dynamics.integrator={word}"))
    errors, _ = probe.energy_errors(0.02, 50)
    run = simulation(probe.system.model, word, probe.state.x, dt=0.02, friction=0.0)
    run.state.p[...] = probe.state.p
    energies = []
    for step in range(51):
        run.run(step)
        energies.append(run.frame().conserved_energy[0])
    actual = np.array(energies[1:]) - energies[0]
    np.testing.assert_allclose(errors.sum(axis=(1, 2)), actual, atol=0.05 * np.abs(actual).max())


@pytest.mark.parametrize("size", [6, 10])
def test_the_energy_error_of_thermal_oscillators_depends_on_the_step_and_not_on_the_lattice(load, size):
    settings = ["model={name: holstein, coupling: 0, intersite: 0}", f"lattice.shape=[{size}, {size}]"]
    run_input = load("dynamics.integrator=verlet", f"initial={{kind: normal, width: {np.sqrt(0.1)}}}", *settings)
    # Verlet conserves p^2/2m + (1 - dt^2/4) k x^2/2, so the energy errs by dt^2/4 times the change of k x^2/2, whose
    # square is (kT)^2 sin^2(t) in the mean.
    error = Probe(run_input).energy_error(0.2, 16)
    assert error == pytest.approx(0.2**2 / 4 * np.sqrt(np.mean(np.sin(0.2 * np.arange(1, 17)) ** 2)), rel=0.2)


def test_the_bias_of_euler_maruyama_is_the_promised_one(load):
    advice = suggest_dt(load("model.coupling=0"), 0.02)
    waves = [2 * np.pi * np.arange(n) / n for n in (6, 4)]
    band = 1.0 + 2 * 0.18 * (np.cos(waves[0])[:, None] + np.cos(waves[1]))
    excess = 1.0 / (1.0 - band * advice.suggested / (2 * 0.2)) - 1.0  # of <x^2>, whose energy is kT/2
    assert 0.01 < np.sqrt(np.mean((0.5 * excess) ** 2)) < 0.04
    assert value(advice, "dt for overdamped_lm") == pytest.approx(0.2 / 1.72, rel=0.01)


def test_integrators_of_unknown_order_have_theirs_measured(load):
    known, measured = (suggest_dt(load(f"dynamics.integrator={name}")) for name in ("verlet", "one_verlet"))
    assert measured.suggested == pytest.approx(known.suggested, rel=0.1)
    note = next(quantity.note for quantity in measured.quantities if quantity.name == "energy error")
    assert float(note.split("order ")[1].split()[0]) == pytest.approx(2.0, abs=0.1)


def test_a_file_of_several_replicas_is_measured_and_verified_on_its_first(load, tmp_path):
    x = random_positions(Holstein(Lattice("square", (6, 4))), replicas=3)
    write_checkpoint(tmp_path / "three.h5", State.at_rest(x), {})
    run_input = load(f"initial={{kind: file, path: {tmp_path}/three.h5}}", "replicas=3", "dynamics.integrator=verlet")
    np.testing.assert_array_equal(Probe(run_input).state.x, x[:1])
    assert suggest_dt(run_input).verdict
    assert next(iter(verify(run_input))).verdict == "pass"


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dt", "verdict"), [(1.7, "too large: unstable"), (1.0, "too large: stable, but"), (0.01, "could be"), (0.25, "ok")]
)
def test_the_verdict_compares_the_step_of_the_input(load, dt, verdict):
    assert suggest_dt(load("dynamics.integrator=BAOAB", f"dynamics.dt={dt}")).verdict.startswith(verdict)


def test_the_command_prints_a_table_or_json(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    words = ["info", "--suggest-dt", "input.yaml", "--set", "dynamics.integrator=verlet"]
    table = latticemd(*words, cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    for fragment in ("suggested dt", "stability limit", "dt of the input", "64 force evaluations"):
        assert fragment in table.stdout
    advice = json.loads(latticemd(*words, "--json", "--energy-tolerance", "0.0001", cwd=tmp_path).stdout)
    assert advice["dt"] == 0.1
    assert advice["suggested"] < 0.1
    assert advice["verdict"].startswith("too large: stable, but")
    assert list(tmp_path.iterdir()) == [tmp_path / "input.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json"], "info --suggest-dt INPUT"),
        (["--suggest-dt", "input.yaml", "--energy-tolerance", "0"], "--energy-tolerance 0: expected a share of kT > 0"),
        (["--suggest-dt", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, arguments, said):
    (tmp_path / "input.yaml").write_text(QUENCH)
    done = latticemd("info", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
