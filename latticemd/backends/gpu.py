"""Whether there is a GPU to compute on, what it is called, and whether a run fits its memory; imports nothing heavy itself."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from typing import Any

from latticemd.errors import InputError

_PACKAGES = {"cupy": "cupy-cuda13x", "numba_cuda": "numba-cuda"}
_OTHERWISE = "or use --backend cpu"

SIMULATED_BYTES = 2.0**34  # of memory that the simulator pretends to have


def simulated() -> bool:
    """Whether numba's simulator stands for a GPU, as in tests."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def require_gpu() -> None:
    """Raise InputError, in one sentence, for the first thing that is missing: the driver, a package, a card."""
    what = missing()
    if what:
        raise InputError(f"backend: cuda needs {what}, {_OTHERWISE}")


def description() -> str:
    """The name of the card, or what is missing."""
    what = missing()
    if what:
        return f"none: needs {what}"
    if simulated():
        return "simulated"
    import cupy

    name: bytes = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"]
    return name.decode()


def require_gpu_memory(needed: float, purpose: str) -> None:
    """Raise InputError, with numbers, when `needed` bytes are not free on the card."""
    free = _free()
    if needed > free:
        raise InputError(
            f"{purpose} needs {needed / 2**30:.2f} GiB on the GPU, but only {free / 2**30:.2f} GiB are free there; "
            f"use a smaller lattice, fewer replicas or precision: fp32, {_OTHERWISE}"
        )


def missing() -> str | None:
    """The first thing without which there is no GPU to compute on, in words; None if nothing is missing."""
    if simulated():
        return None
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "an NVIDIA driver, and there is no libcuda.so.1 on this machine"
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            return f"the package {package}: pip install 'latticemd[cuda]'"
    import cupy

    try:
        cards = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"a GPU, and the driver finds none ({error})"
    return None if cards else "a GPU, and the driver finds none"


def _free() -> float:
    if simulated():
        return SIMULATED_BYTES
    import cupy

    free: tuple[Any, Any] = cupy.cuda.runtime.memGetInfo()
    return float(free[0])
