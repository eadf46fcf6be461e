"""Starting from a file: positions and momenta of a run's checkpoint or trajectory, and what cannot be used."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from test_run import QUENCH, latticemd

from latticemd import State
from latticemd.build import build_model, build_state
from latticemd.config import RunInput, load_input
from latticemd.errors import InputError
from latticemd.output.checkpoint import read_state, write_checkpoint
from latticemd.output.trajectory import read_trajectory
from latticemd.runner import run


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Two replicas after twelve steps with inertia; frames 0, 3, 6, 9, 12."""
    folder = tmp_path_factory.mktemp("earlier")
    (folder / "input.yaml").write_text(QUENCH)
    run(
        load_input(
            folder / "input.yaml", [f"output.directory={folder}/out", "dynamics.integrator=verlet", "replicas=2"]
        )
    )
    return folder / "out"


@pytest.fixture
def load(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)

    def load(path, *settings, keys="velocity: file", integrator="langevin") -> RunInput:
        start = f"initial={{kind: file, path: {path}, {keys}}}"
        return load_input(tmp_path / "input.yaml", [start, f"dynamics.integrator={integrator}", *settings])

    return load


def start(run_input: RunInput) -> State:
    return build_state(run_input, build_model(run_input)[0])


def test_positions_and_momenta_are_those_of_the_file(earlier, load):
    kept = read_state(earlier / "checkpoint.h5")
    found = start(load(earlier / "checkpoint.h5", "replicas=2"))
    np.testing.assert_array_equal([found.x, found.p], [kept.x, kept.p])
    assert (found.step, found.thermostat) == (0, {})
    with read_trajectory(earlier / "trajectory.h5") as trajectory:
        for frame in (0, 2, -1):
            found = start(load(earlier / "trajectory.h5", "replicas=2", keys=f"velocity: file, frame: {frame}"))
            for r in range(2):
                group = f"particles/replica_{r:04d}"
                np.testing.assert_array_equal(found.x[r], trajectory.value(f"{group}/displacement")[frame])
                np.testing.assert_array_equal(found.p[r], trajectory.value(f"{group}/momentum")[frame])
    assert np.any(found.p)
    assert not np.any(start(load(earlier / "checkpoint.h5", "replicas=2", integrator="overdamped")).p)
    assert not np.any(start(load(earlier / "checkpoint.h5", "replicas=2", keys="velocity: zero")).p)


def test_velocities_from_a_file_survive_the_resolved_input(earlier, load, tmp_path):
    once = load(earlier / "checkpoint.h5")
    (tmp_path / "resolved.yaml").write_text(once.to_yaml())
    assert load_input(tmp_path / "resolved.yaml") == once
    assert once.initial.velocity == "file"


def test_only_a_file_with_momenta_gives_velocities(earlier, load, tmp_path):
    np.save(tmp_path / "q.npy", np.zeros(24))
    with pytest.raises(InputError, match=r"initial\.velocity: .*q\.npy' holds no momenta; expected 'thermal'"):
        load(tmp_path / "q.npy")
    with pytest.raises(InputError, match=r"initial\.velocity: expected 'thermal', 'zero' or a number > 0"):
        load_input(tmp_path / "input.yaml", ["initial={kind: normal, velocity: file}"])
    bare = [f"output.directory={tmp_path}/bare", "output.fields=[displacement]"]
    run(load(tmp_path / "q.npy", *bare, keys="velocity: zero"))
    with pytest.raises(InputError, match=r"its frames have no momentum; add momentum to output\.fields"):
        start(load(tmp_path / "bare/trajectory.h5"))


def test_the_number_of_replicas_must_be_one_or_that_of_the_input(earlier, load, tmp_path):
    for replicas in (1, 3):
        with pytest.raises(InputError, match=f"holds 2 replicas, but the input has {replicas}; use replicas: 2"):
            start(load(earlier / "checkpoint.h5", f"replicas={replicas}"))
    np.save(tmp_path / "q.npy", np.arange(24.0))
    found = start(load(tmp_path / "q.npy", "replicas=3", keys="velocity: thermal"))
    assert np.all(found.x[..., 0] == np.arange(24.0))
    assert np.unique(found.p).size == found.p.size  # each has its own velocities


def test_replicas_of_a_trajectory_are_taken_in_the_order_of_their_numbers(load, tmp_path):
    settings = ["replicas={count: 2, first: 9999}", "dynamics.steps=3", f"output.directory={tmp_path}/many"]
    np.save(tmp_path / "q.npy", np.stack([np.full((24, 1), 1.0), np.full((24, 1), 2.0)]))
    run(load(tmp_path / "q.npy", *settings, keys="velocity: zero"))
    found = start(load(tmp_path / "many/trajectory.h5", "replicas=2", keys="frame: 0"))
    assert found.x[:, 0, 0].tolist() == [1.0, 2.0]  # as text, replica_10000 would come before replica_9999


def test_damaged_or_incomplete_files_are_refused(earlier, load, tmp_path):
    path = tmp_path / "checkpoint.h5"
    content = bytearray((earlier / "checkpoint.h5").read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not have the sha256"):
        start(load(path, "replicas=2"))
    with h5py.File(tmp_path / "else.h5", "w") as file:
        file["x"] = np.zeros(24)
    with pytest.raises(InputError, match=r"else\.h5: .*no displacement|else\.h5: cannot be read"):
        start(load(tmp_path / "else.h5"))
    state = State.at_rest(np.full((1, 24, 1), 1.0))
    state.p[0, 5, 0] = np.inf
    write_checkpoint(tmp_path / "bad.h5", state, {})
    with pytest.raises(InputError, match="momenta are not finite, first those of replica 0, site 5, component 0"):
        start(load(tmp_path / "bad.h5"))
    with pytest.raises(InputError, match="cannot be read as a frame"):
        start(load(earlier / "trajectory.h5", "replicas=2", keys="frame: 5"))


def test_a_trajectory_whose_rows_did_not_travel_with_it_is_refused(load, tmp_path):
    settings = [f"output.directory={tmp_path}/out"]
    np.save(tmp_path / "q.npy", np.ones(24))
    with pytest.raises(Exception, match="wall-clock"):
        run(load(tmp_path / "q.npy", *settings, keys="velocity: zero"), walltime=0.0)
    shutil.copy(tmp_path / "out/trajectory.h5", tmp_path / "alone.h5")
    with pytest.raises(InputError, match="copy the whole directory"):  # HDF5 itself would answer with zeros
        start(load(tmp_path / "alone.h5", keys="velocity: zero"))


def test_a_run_that_has_begun_no_longer_needs_the_file_it_started_from(tmp_path):
    np.save(tmp_path / "start.npy", np.zeros(24))
    (tmp_path / "input.yaml").write_text(QUENCH)
    settings = ["--set", "initial={kind: file, path: start.npy}"]
    assert latticemd("run", "input.yaml", *settings, "--set", "dynamics.steps=5", cwd=tmp_path).returncode == 0
    (tmp_path / "start.npy").unlink()
    resumed = latticemd("run", "input.yaml", *settings, "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert latticemd("resume", "out", "--set", "dynamics.steps=14", cwd=tmp_path).returncode == 0
    anew = latticemd("run", "input.yaml", *settings, "--output", "anew", cwd=tmp_path)
    assert anew.returncode == 2
    assert "no such file: 'start.npy'" in anew.stderr
