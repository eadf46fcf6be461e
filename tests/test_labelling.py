"""`latticemd label`: exact forces along trajectories, whole trajectories apart, the same bytes after an interruption."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from conftest import forces_and_energy
from test_run import latticemd

from latticemd.config import load_input
from latticemd.errors import InputError, OutputError, StoppedEarly
from latticemd.learning.dataset import read_dataset, read_provenance
from latticemd.learning.labelling import label, plan_labels
from latticemd.learning.records import electronic_differences, model_of, record_of
from latticemd.models.holstein import Holstein
from latticemd.models.model import Motion
from latticemd.plugins import load_plugin, plugin_names
from latticemd.runner import run

INPUT = """\
lattice:    {type: square, shape: [6, 4]}
model:      {name: holstein, coupling: 1.5}
forcefield: {name: ed}
initial:    {kind: normal, width: 1.0}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 8, temperature: 0.1}
output:     {directory: out, every: 2, figures: false}
label:
  vary: {seed: [1, 2], model.coupling: [1.0, 1.5]}
  at: [0, 3, 8]
  random: 2
  output: exact.h5
"""


@pytest.fixture
def input_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.yaml").write_text(INPUT)
    return tmp_path / "input.yaml"


def labelled(input_file, *settings):
    return read_dataset(label(plan_labels(input_file, settings)))


def test_every_combination_is_a_trajectory_and_random_states_are_one_each(input_file):
    trajectories = labelled(input_file)
    keys = [(t.attributes["kind"], t.attributes["seed"], t.record["parameters"]["coupling"]) for t in trajectories]
    dynamics = [("dynamics", seed, g) for seed in (1, 2) for g in (1.0, 1.5)]
    random = [("random", 1_000_000 + n, g) for g in (1.0, 1.5) for n in (0, 1)]
    assert keys == dynamics + random
    assert [t.step.tolist() for t in trajectories] == [[0, 3, 8]] * 4 + [[0]] * 4
    assert all(t.attributes["temperature"] == 0.1 for t in trajectories)


def test_labels_are_the_electronic_forces_of_the_states(input_file):
    for trajectory in labelled(input_file):
        model = trajectory.model
        total, energy = forces_and_energy(model, trajectory.x)
        elastic = np.empty_like(total)
        model.total_force(trajectory.x, np.zeros_like(total), elastic)
        np.testing.assert_allclose(trajectory.force, total - elastic, atol=1e-12)
        np.testing.assert_allclose(trajectory.energy, energy - model.classical_energy(trajectory.x), atol=1e-11)
        force = model.coupling * (trajectory.density[..., None] - 0.5)
        np.testing.assert_allclose(trajectory.force, force, atol=1e-12)


def test_the_states_are_those_of_the_run(input_file):
    first = labelled(input_file)[1]
    settings = ("initial.seed=1", "dynamics.seed=1", "model.coupling=1.5", "output.every=1")
    run(load_input(input_file, settings))
    from latticemd.output.trajectory import read_trajectory

    with read_trajectory(input_file.parent / "out" / "trajectory.h5") as written:
        frames = written.value("particles/lattice/displacement")[first.step]
    assert frames.tobytes() == first.x.tobytes()


def test_an_interrupted_labelling_goes_on_with_what_is_finished_to_the_same_bytes(input_file):
    whole = labelled(input_file)
    plan = plan_labels(input_file, ["label.output=again.h5"])
    steps: list[int] = []
    with pytest.raises(StoppedEarly, match="continues"):
        label(plan, stop=lambda: len(steps) > 20, watch=steps.append)
    assert not plan.output.exists()
    steps.clear()
    again = read_dataset(label(plan, watch=steps.append))
    assert steps[0] == 9  # the first trajectory was not made again
    for one, other in zip(whole, again, strict=True):
        for name in ("x", "force", "energy", "density", "step"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        assert one.attributes == other.attributes
    assert [path.name for path in input_file.parent.glob("*.parts")] == []


def test_the_dataset_does_not_depend_on_the_number_of_processes(input_file):
    whole = labelled(input_file)
    done = latticemd("label", "input.yaml", "--workers", "2", "--output", "again.h5", cwd=input_file.parent)
    assert done.returncode == 0, done.stderr
    again = read_dataset(input_file.parent / "again.h5")
    assert [t.digest for t in again] == [t.digest for t in whole]
    assert [t.attributes for t in again] == [t.attributes for t in whole]


@pytest.mark.slow
def test_an_error_in_a_process_is_that_of_the_command(input_file):
    settings = ("--set", "dynamics.dt=1e9", "--set", "dynamics.steps=60", "--set", "label.at=[60]")
    done = latticemd("label", "input.yaml", "--workers", "2", *settings, cwd=input_file.parent)
    assert done.returncode == 3
    assert "error: at step" in done.stderr


def test_another_force_field_may_give_the_labels(input_file):
    exact = labelled(input_file, "label.random=null")
    settings = ("label.random=null", "label.output=kpm.h5", "label.forcefield={name: poles, poles: 4}")
    rough = labelled(input_file, *settings)
    for one, other in zip(exact, rough, strict=True):
        assert one.x.tobytes() == other.x.tobytes()
        assert 0.0 < np.abs(one.force - other.force).max() < 0.1


def test_defaults_follow_what_is_varied(input_file):
    settings = ("label.vary={dynamics.temperature: [0.1, 0.3]}", "label.random=null")
    cold, hot = labelled(input_file, *settings)
    assert [t.model.electronic_temperature for t in (cold, hot)] == [0.1, 0.3]
    assert hot.attributes["dynamics.temperature"] == 0.3


def test_a_list_of_products_joins_them(input_file):
    plan = plan_labels(
        input_file, ["label.vary=[{seed: [1, 2]}, {seed: [3], model.coupling: [2.0]}]", "label.random=1"]
    )
    assert [job.settings for job in plan.jobs[:3]] == [{"seed": 1}, {"seed": 2}, {"seed": 3, "model.coupling": 2.0}]
    assert [job.kind for job in plan.jobs] == ["dynamics"] * 3 + ["random"] * 2


@pytest.mark.parametrize("name", [name for name in plugin_names("model") if load_plugin("model", name).electronic])
def test_every_model_with_electrons_can_be_labelled(input_file, name):
    model = load_plugin("model", name)
    integrators = {Motion.SPIN: "llg", Motion.OCCUPATION: "kinetic_monte_carlo"}
    settings = [
        f"model={{name: {name}}}",
        f"forcefield.name={'mean_field' if model.interacting else 'ed'}",
        f"dynamics.integrator={integrators.get(model.motion, 'overdamped')}",
        "lattice.shape=[4, 4]",
        "label.vary={seed: [1]}",
        "label.at=[0, 8]",
    ]
    moving, *random = labelled(input_file, *settings)
    assert len(random) == 2
    assert moving.x.shape == moving.force.shape == (2, 16, moving.model.components)
    assert np.isfinite(moving.force).all()
    assert np.abs(moving.force).max() > 0.01
    assert (moving.x[0] != moving.x[1]).any()


def test_provenance_says_how_it_was_made(input_file):
    done = latticemd("label", "input.yaml", "--set", "label.random=null", cwd=input_file.parent)
    assert done.returncode == 0, done.stderr
    assert "4 trajectories, 12 states of 24 sites" in done.stdout
    about = read_provenance(input_file.parent / "exact.h5")
    assert about["command"] == "latticemd label input.yaml --set label.random=null"
    assert {"version", "revision", "created", "input", "processor", "threads"} <= about.keys()
    assert (about["python"], about["numpy"]) == (platform.python_version(), np.__version__)
    again = latticemd("label", "input.yaml", cwd=input_file.parent)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_a_run_leaves_the_block_aside(input_file):
    run(load_input(input_file))
    text = (input_file.parent / "out" / "input.yaml").read_text()
    assert "label" not in text
    label_only = load_input(input_file, ["label.every=1", "label.at=null", "dynamics.steps=9"])
    assert run(label_only, resume=True)["steps"] == 9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("label.at=[0, 9]", "label.at.1: expected a step up to dynamics.steps (8), got 9"),
        ("label.at=[3, 3]", "label.at.1: expected a step after the one before (3), got 3"),
        ("label.every=2", "label.every: give either at (steps) or every"),
        ("label.vary={model.couplng: [1]}", "unknown key; did you mean 'coupling'?"),
        ("label.vary={sed: [1]}", "unknown key; did you mean 'seed'?"),
        ("label.vary={model: [1]}", "expected a dotted key such as model.coupling"),
        ("label.vary={seed: 1}", "label.vary.seed: expected a list of values, such as [1, 2], got 1"),
        ("label.vary={model.name: [ssh]}", "a dataset has one model"),
        ("label.vary={model.coupling: [two]}", "expected a number"),
        ("label.output=exact.hdf5", "expected the path of a .h5 file, got 'exact.hdf5'"),
        ("model.coupling={kind: linear, from: 1.0, to: 2.0, end: 5}", "model.coupling changes with the step"),
        ("replicas=3", "label makes one trajectory per run, got replicas: 3"),
    ],
)
def test_what_makes_no_dataset_is_refused(input_file, setting, message):
    settings = [setting] if setting.startswith("label.vary") else [setting, "label.vary={seed: [1]}"]
    with pytest.raises(InputError) as refused:
        plan_labels(input_file, settings)
    assert message in str(refused.value)


def test_an_input_without_the_block_and_a_file_that_exists_are_refused(input_file):
    with pytest.raises(InputError, match="has no block label"):
        plan_labels(input_file, ["label=null"])
    (input_file.parent / "exact.h5").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        label(plan_labels(input_file))
    assert (input_file.parent / "exact.h5").read_text() == "mine"
    with pytest.raises(InputError, match="cannot be read as a dataset"):
        read_dataset(input_file.parent / "exact.h5")


def test_a_record_makes_the_same_model_again(small):
    assert model_of(record_of("holstein", small)) == small


def test_only_what_electrons_feel_makes_another_electronic_force(small):
    def differences(**changes):
        return electronic_differences(small, Holstein(small.lattice, **changes))

    assert differences(stiffness=2.0, mass=3.0, intersite=0.0) == []
    assert differences(coupling=2.0) == ["coupling"]
    assert differences(electronic_temperature=0.2, next_hopping=0.1) == ["electronic_temperature", "next_hopping"]
    assert differences(disorder_seed=4) == []  # of no disorder
    assert differences(filling=0.3) == ["mu", "filling"]
