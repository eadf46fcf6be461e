"""Runs under mpirun: the same files on any number of ranks, resumed on any other, and ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from launching import BIN, NEEDS_MPI, ended, mpirun, ranks_of

from latticemd.config import load_input
from latticemd.learning.dataset import read_dataset
from latticemd.output.checkpoint import read_checkpoint
from latticemd.runner import run

PROGRAM = Path(__file__).with_name("mpi_program.py")
pytestmark = [pytest.mark.mpi, pytest.mark.xdist_group("mpi"), NEEDS_MPI]

INPUTS = {
    "langevin": """
lattice: {type: square, shape: [18, 15]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 1}
dynamics: {integrator: langevin, dt: 0.05, steps: 12, temperature: 0.1}
output: {every: 3, checkpoint_every: 4, figures: false, directory: langevin, fields: [displacement, momentum, force, density]}
observables: [{name: energy}, {name: temperature}, {name: order_parameter}, {name: wall_fraction}, {name: structure_factor},
              {name: correlation}]
""",
    "overdamped": """
lattice: {type: square, shape: [17, 14]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: window, width: 5}
dynamics: {integrator: overdamped, dt: 0.05, steps: 8, temperature: 0.1}
output: {every: 4, checkpoint_every: 4, figures: false, directory: overdamped}
""",
    "nose_hoover": """
lattice: {type: honeycomb, shape: [10, 8], boundary: [periodic, antiperiodic]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 1}
dynamics: {integrator: nose_hoover, dt: 0.05, steps: 8, temperature: 0.1}
output: {every: 4, checkpoint_every: 4, figures: false, directory: nose_hoover}
""",
    "replicas": """
lattice: {type: square, shape: [4, 4]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: poles}
dynamics: {integrator: langevin, dt: 0.05, steps: 8, temperature: 0.1}
replicas: 4
output: {every: 4, checkpoint_every: 4, figures: false, directory: replicas}
""",
    "both": """
lattice: {type: square, shape: [12, 13]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 1}
dynamics: {integrator: verlet, dt: 0.05, steps: 8, temperature: 0.1}
replicas: {count: 2, first: 3}
output: {every: 4, checkpoint_every: 4, figures: false, directory: both}
""",
}
LEGS = {1: 4, 2: 6, 3: 8, 4: 12}  # the step to which the resumed run goes on so many ranks
FILES = ("trajectory.h5", "checkpoint.h5", "checkpoint_previous.h5", "input.yaml")


def run_jobs(ranks, jobs, folder):
    path = folder / f"jobs_{ranks}.json"
    path.write_text(json.dumps(jobs))
    return ended(mpirun(ranks, sys.executable, str(PROGRAM), str(path), stdout=subprocess.DEVNULL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of every input on 1, 2, 3 and 4 ranks, and one that was resumed on each of these numbers."""
    folder = tmp_path_factory.mktemp("mpi")
    legs = folder / "legs"
    legs.mkdir()
    inputs = {}
    for name, text in INPUTS.items():
        inputs[name] = folder / f"{name}.yaml"
        inputs[name].write_text(text.lstrip())
    for ranks, step in LEGS.items():
        workplace = folder / str(ranks)
        workplace.mkdir()
        jobs = [{"workplace": str(workplace), "input": str(path)} for path in inputs.values()]
        jobs.append({
            "workplace": str(legs), "input": str(inputs["langevin"]), "settings": [f"dynamics.steps={step}"], "resume": ranks > 1
        })  # fmt: skip
        if ranks == 1:
            for job in jobs:
                here = Path.cwd()
                os.chdir(job["workplace"])
                try:
                    run(load_input(Path(job["input"]), job.get("settings", ())))
                finally:
                    os.chdir(here)
        else:
            code, words = run_jobs(ranks, jobs, folder)
            assert code == 0, words
    return folder


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("name", INPUTS)
def test_files_are_those_of_one_rank(folder, name, ranks):
    for file in FILES:
        assert (folder / str(ranks) / name / file).read_bytes() == (folder / "1" / name / file).read_bytes(), file
    one, many = (json.loads((folder / str(n) / name / "summary.json").read_text()) for n in (1, ranks))
    loaded = {"torch", "torch_threads", "mpi4py"}  # by ranks, or by other tests in the process that is the one rank
    differ = {key for key in one.keys() | many.keys() if one.get(key) != many.get(key)} - loaded
    assert differ <= {"wall_seconds", "force_seconds", "steps_per_second", "ranks", "threads"}


