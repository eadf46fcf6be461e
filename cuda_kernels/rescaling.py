"""Thermostats of whole replicas on the device, a thread for each replica: the arithmetic is that of `cuda_kernels.thermostats`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels import thermostats
from cuda_kernels.device import kernel, shared_source
from cuda_kernels.noise import normal_pair

Array = Any

_thermostats = shared_source(thermostats, "chain_factor", "chain_energy", "resampling_factor", normal_pair=normal_pair)
_chain_factor, _chain_energy = _thermostats.chain_factor, _thermostats.chain_energy
_resampling_factor = _thermostats.resampling_factor


@kernel
def nose_hoover(
    velocity: Array,
    position: Array,
    ratio: Array,
    degrees: float,
    tau: float,
    time: float,
    factor: Array,
    gained: Array,
) -> None:
    """See `latticemd.backends.specification.nose_hoover`."""
    r = cuda.grid(1)
    if r < ratio.size:
        before = _chain_energy(velocity[r], position[r], degrees, tau)
        factor[r] = _chain_factor(velocity[r], position[r], ratio[r], degrees, tau, time)
        gained[r] = _chain_energy(velocity[r], position[r], degrees, tau) - before


@kernel
def resampling(
    key: int,
    stream: int,
    occurrence: int,
    step: int,
    first: int,
    degrees: float,
    keep: float,
    ratio: Array,
    factor: Array,
) -> None:
    """See `latticemd.backends.specification.resampling`."""
    r = cuda.grid(1)
    if r < ratio.size:
        replica = first + np.uint64(r)
        factor[r] = _resampling_factor(key, stream, occurrence, step, replica, degrees, keep, ratio[r])
