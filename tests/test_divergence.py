"""A run that leaves the finite numbers keeps the last good state, says why it ended, and how to go on."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from test_run import QUENCH, latticemd

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, State, System
from latticemd.config import load_input
from latticemd.divergence import replay
from latticemd.errors import Diverged, InputError
from latticemd.integrators import load_integrator
from latticemd.output.checkpoint import read_checkpoint, read_state
from latticemd.plugins import register
from latticemd.runner import run
from latticemd.simulation import Simulation


class Fragile(ExactDiagonalisation):
    """Exact until step 7, where site 5 of the second replica, or of the only one, gets no number."""

    cured = False

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        if step >= 7 and not Fragile.cured:
            out.force[-1, 5] = np.nan


class CallsFail(ExactDiagonalisation):
    """A force that depends on how often it was asked: calls number `bad` fail."""

    bad: tuple[int, ...] = ()
    calls = 0

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        CallsFail.calls += 1
        if CallsFail.calls in CallsFail.bad:
            out.force[0, 5] = np.nan


@pytest.fixture
def load(tmp_path, monkeypatch):
    register("forcefield", "fragile", Fragile)
    register("forcefield", "calls_fail", CallsFail)
    monkeypatch.setattr(Fragile, "cured", False)
    (tmp_path / "input.yaml").write_text(QUENCH)

    def load(directory, *settings):
        return load_input(tmp_path / "input.yaml", [f"output.directory={tmp_path / directory}", *settings])

    return load


def diverged(run_input, **how):
    with pytest.raises(Diverged) as caught:
        run(run_input, **how)
    return str(caught.value)


@pytest.mark.parametrize(
    ("integrator", "replicas", "every"),
    # Forces of ABOBA lag behind the positions: the first to meet the error is a reporter, or the next step.
    [
        ("overdamped", 1, 3),
        ("overdamped_lm", 2, 3),
        ("langevin", 2, 3),
        ("ABOBA", 1, 1),
        ("ABOBA", 1, 100),
        ("BABAB", 1, 3),
    ],
)
def test_the_last_good_state_is_that_of_a_healthy_run_and_no_later_one_is(tmp_path, load, integrator, replicas, every):
    settings = [f"dynamics.integrator={integrator}", f"replicas={replicas}", f"output.every={every}"]
    message = diverged(load("sick", "forcefield.name=fragile", *settings))
    kept = read_state(tmp_path / "sick/last_good.h5")
    assert kept.step == 6
    healthy = run(load("healthy", *settings, f"dynamics.steps={kept.step}"))
    assert kept.digest() == healthy["digest"]
    assert read_checkpoint(tmp_path / "sick/checkpoint.h5")[0].step == 4
    assert read_state(tmp_path / "sick/diverged.h5").step in (kept.step, kept.step + 1)
    assert f"the last good one, of step {kept.step} with |x|max {np.abs(kept.x).max():.3g}" in message
    assert f"replica {replicas - 1}, site 5 at (1, 1), component 0; largest good value" in message
    assert "first in the electronic term" in message
    assert "does not repeat itself" not in message


def test_the_message_tells_the_time_step_to_use(load):
    stable = diverged(load("stable", "forcefield.name=fragile", "dynamics.integrator=verlet"))
    assert f"dt times the stiffest frequency is {0.1 * np.sqrt(1.72):.3g}" in stable
    assert f"steps up to dt = {2 / np.sqrt(1.72):.3g} are stable" in stable
    assert "a cause in the electronic force" in stable
    assert "dynamics.dt=0.05" in stable
    large = diverged(load("large", "dynamics.dt=20", "dynamics.steps=1000"))
    assert "dt times stiffness/friction is 172, and steps above dt = 0.233 are unstable" in large
    assert "start anew" in large
    assert "dynamics.dt=0.023" in large


@pytest.mark.parametrize("integrator", ["overdamped", "verlet"])
def test_the_command_in_the_message_continues_the_run(tmp_path, load, integrator, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = diverged(load("sick", "forcefield.name=fragile", f"dynamics.integrator={integrator}"))
    words = shlex.split(message.splitlines()[-1])
    assert words[:2] == ["latticemd", "run"]
    assert words[words.index("--output") + 1] == str(tmp_path / "sick_2")
    done = latticemd(*words[1:], "--set", "forcefield.name=ed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    import h5py

    kept = read_state(tmp_path / "sick/last_good.h5")
    with h5py.File(tmp_path / "sick_2/trajectory.h5") as file:
        lattice = file["particles/lattice"]
        np.testing.assert_array_equal(lattice["displacement/value"][0], kept.x[0])
        np.testing.assert_array_equal(lattice["momentum/value"][0], kept.p[0])
    end = read_state(tmp_path / "sick_2/checkpoint.h5").step
    dt = float(re.search(r"dynamics\.dt=(\S+)", message)[1])
    assert 0.1 * kept.step + dt * end == pytest.approx(1.2, abs=dt)


def test_ramps_that_would_begin_again_are_mentioned(load):
    ramp = "dynamics.temperature={kind: linear, from: 0.2, to: 0.1, end: 12}"
    assert "ramps of the input begin again" in diverged(load("a", "forcefield.name=fragile", ramp))
    assert "ramps of the input begin again" not in diverged(load("b", "forcefield.name=fragile"))


def test_a_force_field_that_does_not_repeat_itself_is_named(tmp_path, load, monkeypatch):
    for directory, bad, said in (("passes", (9,), "without diverging"), ("earlier", (9, 11), "diverged earlier")):
        monkeypatch.setattr(CallsFail, "calls", 0)
        monkeypatch.setattr(CallsFail, "bad", bad)
        message = diverged(load(directory, "forcefield.name=calls_fail", "dynamics.integrator=verlet"))
        assert said in message
        assert "does not repeat itself" in message
        # The call that fails first is that of step 8; the replay from the checkpoint at 4 starts with call 10.
        assert read_state(tmp_path / directory / "last_good.h5").step == (8 if directory == "passes" else 4)


def test_a_replay_stops_when_it_is_told_to():
    model = Holstein(Lattice("square", (4, 4)))
    integrator, asked = load_integrator("verlet")(dt=0.1), []
    state = State.at_rest(np.random.default_rng(0).normal(size=(1, 16, 1)))
    expected = Simulation(System(model, ExactDiagonalisation()), integrator, state.copy())
    expected.run(3)

    def stop():
        asked.append(len(asked))
        return len(asked) > 3

    found = replay(10**6, System(model, ExactDiagonalisation()), integrator, state, stop)
    assert found.state.digest() == expected.state.digest()
    assert "interrupted at step 3" in found.note


def test_a_start_that_cannot_be_evaluated_is_said_to_be_one(tmp_path, load, monkeypatch):
    monkeypatch.setattr(CallsFail, "calls", 0)
    monkeypatch.setattr(CallsFail, "bad", (1,))
    message = diverged(load("out", "forcefield.name=calls_fail"))
    assert "diverged at step 0: force is not finite: replica 0, site 5 at (1, 1)" in message
    assert "already the start" in message
    assert {file.name for file in (tmp_path / "out").glob("*.h5")} == {"diverged.h5", "trajectory.h5"}


def test_resuming_after_a_cure_leaves_no_trace_of_the_divergence(tmp_path, load, monkeypatch):
    sick = load("sick", "forcefield.name=fragile")
    diverged(sick)
    assert diverged(sick, resume=True).count("of step 6") == 1  # nothing has changed, so it ends in the same way
    with pytest.raises(InputError, match=r"dynamics\.dt is 0\.05.*from the last good state"):
        run(load("sick", "forcefield.name=fragile", "dynamics.dt=0.05"), resume=True)
    assert (tmp_path / "sick/last_good.h5").exists()  # what was refused has removed nothing
    assert "site 5 at (1, 1)" in (tmp_path / "sick/run.log").read_text()
    monkeypatch.setattr(Fragile, "cured", True)
    resumed = run(sick, resume=True)
    assert resumed["digest"] == run(load("healthy"))["digest"]
    assert not list((tmp_path / "sick").glob("*o*d*.h5"))


def test_overwriting_the_file_a_run_starts_from_is_refused(tmp_path, load):
    diverged(load("sick", "forcefield.name=fragile"))
    before = {path: path.read_bytes() for path in (tmp_path / "sick").glob("*.h5")}
    for file in ("last_good.h5", "checkpoint.h5", "trajectory.h5"):
        again = load("sick", f"initial={{kind: file, path: {tmp_path / 'sick' / file}}}")
        with pytest.raises(InputError, match="that --overwrite would remove"):
            run(again, overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "sick").glob("*.h5")} == before
    run(load("sick"), overwrite=True)
    assert not (tmp_path / "sick/last_good.h5").exists()
