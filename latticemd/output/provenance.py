"""What results were computed with: versions, processor, threads. Numbers agree to rounding between them, bytes need not."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from latticemd import __version__
from latticemd.backends import gpu

ALWAYS = ("numpy", "numba")
IF_USED = ("scipy", "h5py", "torch", "mpi4py", "cupy")
PROVENANCE = ("version", "python", *ALWAYS, *IF_USED, "machine", "processor", "gpu", "threads", "torch_threads")


def made_with(backend: str = "cpu") -> dict[str, str | int]:
    """Versions and hardware of this process, by the names in `PROVENANCE`, to be stored beside what it has computed.

    ================  ==========================================================================================
    key               value
    ================  ==========================================================================================
    `version`         that of latticemd; `python`, `numpy`, `numba` theirs; of scipy, h5py, torch, mpi4py and cupy where
                      this process has imported them
    `machine`         the architecture, such as x86_64; `processor` the name of the CPU, `gpu` of the card where one is used
    `threads`         of compiled kernels; `torch_threads` of networks, where torch is imported
    ================  ==========================================================================================

    Nothing is imported for it, and nothing tells the host, its user or its folders.
    """
    versions = {name: _version(name) for name in ALWAYS}
    versions |= {name: _version(name) for name in IF_USED if name in sys.modules}
    known: dict[str, str | int] = {
        "version": __version__,
        "python": platform.python_version(),
        **versions,
        "machine": platform.machine(),
        "processor": processor(),
        "threads": _threads(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        known["torch_threads"] = torch.get_num_threads()
    if backend == "cuda":
        known["gpu"] = gpu.description()
    elif torch is not None and torch.cuda.is_initialized():
        known["gpu"] = torch.cuda.get_device_name()
    return known


def processor() -> str:
    """The name of the CPU, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # cupy is distributed under several names
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))


def _threads() -> int:
    """Threads of compiled kernels, or the processors they could use where none has been compiled."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return int(numba.get_num_threads())
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
