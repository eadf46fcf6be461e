"""How device code is compiled: kernels, device functions, and the ground floor's sources as device functions.

The functions that CPU and GPU share are plain Python over scalars. numba's CUDA target has types and overloads of its own,
so they are compiled a second time here, from the same source. In numba's simulator (NUMBA_ENABLE_CUDASIM=1), which runs each
thread of a block as a thread of Python, they stay what they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda
from numba.core import config

SIMULATED = bool(config.ENABLE_CUDASIM)

# Of a block, unless a kernel says otherwise: eight such blocks fill an SM at 64 registers a thread. The simulator's are threads
# of Python, which idle at a price.
THREADS = 16 if SIMULATED else 128

if not SIMULATED:
    from numba.cuda.core import config as compiler

    compiler.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # small lattices don't fill a card, and need not hear it at each launch

kernel = cuda.jit


def device(function: Callable[..., Any]) -> Any:
    """A device function that uses the thread's place or shared memory, inlined where it is called."""
    return cuda.jit(device=True)(function) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


def shared_source(module: ModuleType, *names: str, **known: Any) -> SimpleNamespace:
    """Functions of a ground-floor module as device functions, which call one another and those `known` from elsewhere."""
    if SIMULATED:
        return SimpleNamespace(**{name: getattr(module, name) for name in names})
    scope = {**vars(module), "np": _scalars(), **known}
    for name in names:
        source = getattr(module, name)
        scope[name] = device(FunctionType(source.__code__, scope, name, source.__defaults__))
    return SimpleNamespace(**{name: scope[name] for name in names})


def _scalars() -> ModuleType:
    """What the ground floor asks of NumPy, for scalars: numba's CUDA target has no universal functions of scalars."""
    numpy = ModuleType("scalars")
    vars(numpy).update(sqrt=math.sqrt, floor=math.floor, uint64=np.uint64, int64=np.int64, float64=np.float64)
    return numpy
