"""Programs on several ranks of this machine, which has fewer cores and other things to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
MPIRUN = next((str(path) for path in (BIN / "mpirun",) if path.exists()), None) or shutil.which("mpirun")
NEEDS_MPI = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpirun or mpi4py is missing: pip install 'latticemd[mpi]'",
)
_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


def mpirun(ranks, *command, **options):
    """Start the command on so many ranks with mpirun."""
    return _started([MPIRUN, "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command], options)


def torchrun(ranks, *program, **options):
    """Start a program of Python, a file or -m and a module, on so many ranks with torchrun."""
    begin = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return _started([*begin, *program], options)


def _started(command, options):
    environment = os.environ | _ENVIRONMENT
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, **options)


def ended(process, timeout=120):
    """Exit code and messages."""
    try:
        _, words = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"still running after {timeout} s: {process.communicate()[1]}")
    return process.returncode, words


def ranks_of(process):
    """Process ids of the ranks that mpirun or torchrun has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            words = path.read_bytes().split(b"\0")
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        ranks = [
            int(word.partition(b"=")[2]) for word in words if word.startswith((b"OMPI_COMM_WORLD_RANK=", b"RANK="))
        ]
        if ranks and parent == process.pid:
            found[ranks[0]] = int(path.parent.name)
    return found
