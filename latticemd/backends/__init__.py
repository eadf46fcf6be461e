"""The same kernels in NumPy (`specification`, slow and clear) and numba for the CPU (`cpu`, the default)."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np


def kernels_for(array: Any) -> ModuleType:
    """The module of kernels that computes where this array lives; compilers are imported only when one is asked for."""
    if isinstance(array, np.ndarray):
        return _kernels("latticemd.backends.cpu")
    raise TypeError(f"no kernels for arrays of type {type(array).__name__}; the CPU backend takes numpy.ndarray")


@cache
def _kernels(name: str) -> ModuleType:
    return importlib.import_module(name)