def test_a_run_goes_on_with_any_other_number_of_ranks(folder):
    for file in ("trajectory.h5", "checkpoint.h5"):
        assert (folder / "legs/langevin" / file).read_bytes() == (folder / "1/langevin" / file).read_bytes(), file


def test_an_error_of_one_rank_ends_all_of_them(tmp_path):
    began = time.monotonic()
    code, words = run_jobs(3, [{"fails": 1}], tmp_path)
    assert code == 2
    assert "error on rank 1: this rank has had enough" in words
    assert time.monotonic() - began < 60


def test_an_error_of_all_is_said_once(tmp_path):
    (tmp_path / "in.yaml").write_text(
        INPUTS["replicas"].replace("replicas: 4", "replicas: 2").replace("poles", "ed").lstrip()
    )
    code, words = ended(mpirun(3, str(BIN / "latticemd"), "run", "in.yaml", cwd=tmp_path, stdout=subprocess.DEVNULL))
    assert code == 2
    assert words.count("error:") == 1
    assert "forcefield ed needs all sites" in words
    assert "at most 2 rank(s), and 3 were started" in words


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {75}), (signal.SIGKILL, {137, 9})])
def test_a_signal_to_one_rank_ends_all_of_them_with_a_valid_checkpoint(tmp_path, number, codes):
    (tmp_path / "in.yaml").write_text(INPUTS["langevin"].replace("steps: 12", "steps: 1000000").lstrip())
    process = mpirun(2, str(BIN / "latticemd"), "run", "in.yaml", cwd=tmp_path, stdout=subprocess.DEVNULL)
    checkpoint, patience = tmp_path / "langevin/checkpoint_previous.h5", time.monotonic() + 90
    while not checkpoint.exists() and time.monotonic() < patience and process.poll() is None:
        time.sleep(0.1)
    os.kill(ranks_of(process)[1], number)
    began = time.monotonic()
    code, words = ended(process, 60)
    assert time.monotonic() - began < 30
    assert code in codes, words
    state, _ = read_checkpoint(tmp_path / "langevin/checkpoint.h5")
    assert state.step > 0
    assert np.isfinite(state.x).all()
    if number == signal.SIGTERM:
        assert f"stopped by SIGTERM at step {state.step} of 1000000" in words


def test_ranks_that_cannot_talk_to_each_other_are_told_so(tmp_path):
    (tmp_path / "in.yaml").write_text(INPUTS["langevin"].lstrip())
    code = (
        "import sys; sys.modules['mpi4py'] = None; from latticemd.cli import main; "
        "sys.argv = ['latticemd', 'run', 'in.yaml']; main()"
    )
    for rank, words in (("0", "4 ranks were started, but they cannot talk to each other"), ("1", "")):
        environment = os.environ | {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": rank}
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert found.returncode == 2
        assert words in found.stderr
        assert bool(found.stderr) == (rank == "0")


def test_labels_are_those_of_one_process(tmp_path):
    (tmp_path / "in.yaml").write_text("""
lattice: {type: square, shape: [6, 6]}
model: {name: holstein, coupling: 1.5}
forcefield: {name: poles}
dynamics: {integrator: overdamped, dt: 0.1, steps: 4, temperature: 0.1}
label: {vary: {seed: [1, 2, 3]}, every: 2}
""")
    latticemd = str(BIN / "latticemd")
    alone = subprocess.run(
        [latticemd, "label", "in.yaml", "-o", "one.h5"], cwd=tmp_path, capture_output=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    code, words = ended(
        mpirun(2, latticemd, "label", "in.yaml", "-o", "two.h5", cwd=tmp_path, stdout=subprocess.DEVNULL)
    )
    assert code == 0, words
    one, two = (read_dataset(tmp_path / name) for name in ("one.h5", "two.h5"))
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        for field in ("x", "force", "energy", "density"):
            assert getattr(a, field).tobytes() == getattr(b, field).tobytes()
