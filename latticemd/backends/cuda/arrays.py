"""The seam to the device: where arrays come from, how they cross the bus, and how kernels are launched on them.

Arrays are CuPy's. In numba's simulator (NUMBA_ENABLE_CUDASIM=1) `simulated.SimulatedArray` stands for them. Everything goes
to the default stream, in order; nothing here waits for the device but `to_host`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from cuda_kernels.device import SIMULATED, THREADS
from cuda_kernels.exact import LENGTH
from latticemd.backends.cuda.simulated import SimulatedArray, Traffic

Array = Any

traffic = Traffic()  # copies between host and device so far

_resident: dict[
    tuple[int, str], tuple[NDArray[Any], Array]
] = {}  # kept with what they are copies of, whose id is the key

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
else:
    import cupy


def to_device(values: Any, dtype: Any = None) -> Array:
    """A copy on the device; device arrays are returned as they are."""
    if hasattr(values, "__cuda_array_interface__"):
        return values
    host = np.array(values, dtype=dtype, order="C")
    traffic.count_to_device(host.nbytes)
    return SimulatedArray(host, traffic) if SIMULATED else cupy.asarray(host)


def to_host(values: Array) -> NDArray[Any]:
    """A copy on the host, once all that was launched before is done."""
    traffic.count_to_host(values.size * values.dtype.itemsize)
    if SIMULATED:
        return np.array(values.memory)
    host: NDArray[Any] = cupy.asnumpy(values)
    return host


def resident(table: NDArray[Any], dtype: Any = None) -> Array:
    """A table of the host that never changes, such as the bonds of a lattice, on the device: copied there once."""
    if table.flags.writeable:
        raise ValueError("only tables that nobody can write to may have a copy on the device")
    key = id(table), np.dtype(dtype or table.dtype).str
    if key not in _resident:
        while len(_resident) >= 32:  # a run has one lattice; tests have many
            _resident.pop(next(iter(_resident)))
        _resident[key] = table, to_device(table, dtype)
    return _resident[key][1]


def to_torch(array: Array) -> Any:
    """The same memory as a tensor of torch."""
    import torch

    return torch.from_numpy(array.memory) if SIMULATED else torch.from_dlpack(array)


def from_torch(tensor: Any) -> Array:
    """The same memory as an array, of a tensor on the device."""
    return SimulatedArray(tensor.numpy(), traffic) if SIMULATED else cupy.from_dlpack(tensor)


def empty(shape: Any, dtype: Any = np.float64) -> Array:
    """An array on the device with whatever stands there."""
    return SimulatedArray(np.empty(shape, dtype), traffic) if SIMULATED else cupy.empty(shape, dtype)


def zeros(shape: Any, dtype: Any = np.float64) -> Array:
    """An array of zeros on the device."""
    return SimulatedArray(np.zeros(shape, dtype), traffic) if SIMULATED else cupy.zeros(shape, dtype)


def synchronize() -> None:
    """Wait until all that was launched is done."""
    if not SIMULATED:
        cupy.cuda.get_current_stream().synchronize()


def launch(kernel: Any, blocks: int, *arguments: Any, threads: int = THREADS) -> None:
    """Run so many blocks of a kernel; device arrays among the arguments must be C-contiguous, all else is a number."""
    if blocks:
        traffic.kernels += 1
        kernel[blocks, threads](*[_as_argument(one) for one in arguments])


@cache
def parts(rows: int, blocks: int) -> tuple[Array, Array]:
    """Room for what blocks add up, (R, blocks), and for how many of them have arrived, (R,): see `cuda_kernels.summing`.

    Launches follow each other, so all that have this many blocks share it.
    """
    return empty((rows, blocks)), zeros(rows, np.int32)


@cache
def tallies(rows: int) -> tuple[Array, Array]:
    """Room for exact sums, (R, LENGTH), and for how many blocks have arrived, (R,), all zero: see `cuda_kernels.exact`."""
    return zeros((rows, LENGTH), np.int64), zeros(rows, np.int32)


def _as_argument(value: Any) -> Any:
    """What numba takes for an argument. Making its view of a CuPy array costs as much as a launch, so views are kept."""
    if not hasattr(value, "__cuda_array_interface__"):
        return value
    memory = value.memory if isinstance(value, SimulatedArray) else value
    if not memory.flags.c_contiguous:
        raise ValueError(
            f"kernels take arrays without gaps, not one of shape {memory.shape} and strides {memory.strides}"
        )
    if isinstance(value, SimulatedArray):
        return FakeCUDAArray(memory)
    return _view(value.data.ptr, value.shape, value.dtype.str)


@lru_cache(maxsize=4096)
def _view(pointer: int, shape: tuple[int, ...], kind: str) -> Any:
    """numba's view of device memory, which owns nothing: pools give the same memory again and again."""
    about = {"data": (pointer, False), "shape": shape, "typestr": kind, "strides": None, "version": 3}
    return cuda.from_cuda_array_interface(about, owner=None, sync=False)
