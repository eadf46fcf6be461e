"""Philox normals in loops over degrees of freedom that become SIMD code."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuda_kernels import philox
from latticemd.backends.cpu.compiling import Array, jit

_normal_pair = philox.normal_pair


@jit
def add_block_normals(
    key: Any,
    stream: Any,
    occurrence: Any,
    step: Any,
    replica: Any,
    first: int,
    keep: float,
    amplitude: float,
    out: Array,
) -> None:
    """out <- keep out + amplitude xi for the degrees of freedom first, first + 1, ... of one replica on the whole lattice."""
    half = np.uint64(first // 2)
    if first % 2 and out.size:
        _, odd = _normal_pair(key, stream, occurrence, step, replica, half)
        out[0] = keep * out[0] + amplitude * odd
        half += np.uint64(1)
        out = out[1:]
    pairs = out.size // 2
    for j in range(pairs):
        even, odd = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(j))
        out[2 * j] = keep * out[2 * j] + amplitude * even
        out[2 * j + 1] = keep * out[2 * j + 1] + amplitude * odd
    if out.size % 2:
        even, _ = _normal_pair(key, stream, occurrence, step, replica, half + np.uint64(pairs))
        out[-1] = keep * out[-1] + amplitude * even
