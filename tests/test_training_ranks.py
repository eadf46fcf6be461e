"""Trainings on several ranks, of torchrun and of mpirun: the weights of one process, and one end for all."""

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
from launching import NEEDS_MPI, ended, mpirun, ranks_of, torchrun
from networks import register_networks
from test_training import springs

from latticemd.config import load_training
from latticemd.learning.checkpoint import read_training
from latticemd.learning.dataset import write_dataset
from latticemd.learning.runner import train

PROGRAM = Path(__file__).with_name("training_program.py")
pytestmark = [pytest.mark.mpi, pytest.mark.xdist_group("mpi"), NEEDS_MPI]

# 15 + 4 states in batches of 3: each epoch has batches of 3 and one of a single state
TRAINING = """\
data: {train: train.h5, validation: validation.h5}
network: {name: small, width: 4}
steps: 14
batch: 3
validate_every: 5
precision: float64
loss: {relative: trajectory}
optimiser: {learning_rate: 0.02, warmup: 4, clip: 0.5}
seed: 5
output: {directory: out, figures: false}
"""
ENN = "network={name: enn, scalars: 3, directed: 1, blocks: 1"
TRAININGS = {
    "turned": ["augment=true", "optimiser.weight_decay=0.1"],
    "known": [ENN + ", base: cavity, base_radius: 1}", "steps=6"],
    "energy": [ENN + ", conservative: true}", "steps=6"],
    "early": ["optimiser={learning_rate: 1.0e-300, schedule: constant}", "early_stop=2", "validate_every=2"],
}
LEGS = {3: 4, 2: 8}  # the step to which a training goes on so many ranks; one rank goes on to the end
ENDLESS = "optimiser={learning_rate: 0.02, schedule: constant}"  # whose learning rate knows no end


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Every training alone, on two ranks of torchrun and on three of mpirun, and one that went from rank to rank."""
    folder = tmp_path_factory.mktemp("trainings")
    prepare(folder)
    for ranks in (1, 3, 2):
        jobs = [job(f"{name}_{ranks}", *settings) for name, settings in TRAININGS.items()]
        if ranks == 1:
            jobs.append(job("whole", ENDLESS))
        else:
            jobs.append(job("legs", ENDLESS, f"steps={LEGS[ranks]}", resume=ranks == 2))
        if ranks == 2:
            jobs += [job("once", ENDLESS), job("twice", ENDLESS, "steps=7"), job("twice", ENDLESS, resume=True)]
            jobs.append(job("clock", ENDLESS, "steps=null", "time_limit=0.3"))
        on_ranks(folder, ranks, jobs)
    on_ranks(folder, 1, [job("legs", ENDLESS, resume=True)])
    return folder


def prepare(folder):
    register_networks()
    trajectories = [springs(seed) for seed in range(3)] + [springs(5, scale=0.3, coupling=1.2, frames=4)]
    write_dataset(folder / "train.h5", trajectories, {})
    write_dataset(folder / "validation.h5", [springs(10)], {})
    (folder / "train.yaml").write_text(TRAINING)


def job(directory, *settings, **rest):
    return {"settings": [f"output.directory={directory}", *settings], **rest}


def on_ranks(folder, ranks, jobs):
    """In this process, under torchrun on two ranks, under mpirun on more."""
    if ranks == 1:
        here = Path.cwd()
        os.chdir(folder)
        try:
            for one in jobs:
                train(load_training("train.yaml", one["settings"]), resume=one.get("resume", False))
        finally:
            os.chdir(here)
        return
    code, words = ended(start(torchrun if ranks == 2 else mpirun, ranks, folder, jobs))
    assert code == 0, words


def start(launcher, ranks, folder, jobs):
    (folder / "jobs.json").write_text(json.dumps(jobs))
    python = [sys.executable] if launcher is mpirun else []
    return launcher(ranks, *python, str(PROGRAM), "jobs.json", cwd=folder, stdout=subprocess.DEVNULL)


def weights(directory):
    """All weights, averages and moments in a row, and what the training remembers."""
    tensors, record, _ = read_training(directory / "checkpoint.safetensors")
    kinds = ("weights", "average", "best", "optimiser")
    return np.concatenate([
        tensors[name].double().numpy().ravel() for name in sorted(tensors) if name.startswith(kinds)
    ]), record  # fmt: skip


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", TRAININGS)
def test_weights_are_those_of_one_process(workplace, name, ranks):
    (alone, record), (many, its) = (weights(workplace / f"{name}_{n}") for n in (1, ranks))
    np.testing.assert_allclose(many, alone, rtol=0.0, atol=1e-10 * np.abs(alone).max())
    assert [row["step"] for row in its.history] == [row["step"] for row in record.history]
    for key in ("train_loss", "validation_loss"):
        np.testing.assert_allclose([row[key] for row in its.history], [row[key] for row in record.history], rtol=1e-9)
    summaries = [json.loads((workplace / f"{name}_{n}" / "summary.json").read_text()) for n in (1, ranks)]
    assert (
        summaries[0]["ended"] == summaries[1]["ended"] == ("no improvement any more" if name == "early" else "finished")
    )
    for part, errors in summaries[0]["errors"].items():
        assert summaries[1]["errors"][part] == pytest.approx(errors, rel=1e-9)


def test_a_training_goes_on_with_another_number_of_ranks(workplace):
    (alone, _), (many, record) = (weights(workplace / name) for name in ("whole", "legs"))
    assert record.step == 14
    np.testing.assert_allclose(many, alone, rtol=0.0, atol=1e-10 * np.abs(alone).max())


def test_two_ranks_repeat_themselves_to_the_byte(workplace):
    once, twice = (weights(workplace / name)[0] for name in ("once", "twice"))
    assert once.tobytes() == twice.tobytes()


def test_the_clock_of_the_first_rank_ends_all(workplace):
    summary = json.loads((workplace / "clock" / "summary.json").read_text())
    assert summary["ended"] == "time limit"
    assert 0.3 <= summary["seconds"] < 30.0


@pytest.mark.parametrize("launcher", [torchrun, pytest.param(mpirun, marks=pytest.mark.slow)])
def test_an_error_of_one_rank_ends_all_with_its_words(tmp_path, launcher):
    prepare(tmp_path)
    code, words = ended(start(launcher, 2, tmp_path, [job("out", fails=1)]), 60)
    assert code != 0
    assert words.count("error on rank 1: this rank has had enough") == 1
    assert "error:" not in words


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_with_a_checkpoint(tmp_path):
    prepare(tmp_path)
    process = start(mpirun, 2, tmp_path, [job("out", "steps=1000000")])
    patience = time.monotonic() + 90
    while not (tmp_path / "out/history.csv").exists() and time.monotonic() < patience and process.poll() is None:
        time.sleep(0.1)
    os.kill(ranks_of(process)[1], signal.SIGTERM)
    code, words = ended(process, 60)
    step = weights(tmp_path / "out")[1].step
    assert code == 75, words
    assert f"stopped by SIGTERM at step {step}" in words


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
@pytest.mark.slow
def test_a_rank_that_is_killed_takes_the_others_with_it(tmp_path):
    prepare(tmp_path)
    process = start(torchrun, 2, tmp_path, [job("out", "steps=1000000")])
    patience = time.monotonic() + 90
    while not (tmp_path / "out/history.csv").exists() and time.monotonic() < patience and process.poll() is None:
        time.sleep(0.1)
    began = time.monotonic()
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    code, words = ended(process, 60)
    assert code != 0
    assert "Signal 9" in words
    assert time.monotonic() - began < 30
    assert weights(tmp_path / "out")[1].step >= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "train.yaml", "--set", "batch=1"], "batch: 1 state(s) per step cannot be shared by 2 ranks"),
        (["train", "train.yaml", "--active"], "--active trains its members one after the other"),
        (["run", "train.yaml"], "torchrun is for latticemd train and latticemd label"),
    ],
)
def test_what_ranks_cannot_share_is_said_once(tmp_path, arguments, message):
    prepare(tmp_path)
    (tmp_path / "train.yaml").write_text(TRAINING.replace("{name: small, width: 4}", "{name: cnn}"))
    process = torchrun(2, "-m", "latticemd.cli", *arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    code, words = ended(process, 60)
    assert code != 0
    assert words.count("error:") == 1
    assert message in words
    assert "exitcode  : 2" in words


@pytest.mark.parametrize(("missing", "environment", "message"), [
    ("mpi4py", {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "RANK"}, "pip install 'latticemd[mpi]'"),
    ("torch", {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "RANK"}, "pip install 'latticemd[ml]'"),
])  # fmt: skip
def test_what_is_missing_is_named_by_the_first_rank(tmp_path, missing, environment, message):
    prepare(tmp_path)
    program = f"import sys; sys.modules['{missing}'] = None; from latticemd.cli import main; main()"
    for rank in ("0", "1"):
        its = {key: value.replace("RANK", rank) for key, value in environment.items()}
        found = subprocess.run(
            [sys.executable, "-c", program, "train", "train.yaml"],
            cwd=tmp_path, env=os.environ | its, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert found.returncode == 2
        assert (message in found.stderr) == (rank == "0")
        assert len(found.stderr.splitlines()) == (rank == "0")
