"""Thermostats of whole replicas."""

from __future__ import annotations

import numpy as np

from cuda_kernels import thermostats
from latticemd.backends.cpu.compiling import Array, jit, words_of

_chain_factor, _chain_energy = thermostats.chain_factor, thermostats.chain_energy
_resampling_factor = thermostats.resampling_factor


def nose_hoover(
    velocity: Array, position: Array, ratio: Array, degrees: int, tau: float, time: float
) -> tuple[Array, Array]:
    """See `specification.nose_hoover`."""
    factor, gained = np.empty(len(ratio)), np.empty(len(ratio))
    _nose_hoover(velocity, position, ratio, float(degrees), tau, time, factor, gained)
    return factor, gained


def resampling(noise: tuple[int, int, int, int, int], degrees: int, keep: float, ratio: Array) -> Array:
    """See `specification.resampling`."""
    factor = np.empty(len(ratio))
    _resampling(words_of(*noise), float(degrees), keep, ratio, factor)
    return factor


@jit
def _nose_hoover(
    velocity: Array,
    position: Array,
    ratio: Array,
    degrees: float,
    tau: float,
    time: float,
    factor: Array,
    gained: Array,
) -> None:
    for r in range(ratio.size):
        before = _chain_energy(velocity[r], position[r], degrees, tau)
        factor[r] = _chain_factor(velocity[r], position[r], ratio[r], degrees, tau, time)
        gained[r] = _chain_energy(velocity[r], position[r], degrees, tau) - before


@jit
def _resampling(words: Array, degrees: float, keep: float, ratio: Array, factor: Array) -> None:
    for r in range(ratio.size):
        factor[r] = _resampling_factor(
            words[0], words[1], words[2], words[3], words[4] + np.uint64(r), degrees, keep, ratio[r]
        )
