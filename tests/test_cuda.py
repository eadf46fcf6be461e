"""What computes on GPUs, on a machine that has none: in numba's simulator, and the sentences of an input that asks for a card."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latticemd import Holstein, Lattice
from latticemd.backends import gpu

HERE = Path(__file__).parent

INPUT = """
lattice: {type: square, shape: [6, 7]}
model: {name: holstein}
forcefield: {name: cavity, radius: 1, poles: 2}
dynamics: {integrator: langevin, dt: 0.1, steps: 2, temperature: 0.5}
output: {every: 1, figures: false}
backend: cuda
"""


def latticemd(*arguments, simulated=False):
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1" if simulated else "0"}
    command = [sys.executable, "-m", "latticemd.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def run_input(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_text(INPUT)
    return path


@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_all_cases_in_the_simulator(which):
    """All of tests/device_cases.py, in a process that begins with the simulator."""
    pytest.importorskip("numba_cuda", reason="needs numba-cuda, which brings the simulator")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_NUM_THREADS": "1"}
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-m", which]
    command = [sys.executable, "-m", "pytest", *options, str(HERE / "device_cases.py")]
    done = subprocess.run(command, env=environment, cwd=HERE.parent, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", ["enn", "cnn", "gcn", "irrep_mlp", "cavity_gnn"])
def test_tensors_of_networks_follow_their_input(name):
    """torch's device `meta` has shapes only, and refuses what is left on the host as a GPU would."""
    torch = pytest.importorskip("torch")
    from latticemd.learning.networks import build_network

    module = build_network(name, {}, Holstein(Lattice("square", (8, 8)), electronic_temperature=0.1))
    module.requires_grad_(False).to("meta")
    for part in module.modules():
        if hasattr(part, "freeze"):
            part.freeze()
    assert module(torch.zeros(1, 64, 1, device="meta", dtype=torch.float64)).shape == (1, 64, 1)


@pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU")
def test_one_sentence_says_what_is_missing(run_input, tmp_path):
    refused = latticemd("run", run_input, "--output", tmp_path / "run")
    assert refused.returncode == 2
    assert "backend: cuda needs" in refused.stderr
    assert "or use --backend cpu" in refused.stderr
    assert not (tmp_path / "run").exists()
    done = latticemd("run", run_input, "--output", tmp_path / "run", "--backend", "cpu")
    assert done.returncode == 0, done.stderr


def test_single_precision_of_positions_is_for_gpus(run_input, tmp_path):
    refused = latticemd("run", run_input, "--output", tmp_path, "--backend", "cpu", "--set", "precision=fp32")
    assert refused.returncode == 2
    assert "fp32 is for backend: cuda" in refused.stderr


@pytest.mark.parametrize(("setting", "sentence"), [
    ("forcefield={name: auto}", "forcefield auto has no kernels for GPUs"),
    ("model={name: holstein, vacancies: 0.1}", "forcefield cavity has no kernels for GPUs with this model"),
    ("model={name: ssh}", "holstein and double_exchange do, on any lattice"),
    ("lattice={type: square, shape: [20000, 20000]}", "GiB on the GPU, but only 16.00 GiB are free there"),
])  # fmt: skip
def test_what_cannot_run_there_is_refused_beforehand(run_input, tmp_path, setting, sentence):
    pytest.importorskip("numba_cuda")
    refused = latticemd("run", run_input, "--output", tmp_path / "run", "--set", setting, simulated=True)
    assert refused.returncode == 2, refused.stderr
    assert sentence in refused.stderr.replace("\n", " ")


@pytest.mark.parametrize("command", [("bench",), ("info", "--suggest-dt"), ("info", "--plan"), ("label",)])
def test_what_computes_on_the_cpu_says_so(run_input, command):
    """Rather than leaving `backend: cuda` aside without a word."""
    label = ("--set", "label={vary: {seed: [1]}, every: 1}") if command == ("label",) else ()
    refused = latticemd(*command, run_input, *label)
    assert refused.returncode == 2, refused.stderr
    assert "computes on the CPU, but the input says backend: cuda; use --set backend=cpu" in " ".join(
        refused.stderr.split()
    )
