"""Kernels for GPUs on a machine that has none: in numba's simulator, and compiled as far as PTX goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda, which brings the simulator")


def test_kernels_in_the_simulator():
    """All of tests/simulated_cuda.py, in a process that begins with the simulator."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_NUM_THREADS": "1"}
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        str(here / "simulated_cuda.py"),
    ]
    done = subprocess.run(command, env=environment, cwd=here.parent, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
