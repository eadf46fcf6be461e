"""Unit spins on the device."""

from __future__ import annotations

from cuda_kernels import spin_motion
from cuda_kernels.spin_motion import SPINS_PER_BLOCK
from latticemd.backends.cuda.arrays import Array, launch, parts
from latticemd.backends.cuda.motion import words
from latticemd.backends.place import WHOLE, Place


def spins_first_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    noise: tuple[int, int, int, int],
    base: Array,
    moved: Array,
    heat: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.spins_first_half`."""
    per_row = -(-x.shape[1] // SPINS_PER_BLOCK)
    launch(
        spin_motion.first_half, len(x) * per_row, x, f, float(time), float(damping), float(amplitude), *words(*noise),
        per_row, base, moved, heat, *parts(len(x), per_row),
    )  # fmt: skip


def spins_second_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    base: Array,
    moved: Array,
    heat: Array,
    place: Place = WHOLE,
) -> None:
    """See `specification.spins_second_half`."""
    per_row = -(-x.shape[1] // SPINS_PER_BLOCK)
    launch(
        spin_motion.second_half, len(x) * per_row, x, f, float(time), float(damping), per_row, base, moved, heat,
        *parts(len(x), per_row),
    )  # fmt: skip
