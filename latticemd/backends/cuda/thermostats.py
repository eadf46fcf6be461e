"""Thermostats of whole replicas on the device."""

from __future__ import annotations

from cuda_kernels import rescaling
from cuda_kernels.device import THREADS
from latticemd.backends.cuda.arrays import Array, empty, launch
from latticemd.backends.cuda.motion import words


def nose_hoover(
    velocity: Array, position: Array, ratio: Array, degrees: int, tau: float, time: float
) -> tuple[Array, Array]:
    """See `specification.nose_hoover`."""
    factor, gained = empty(len(ratio)), empty(len(ratio))
    blocks = -(-len(ratio) // THREADS)
    launch(
        rescaling.nose_hoover,
        blocks,
        velocity,
        position,
        ratio,
        float(degrees),
        float(tau),
        float(time),
        factor,
        gained,
    )
    return factor, gained


def resampling(noise: tuple[int, int, int, int, int], degrees: int, keep: float, ratio: Array) -> Array:
    """See `specification.resampling`."""
    factor = empty(len(ratio))
    launch(rescaling.resampling, -(-len(ratio) // THREADS), *words(*noise), float(degrees), float(keep), ratio, factor)
    return factor
