"""FIRE finds the minima that other methods find, the same one in any company, and the command says when it does not."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions, simulation
from scipy.optimize import brentq
from test_run import latticemd

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, Ramp, State, System
from latticemd.build import read_positions
from latticemd.config import load_input
from latticemd.errors import Diverged, InputError, OutputError, StoppedEarly
from latticemd.minimization import Fire, largest_force, minimize
from latticemd.minimization.figure import draw_minimization
from latticemd.minimization.progress import MinimizationProgress
from latticemd.minimization.runner import minimum_directory, run_minimization
from latticemd.output.checkpoint import read_checkpoint, write_checkpoint
from latticemd.plugins import load_plugin, register
from latticemd.runner import run

INPUT = """\
lattice:  {type: square, shape: [6, 4]}
model:    {name: holstein, coupling: 1.5}
initial:  {kind: checkerboard, amplitude: 1.0, width: 0.3, seed: 1}
dynamics: {integrator: overdamped, dt: 0.1, steps: 4, temperature: 0.1}
output:   {directory: out, figures: false, checkpoint_every: 10}
"""


FIRE = Fire()


def descend(model, x, *, fire=FIRE, steps=2000):
    """The state at the end, and the free energies (S, R) on the way."""
    system, state = System(model, ExactDiagonalisation(), len(x)), State.at_rest(x)
    energies: list[np.ndarray] = []
    minimize(state, system, fire, steps, watch=lambda state: energies.append(state.potential.copy()))
    assert system.force_calls == state.step + 1
    return state, np.array(energies)


def noisy_checkerboard(model, amplitude=1.0, width=0.3, seed=0, replicas=1):
    return model.ordered(amplitude) + random_positions(model, seed, replicas, width)


@pytest.fixture(scope="module")
def bench():
    """The functions of tools/bench/minimization.py."""
    path = Path(__file__).parent.parent / "tools" / "bench" / "minimization.py"
    spec = importlib.util.spec_from_file_location("bench_minimization", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# where it ends


@pytest.mark.parametrize(("coupling", "temperature"), [(0.75, 0.1), (1.5, 0.1), (1.5, 0.5), (3.5, 0.1)])
def test_the_checkerboard_solves_the_mean_field_equation(coupling, temperature):
    model = Holstein(Lattice("square", (6, 8)), coupling=coupling, electronic_temperature=temperature)
    k = [2 * np.pi * np.arange(n) / n for n in model.lattice.shape]
    band = -2 * model.hopping * (np.cos(k[0])[:, None] + np.cos(k[1])[None])

    def force(q):
        # k and k + (pi, pi) form a two-level system: <n_A> - 1/2 is half the mean over k of (gQ/E) tanh(E/2kT).
        energy = np.sqrt(band**2 + (coupling * q) ** 2)
        order = 0.5 * np.mean(coupling * q / energy * np.tanh(energy / (2 * temperature)))
        return coupling * order - (model.stiffness - 4 * model.intersite) * q

    amplitude = brentq(force, 1e-3, 10.0, xtol=1e-14)
    state, _ = descend(model, noisy_checkerboard(model, amplitude=0.5), fire=Fire(1e-11))
    np.testing.assert_allclose(np.abs(state.x), amplitude, rtol=1e-8)
    assert np.abs((state.x[0] * model.ordered(1.0)).mean()) == pytest.approx(amplitude, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", [1.0, 1.5])
def test_weak_fluctuations_leave_the_order_near_that_of_the_mean_field(coupling):
    model = Holstein(Lattice("square", (12, 12)), coupling=coupling)
    state, system = State.at_rest(model.ordered(1.0)[None]), System(model, ExactDiagonalisation())
    minimize(state, system, Fire(1e-8), 2000)
    exact = model.order_field(state.x, system.electrons.density).mean()
    errors = []
    for temperature in (0.01, 0.0025):  # of the lattice; the electrons stay at 0.1
        run = simulation(model, "langevin", model.ordered(1.0)[None], dt=0.2, temperature=temperature, friction=0.5,
                         forcefield=load_plugin("forcefield", "poles")(), seed=3)  # fmt: skip
        orders = []
        for step in range(200, 2200, 10):
            run.run(steps=step)
            orders.append(run.frame().order_field.mean())
        errors.append(abs(float(np.mean(orders)) - exact))
    assert errors[1] < 0.01 * exact
    assert errors[1] < 0.5 * errors[0]  # linear in the temperature: a quarter, and noise


@pytest.mark.parametrize(
    "parameters", [{"coupling": 1.5}, {"coupling": 1.0, "filling": 0.5}, {"coupling": 1.5, "mu": 0.3}], ids=str
)
def test_fire_and_lbfgs_find_the_same_minimum_in_comparable_force_calls(parameters):
    from scipy.optimize import minimize as scipy_minimize

    model = Holstein(Lattice("square", (8, 6)), **parameters)
    x = noisy_checkerboard(model, seed=4)
    state, energies = descend(model, x, fire=Fire(1e-7))

    def energy_and_gradient(flat):
        forces, energy = forces_and_energy(model, flat.reshape(x.shape))
        return energy[0], -forces.ravel()

    options = {"gtol": 1e-7, "ftol": 0.0}
    other = scipy_minimize(energy_and_gradient, x.ravel(), jac=True, method="L-BFGS-B", options=options)
    assert (
        np.abs(other.jac).max() <= 1e-6
    )  # a minimum to compare with; the line search may stop at rounding before 1e-7
    assert state.potential[0] == pytest.approx(other.fun, rel=1e-10)
    np.testing.assert_allclose(state.x.ravel(), other.x, atol=1e-5)
    # L-BFGS knows curvatures and needs fewer; FIRE must not fall behind by more than it does in docs/minimization.md.
    assert len(energies) <= 3 * other.nfev


def test_fire_needs_fewer_force_calls_than_the_fire_of_ase(bench):
    pytest.importorskip("ase", reason="ASE is an optional peer to compare with")
    model = Holstein(Lattice("square", (6, 6)))
    x = noisy_checkerboard(model, seed=2)
    ours, energy, force = bench.fire(model, x, 2000)
    assert force <= bench.TOLERANCE
    for name in ("FIRE", "FIRE2"):
        theirs, other, other_force = bench.ase_optimiser(name)(model, x, 2000)
        assert other_force <= bench.TOLERANCE
        assert energy == pytest.approx(other, rel=1e-10)
        assert ours < theirs


def test_without_coupling_the_lattice_relaxes_to_zero():
    model = Holstein(Lattice("square", (6, 5)), coupling=0.0)
    state, _ = descend(model, random_positions(model, width=3.0), fire=Fire(1e-10))
    softest = model.stiffness - 4 * model.intersite
    assert np.linalg.norm(state.x) <= 1e-10 * np.sqrt(state.x.size) / softest


def test_a_disordered_start_ends_in_a_local_minimum_that_may_hold_walls():
    model = Holstein(Lattice("square", (8, 8)), coupling=3.5)
    state, _ = descend(model, random_positions(model, seed=1, width=5.0))
    perfect, _ = descend(model, noisy_checkerboard(model, amplitude=5.0))
    assert largest_force(state)[0] <= 1e-6
    assert state.potential[0] > perfect.potential[0] + 1.0
    # Displaced a little at random, the energy rises: it is a minimum.
    nearby = state.x + 1e-3 * random_positions(model, seed=5, replicas=20)
    assert (forces_and_energy(model, nearby)[1] > state.potential[0]).all()


def test_a_symmetric_start_stays_on_its_saddle_and_noise_leaves_it():
    model = Holstein(Lattice("square", (6, 4)))
    saddle, _ = descend(model, np.zeros((1, 24, 1)))
    assert saddle.step == 0
    minimum, _ = descend(model, random_positions(model, width=0.01))
    assert minimum.potential[0] < saddle.potential[0] - 1.0


# how it gets there


def test_every_step_is_the_documented_equation():
    model = Holstein(Lattice("square", (6, 4)), mass=2.0)
    x = random_positions(model, seed=6)
    unit = np.sqrt(model.mass / (model.stiffness + 4 * model.intersite))
    dt, alpha, p, turns = 0.7 * unit, 0.5, np.zeros_like(x), 0
    expected = x.copy()
    for _ in range(25):
        force, _ = forces_and_energy(model, expected)
        if np.vdot(force, p) < 0:
            dt, alpha, turns = 0.7 * dt, 0.5, turns + 1
            expected -= 0.5 * dt * p / model.mass
            p = np.zeros_like(x)
        else:
            dt, alpha = min(1.1 * dt, 1.5 * unit), 0.99 * alpha
        p = p + dt * force
        p = (1 - alpha) * p + alpha * np.linalg.norm(p) * force / np.linalg.norm(force)
        expected += dt * p / model.mass
    assert turns >= 2
    state, _ = descend(model, x, steps=25)
    np.testing.assert_allclose(state.x, expected, rtol=1e-9)
    np.testing.assert_allclose(state.p, p, rtol=1e-7, atol=1e-9)
    assert state.thermostat["fire_dt"] == pytest.approx([dt])
    assert state.thermostat["fire_alpha"] == pytest.approx([alpha])


def test_the_energy_falls_and_does_not_rise_again_at_the_end():
    model = Holstein(Lattice("square", (8, 8)))
    state, energies = descend(model, random_positions(model, seed=3))
    assert energies.max() == energies[0, 0]
    assert state.potential[0] <= energies.min() + 1e-12 * abs(energies.min())
    late = energies[energies[:, 0] - energies[-1, 0] < 1e-6, 0]
    assert np.diff(late).max() < 1e-6


def test_the_path_has_the_symmetry_of_the_forces():
    model = Holstein(Lattice("square", (6, 4)))
    x = random_positions(model, seed=7)
    state, _ = descend(model, np.concatenate([x, -x]), steps=20)
    np.testing.assert_allclose(state.x[0], -state.x[1], rtol=1e-9)


def test_the_path_does_not_depend_on_the_mass():
    light = Holstein(Lattice("square", (6, 4)), mass=1.0)
    x = random_positions(light, seed=8)
    heavy = dataclasses.replace(light, mass=7.0)
    np.testing.assert_allclose(descend(heavy, x, steps=20)[0].x, descend(light, x, steps=20)[0].x, rtol=1e-9)


def test_steps_that_are_much_too_large_adapt():
    model = Holstein(Lattice("square", (6, 4)))
    x = noisy_checkerboard(model)
    wild, _ = descend(model, x, fire=Fire(first_dt=10.0, largest_dt=20.0))
    calm, _ = descend(model, x)
    assert largest_force(wild)[0] <= 1e-6
    np.testing.assert_allclose(np.abs(wild.x), np.abs(calm.x), atol=1e-5)


def test_a_replica_takes_the_same_path_alone_and_in_a_batch():
    model = Holstein(Lattice("square", (6, 4)))
    x = np.concatenate([noisy_checkerboard(model, width=w, seed=w) for w in (0, 1, 3)])
    batch, _ = descend(model, x)
    steps = batch.thermostat["fire_steps"]
    assert len(set(steps)) == 3  # they arrive at different times, and the early ones wait
    for r in range(3):
        alone, _ = descend(model, x[r : r + 1])
        assert alone.step == steps[r]
        assert alone.x.tobytes() == batch.x[r : r + 1].tobytes()
        assert alone.potential.tobytes() == batch.potential[r : r + 1].tobytes()
        for name, value in alone.thermostat.items():
            assert value.tobytes() == batch.thermostat[name][r : r + 1].tobytes()


def test_the_state_holds_everything_the_descent_depends_on(tmp_path):
    model = Holstein(Lattice("square", (6, 4)))
    x = random_positions(model, seed=9, replicas=2)
    whole, _ = descend(model, x)
    half, _ = descend(model, x, steps=17)
    write_checkpoint(tmp_path / "half.h5", half, {})
    state, _ = read_checkpoint(tmp_path / "half.h5")
    minimize(state, System(model, ExactDiagonalisation(), 2), FIRE, 2000)
    assert state.digest() == whole.digest()


def test_a_converged_start_takes_no_step():
    model = Holstein(Lattice("square", (6, 4)))
    first, _ = descend(model, noisy_checkerboard(model))
    again, energies = descend(model, first.x)
    assert again.step == 0
    assert len(energies) == 1
    assert again.x.tobytes() == first.x.tobytes()
    assert not first.p.any()


# what it refuses


def test_an_energy_without_a_minimum_diverges():
    model = Holstein(Lattice("square", (4, 4)), intersite=0.6)  # k < 4 kappa: the checkerboard grows without bounds
    with pytest.raises(Diverged, match="beyond 1e\\+18"):
        descend(model, noisy_checkerboard(model), steps=20_000)


def test_ramps_and_tolerances_without_meaning_are_refused():
    model = Holstein(Lattice("square", (4, 4)))
    ramped = System(model, ExactDiagonalisation(), 1, {"coupling": Ramp.linear(1.0, 2.0, 0, 10)})
    with pytest.raises(InputError, match="coupling is ramped"):
        minimize(State.at_rest(np.zeros((1, 16, 1))), ramped, FIRE, 10)
    for tolerance in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="force tolerance"):
            Fire(tolerance)


# the command


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    (tmp_path / "input.yaml").write_text(INPUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_leaves_a_minimum_that_a_run_can_start_from(workplace):
    done = latticemd("minimize", "input.yaml", "--set", "output.figures=true", "--set", "replicas=2", cwd=workplace)
    assert done.returncode == 0, done.stderr
    out = workplace / "out_minimized"
    assert {path.name for path in out.iterdir()} == {"minimum.h5", "input.yaml", "summary.json", "run.log", "figures"}
    assert (out / "figures/minimization.png").stat().st_size > 10_000
    summary = json.loads((out / "summary.json").read_text())
    state, extra = read_checkpoint(out / "minimum.h5")
    assert summary["converged"] is True
    assert summary["steps"] == state.thermostat["fire_steps"].tolist()
    assert summary["digest"] == state.digest()
    assert max(summary["max_force"]) <= 1e-6
    assert summary["wall_fraction"] == [0.0, 0.0]
    forces, energy = forces_and_energy(Holstein(Lattice("square", (6, 4))), state.x)
    np.testing.assert_allclose(summary["energy"], energy, rtol=1e-12)
    np.testing.assert_allclose(summary["max_force"], np.abs(forces).max(axis=(1, 2)), atol=1e-12)
    assert extra["curve/free_energy"].shape == (state.step + 1, 2)
    np.testing.assert_array_equal(extra["curve/free_energy"][-1], state.potential)

    from_minimum = ["initial={kind: file, path: out_minimized/minimum.h5, velocity: zero}", "replicas=2"]
    run(load_input(Path("input.yaml"), [*from_minimum, "dynamics.steps=0"]))
    np.testing.assert_array_equal(read_checkpoint(Path("out/checkpoint.h5"))[0].x, state.x)
    again = run_minimization(load_input(Path("input.yaml"), from_minimum), Path("again"))
    assert again["steps"] == [0, 0]
    assert draw_minimization(Path("out_minimized")) == Path("out_minimized/figures/minimization.png")


def test_a_minimum_is_never_overwritten_unless_told(workplace):
    arguments = ("minimize", "input.yaml", "--output", "place")
    done = latticemd(*arguments, "--steps", 3, cwd=workplace)
    assert done.returncode == 1, done.stderr
    assert "not converged after 3 steps" in done.stderr
    assert "kind: file, path: place/minimum.h5" in done.stderr
    summary = json.loads((workplace / "place/summary.json").read_text())
    assert summary["converged"] is False
    kept = (workplace / "place/minimum.h5").read_bytes()
    done = latticemd(*arguments, cwd=workplace)
    assert done.returncode == 2
    assert "place already holds a minimum; use --overwrite" in done.stderr
    with pytest.raises(OutputError, match="already holds a minimum"):
        run(load_input(Path("input.yaml"), ["output.directory=place"]))
    assert (workplace / "place/minimum.h5").read_bytes() == kept
    # It may go on from the very file it replaces.
    start = load_input(Path("input.yaml"), ["initial={kind: file, path: place/minimum.h5}"])
    assert run_minimization(start, Path("place"), overwrite=True)["converged"] is True


def test_the_bar_counts_the_decades_of_force_that_are_done():
    from rich.console import Console

    model = Holstein(Lattice("square", (6, 4)))
    screen = io.StringIO()
    progress = MinimizationProgress(1e-6, Console(file=screen, force_terminal=True, width=160))
    system, state = System(model, ExactDiagonalisation()), State.at_rest(noisy_checkerboard(model))
    system.update_forces(state, 0)
    decades = np.log10(largest_force(state)[0] / 1e-6)
    minimize(state, system, FIRE, 2000, watch=progress)
    progress.close()
    task = progress._meter._bar.tasks[0]
    assert task.total == task.completed == pytest.approx(decades)
    assert f"step {state.step} " in screen.getvalue()


def test_the_directory_is_derived_from_that_of_the_run(workplace):
    places = {"runs/quench": "runs/quench_minimized", ".": "run_minimized"}
    for run_directory, expected in places.items():
        assert minimum_directory(load_input(Path("input.yaml"), [f"output.directory={run_directory}"])) == Path(
            expected
        )


def test_ramped_parameters_stay_at_step_zero(workplace):
    ramp = "model.coupling={kind: linear, from: 1.5, to: 3.0, start: 0, end: 4}"
    ramped = run_minimization(load_input(Path("input.yaml"), [ramp]), Path("ramped"))
    constant = run_minimization(load_input(Path("input.yaml")), Path("constant"))
    assert ramped["digest"] == constant["digest"]


class FailsLater(ExactDiagonalisation):
    """Exact until its twelfth call."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        if step == 12:
            out.force[0, 5] = np.nan


