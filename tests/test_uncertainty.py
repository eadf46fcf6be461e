"""Runs that halt where their force field is unsure, the states they keep, and labels for these."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import forces_and_energy
from networks import LinearForce, register_networks, saved_linear
from ranks import on_ranks

from latticemd.config import load_input
from latticemd.errors import InputError, TooUncertain
from latticemd.learning.dataset import read_dataset
from latticemd.learning.labelling import label, plan_labels
from latticemd.output.states import read_states
from latticemd.output.trajectory import read_trajectory
from latticemd.reporters.uncertainty import Limits
from latticemd.runner import run

# Two springs softer than the lattice's own let Q grow, b = -1.6 and -1.4 on a spring of 1, so the spread |Q_i| 0.2/sqrt(2) grows.
INPUT = """\
lattice:    {type: square, shape: [6, 4]}
model:      {name: holstein, coupling: 1.5, intersite: 0.0, electronic_temperature: 0.1}
forcefield: {name: committee, models: [one.safetensors, two.safetensors]}
initial:    {kind: normal, width: 0.5, seed: 3}
dynamics:   {integrator: overdamped, dt: 0.2, steps: 20, temperature: 1.0e-6, friction: 1.0, seed: 7}
output:     {directory: out, every: 4, checkpoint_every: 5, figures: false}
observables: [{name: forcefield, every: 1}]
"""
LIMIT = "stop_when={uncertainty: 0.15}"
EXACT = "label.forcefield={name: ed}"


@pytest.fixture
def workplace(tmp_path, monkeypatch, small):
    register_networks()
    monkeypatch.chdir(tmp_path)
    for name, b in (("one", -1.6), ("two", -1.4)):
        saved_linear(f"{name}.safetensors", small, a=0.0, b=b)
    (tmp_path / "input.yaml").write_text(INPUT)
    return tmp_path


def halted(*settings, **options):
    with pytest.raises(TooUncertain) as caught:
        run(load_input("input.yaml", settings), **options)
    assert caught.value.exit_code == 75
    return str(caught.value)


def spreads(directory="out"):
    with read_trajectory(f"{directory}/trajectory.h5") as trajectory:
        element = "observables/forcefield/uncertainty"
        return trajectory.steps(element), trajectory.value(element)[:, 0]


def test_a_run_halts_at_the_first_step_whose_uncertainty_exceeds_the_limit(workplace):
    run(load_input("input.yaml", ["output.directory=whole"]))
    steps, spread = spreads("whole")
    first = int(steps[spread > 0.15][0])
    assert 4 < first < 19
    message = halted(LIMIT)
    assert f"stopped at step {first} of 20" in message
    assert "limit 0.15" in message
    assert "out/uncertain.h5" in message
    assert spreads()[0][-1] == first
    summary = json.loads((workplace / "out/summary.json").read_text())
    assert summary["steps"] == first
    assert summary["ended"].startswith("the force is uncertain by 0.1")
    assert json.loads((workplace / "whole/summary.json").read_text())["ended"] == "finished"


def test_what_is_kept_are_frames_above_half_of_the_limit_and_the_last_state(workplace):
    halted(LIMIT)
    steps, spread = spreads()
    kept = read_states(workplace / "out/uncertain.h5")
    frames = [int(step) for step, value in zip(steps, spread, strict=True) if step % 4 == 0 and value >= 0.075]
    assert [state.step for state in kept] == sorted({*frames, int(steps[-1])})
    for state in kept:
        np.testing.assert_allclose(state.uncertainty, 0.2 / np.sqrt(2.0) * np.abs(state.x[:, 0]), rtol=1e-12)
        assert state.rms == pytest.approx(spread[state.step])
    halted(LIMIT, "stop_when.save=1", "output.directory=one")
    assert [state.step for state in read_states(workplace / "one/uncertain.h5")] == [int(steps[-1])]


def test_a_halted_run_halts_again_unless_the_limit_is_raised_and_then_is_the_run_it_would_have_been(workplace):
    halted(LIMIT)
    last = spreads()[0][-1]
    assert f"stopped at step {last} " in halted(LIMIT, resume=True)
    finished = run(load_input("input.yaml", ["stop_when={uncertainty: 100.0}"]), resume=True)
    whole = run(load_input("input.yaml", ["output.directory=whole"]))
    assert finished["digest"] == whole["digest"]
    np.testing.assert_array_equal(spreads(), spreads("whole"))
    assert read_states(workplace / "out/uncertain.h5")[-1].step == last


def test_the_largest_site_of_any_replica_may_be_what_counts(workplace):
    message = halted("stop_when={largest_uncertainty: 0.3}", "replicas=3")
    assert "(limit 0.3) in replica " in message
    replica = int(message.partition("in replica ")[2].split()[0])
    kept = {(s.group, s.step): s for s in read_states(workplace / "out/uncertain.h5")}
    last = spreads()[0][-1]
    assert kept[f"particles/replica_{replica:04d}", last].uncertainty.max() > 0.3


def test_uncertain_states_survive_a_stop_and_are_the_same_set(workplace):
    settings = ["stop_when={uncertainty: 0.5, save: 3}", "dynamics.steps=18", "output.every=1"]
    run(load_input("input.yaml", [*settings, "output.directory=whole"]))
    run(load_input("input.yaml", [*settings, "dynamics.steps=15"]))
    assert [state.step for state in read_states(workplace / "out/uncertain.h5")] == [13, 14, 15]
    run(load_input("input.yaml", settings), resume=True)
    whole, parts = (read_states(workplace / name / "uncertain.h5") for name in ("whole", "out"))
    assert [state.step for state in whole] == [state.step for state in parts] == [16, 17, 18]
    assert all(np.array_equal(a.x, b.x) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize(
    ("ranks", "replicas", "grid"), [(4, 1, "[2, 2]"), (3, 3, "[1, 1]"), (4, 2, "[2, 1]")], ids=["cells", "replicas", "both"]
)  # fmt: skip
def test_ranks_halt_together_and_the_first_keeps_the_states_of_one_rank(workplace, monkeypatch, ranks, replicas, grid):
    monkeypatch.setattr(LinearForce, "halo", 1, raising=False)
    limits = "stop_when={uncertainty: 0.15, largest_uncertainty: 0.4, save: 5}"
    common = [limits, f"replicas={replicas}", "output.every=2", "observables=[{name: energy, every: 1}]"]
    alone = halted(*common, "output.directory=one")

    def messages(**options):
        def halt(world):
            with pytest.raises(TooUncertain) as caught:
                run(load_input("input.yaml", [*common, f"parallel={{grid: {grid}}}"]), world=world, **options)
            return str(caught.value)

        return on_ranks(ranks, halt)

    def outcome(directory):
        summary = json.loads((workplace / directory / "summary.json").read_text())
        states = read_states(workplace / directory / "uncertain.h5")
        kept = [(s.group, s.step, s.time, s.x.tobytes(), s.uncertainty.tobytes()) for s in states]
        return summary["digest"], summary["steps"], summary["ended"], kept

    many = messages()
    assert many[0] == alone.replace("one/", "out/").replace("resume one", "resume out")
    assert {message.partition("\n")[0] for message in many} == {alone.partition("\n")[0]}
    assert len(outcome("one")[3]) > 1
    assert outcome("out") == outcome("one")
    assert messages(resume=True) == many
    assert outcome("out") == outcome("one")


def test_limits_are_shares_of_what_comes_closest():
    spread = np.array([0.0, 0.3, 0.4, 0.0])
    assert Limits(rms=0.5).level(spread) == pytest.approx(0.5)
    assert Limits(rms=0.5, largest=0.5).level(spread) == pytest.approx(0.8)


def test_limits_need_a_force_field_that_knows_its_uncertainty(workplace):
    with pytest.raises(InputError, match="stop_when: force field ed does not tell how uncertain"):
        run(load_input("input.yaml", [LIMIT, "forcefield={name: ed}"]))
    with pytest.raises(InputError, match="expected uncertainty, largest_uncertainty or both"):
        load_input("input.yaml", ["stop_when={every: 2}"])


def test_uncertain_states_are_labelled_exactly(workplace, small):
    halted(LIMIT)
    states = read_states(workplace / "out/uncertain.h5")
    plan = plan_labels("out/input.yaml", ["label.states=out/uncertain.h5", "label.output=new.h5", EXACT])
    (trajectory,) = read_dataset(label(plan))
    assert trajectory.step.tolist() == [state.step for state in states]
    assert trajectory.x.tobytes() == np.stack([state.x for state in states]).tobytes()
    total, _ = forces_and_energy(trajectory.model, trajectory.x)
    elastic = np.empty_like(total)
    trajectory.model.total_force(trajectory.x, np.zeros_like(total), elastic)
    np.testing.assert_allclose(trajectory.force, total - elastic, atol=1e-12)
    assert (trajectory.attributes["kind"], trajectory.attributes["seed"]) == ("states", 3)


def test_states_of_a_run_are_a_piece_of_the_trajectory_that_labels_along_it_would_be(workplace):
    run(load_input("input.yaml", ["replicas=2"]))
    states = read_dataset(
        label(plan_labels("input.yaml", ["label.states=out/trajectory.h5", "label.at=[0, 8]", EXACT]))
    )
    assert [t.step.tolist() for t in states] == [[0, 8], [0, 8]]
    along = read_dataset(label(plan_labels("input.yaml", ["label={at: [0], output: along.h5}", EXACT])))
    assert states[0].attributes["trajectory"] == along[0].attributes["trajectory"]
    assert states[1].attributes["trajectory"] != along[0].attributes["trajectory"]


def test_labels_are_not_made_by_what_is_uncertain_nor_for_another_lattice(workplace):
    run(load_input("input.yaml", ["dynamics.steps=1"]))
    states = "label.states=out/trajectory.h5"
    with pytest.raises(InputError, match="labels are exact, and the forces of committee are uncertain"):
        label(plan_labels("input.yaml", [states]))
    with pytest.raises(InputError, match=r"is on the lattice .*, but the input has"):
        plan_labels("input.yaml", [states, "lattice.shape=[4, 6]"])
    with pytest.raises(InputError, match="has 1 states, none of them at the steps"):
        plan_labels("input.yaml", [states, "label.at=[3]"])
    with pytest.raises(InputError, match="states of a file are labelled as they are"):
        plan_labels("input.yaml", [states, "label.vary={seed: [1]}"])
    with pytest.raises(InputError, match=r"input.yaml: cannot be read as states of a run"):
        plan_labels("input.yaml", ["label.states=input.yaml"])
