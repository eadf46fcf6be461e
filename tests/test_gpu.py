"""What computes on GPUs, on a card; left out where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latticemd.backends import gpu

HERE = Path(__file__).parent


@pytest.mark.gpu
@pytest.mark.skipif(gpu.simulated() or gpu.missing() is not None, reason="needs a GPU")
def test_all_cases_on_the_card():
    """All of tests/device_cases.py, as the simulator runs them too."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-m",
        "slow or not slow",
        str(HERE / "device_cases.py"),
    ]
    done = subprocess.run(command, env=environment, cwd=HERE.parent, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