class StopsLater(ExactDiagonalisation):
    """Exact; the process gets a SIGTERM in the fifth step."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)


class Swirls(ExactDiagonalisation):
    """A force that is no gradient, as it says."""

    def capabilities(self, model, replicas):
        return dataclasses.replace(super().capabilities(model, replicas), conservative=False)


@pytest.fixture
def with_forcefield(workplace):
    def load(forcefield):
        register("forcefield", forcefield.__name__, forcefield)
        return load_input(Path("input.yaml"), [f"forcefield.name={forcefield.__name__}"])

    return load


def test_divergence_keeps_the_last_good_and_the_bad_state(with_forcefield, workplace):
    with pytest.raises(
        Diverged, match=r"at step 12: force is not finite: .*site 5.* step 10, in out_minimized"
    ) as error:
        run_minimization(with_forcefield(FailsLater))
    assert error.value.exit_code == 3
    model = Holstein(Lattice("square", (6, 4)))
    assert read_positions(workplace / "out_minimized/minimum.h5", model).shape == (1, 24, 1)
    assert read_checkpoint(workplace / "out_minimized/diverged.h5")[0].step == 12
    assert not (workplace / "out_minimized/summary.json").exists()


def test_the_command_exits_with_3_when_it_diverges(workplace):
    settings = ["--set", "model.intersite=0.6", "--steps", "20000"]
    done = latticemd("minimize", "input.yaml", *settings, cwd=workplace)
    assert done.returncode == 3, done.stderr
    assert "bounded from below" in done.stderr
    for noise in ("Traceback", "Warning"):
        assert noise not in done.stderr


def test_a_signal_saves_what_was_reached_and_exits_with_75(with_forcefield, workplace):
    run_input = with_forcefield(StopsLater)
    with pytest.raises(StoppedEarly, match=r"SIGTERM after 5 steps.*path: out_minimized/minimum.h5") as error:
        run_minimization(run_input)
    assert error.value.exit_code == 75
    state, extra = read_checkpoint(workplace / "out_minimized/minimum.h5")
    assert state.step == 5
    assert not extra["converged"].any()


def test_forces_that_are_no_gradient_are_announced(with_forcefield, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("latticemd"), "propagate", True)  # another test may have called plain_logging
    with caplog.at_level(logging.WARNING, logger="latticemd"):
        run_minimization(with_forcefield(Swirls))
    assert "not conservative" in caplog.text
