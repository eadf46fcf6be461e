"""Random numbers: who draws them, and the stateless generator they come from.

The generator is Philox-4x32-10 (`cuda_kernels.philox`). Its key is the user's 64-bit seed; its counter says who asks:
(stream, occurrence, step, replica, degree of freedom). There is no state to save, lose or repeat: the noise of a step is
the same alone or in a batch, before or after a restart, on any backend.

Reference: Salmon et al., SC'11, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuda_kernels.philox import normal_pair

Array = NDArray[Any]


class Stream(enum.IntEnum):
    """What noise is for. A number is never given to a second purpose."""

    INITIAL_POSITIONS = 1
    INITIAL_VELOCITIES = 2
    THERMOSTAT = 3
    OVERDAMPED = 4
    VELOCITY_RESCALING = 5
    CHECKS = 6


def global_normals(seed: int, stream: Stream, step: int, first_replica: int, shape: tuple[int, int]) -> Array:
    """Standard normals of shape (R, count) that belong to whole replicas rather than to sites, at one step."""
    replicas, count = shape
    pair = np.arange((count + 1) // 2, dtype=np.uint64)
    out = np.empty(shape)
    for r in range(replicas):
        words = (np.uint64(word) for word in (seed, stream, 0, step, first_replica + r))
        even, odd = normal_pair(*words, pair)
        out[r] = np.stack([even, odd], axis=1).ravel()[:count]
    return out
