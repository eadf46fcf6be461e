"""What stands for an array on the device where there is none: in numba's simulator, for tests.

It computes with NumPy, on the device as far as anyone can tell: like a CuPy array it is never turned into one of the host
without being asked, refuses to meet arrays of the host in one expression, and each number taken out of it crosses the bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray


@dataclass
class Traffic:
    """How often something was copied to the device and to the host, and how many bytes that were; and what was launched.

    Kernels are those of `cuda_kernels`. Operations are those of arrays, each of which CuPy launches a kernel for, or several for
    what its libraries do; only the simulator counts them.
    """

    to_device: int = 0
    to_host: int = 0
    bytes_to_device: int = 0
    bytes_to_host: int = 0
    kernels: int = 0
    operations: int = 0

    def count_to_device(self, size: int) -> None:
        """One more copy, of so many bytes."""
        self.to_device += 1
        self.bytes_to_device += size

    def count_to_host(self, size: int) -> None:
        """One more copy, of so many bytes."""
        self.to_host += 1
        self.bytes_to_host += size

    @property
    def crossings(self) -> int:
        """In either direction."""
        return self.to_device + self.to_host


class SimulatedArray(NDArrayOperatorsMixin):
    """An array of the pretended device, whose `memory` only the seam and kernels may touch."""

    def __init__(self, memory: NDArray[Any], traffic: Traffic) -> None:
        self.memory = memory
        self.traffic = traffic

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """That there is one tells arrays on the device; nobody but CuPy's own arrays has an address there."""
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (0, False), "version": 3}

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        return self.memory.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of numbers."""
        return self.memory.dtype

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.memory.size

    @property
    def ndim(self) -> int:
        """How many axes."""
        return self.memory.ndim

    @property
    def real(self) -> SimulatedArray:
        """The real part."""
        return self._wrapped(self.memory.real)

    @property
    def imag(self) -> SimulatedArray:
        """The imaginary part."""
        return self._wrapped(self.memory.imag)

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, index: Any) -> SimulatedArray:
        return self._wrapped(self.memory[self._inside(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.traffic.operations += 1
        self.memory[self._inside(index)] = self._inside(value)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array on the device is not turned into one on the host without being asked")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        self.traffic.operations += 1
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(self._inside(one) for one in out)
        result = getattr(ufunc, method)(*(self._inside(one) for one in inputs), **options)
        return out[0] if out is not None else self._wrapped(result)

    def __array_function__(self, function: Any, _: Any, arguments: Any, options: Any) -> Any:
        self.traffic.operations += 1
        inside = {name: self._inside(value) for name, value in options.items()}
        result = function(*(self._inside(one) for one in arguments), **inside)
        return options["out"] if "out" in options else self._wrapped(result)

    def __bool__(self) -> bool:
        return bool(self._taken())

    def __float__(self) -> float:
        return float(self._taken())

    def __int__(self) -> int:
        return int(self._taken())

    def __getattr__(self, name: str) -> Any:
        """Methods such as `reshape`, `sum` or `copy`; those that would leave the device are not among them."""
        if name not in ("reshape", "ravel", "sum", "mean", "max", "min", "copy", "astype", "fill", "conj", "swapaxes"):
            raise AttributeError(f"arrays on the simulated device have no {name}")
        method = getattr(self.memory, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.traffic.operations += name not in ("reshape", "swapaxes")
            return self._wrapped(method(*arguments, **options))

        return call

    def _wrapped(self, result: Any) -> Any:
        return result if result is None else SimulatedArray(np.asarray(result), self.traffic)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, SimulatedArray):
            return value.memory
        if isinstance(value, tuple | list):
            return type(value)(self._inside(one) for one in value)
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("arrays of the host and of the device meet in one expression")
        return value

    def _taken(self) -> Any:
        self.traffic.count_to_host(self.memory.nbytes)
        return self.memory
