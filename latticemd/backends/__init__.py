"""The same kernels in NumPy (`specification`, slow and clear), numba for the CPU (`cpu`, the default) and for GPUs (`cuda`)."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kernels_for(array: Any) -> ModuleType:
    """The module of kernels that computes where this array lives; compilers are imported only when one is asked for."""
    if isinstance(array, np.ndarray):
        return _module("latticemd.backends.cpu")
    if on_device(array):
        return _module("latticemd.backends.cuda")
    raise TypeError(f"no kernels for arrays of type {type(array).__name__}; there are some for those of NumPy and CuPy")


def on_device(array: Any) -> bool:
    """Whether an array lives on a GPU."""
    return not isinstance(array, np.ndarray) and hasattr(array, "__cuda_array_interface__")


def on_host(array: Any) -> NDArray[Any]:
    """The array itself if it is on the host, else a copy: the one way by which numbers leave a GPU."""
    if not on_device(array):
        return np.asarray(array)
    host: NDArray[Any] = _module("latticemd.backends.cuda.arrays").to_host(array)
    return host


def to_device(array: Any, dtype: Any = None) -> Any:
    """A copy on the GPU, or the array itself if it is there: the one way by which arrays get there."""
    return _module("latticemd.backends.cuda.arrays").to_device(array, dtype)


def beside(values: Any, array: Any, dtype: Any = None) -> Any:
    """The values where `array` lives: themselves, or a copy on the GPU."""
    return to_device(values, dtype) if on_device(array) else values


def table_beside(table: NDArray[Any], array: Any) -> Any:
    """A read-only table where `array` lives: itself, or its one copy on the GPU, made when it is first asked for."""
    return _module("latticemd.backends.cuda.arrays").resident(table) if on_device(array) else table


@cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(name)
