"""`cavity` on a GPU: the poles of every width a spectrum can have, on the device once and for all, and two launches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from cuda_kernels import cavity as kernels
from cuda_kernels.device import THREADS
from forcefields.cavity.elimination import elimination
from forcefields.cavity.expansion import Expansion, expansion, side_by_side
from forcefields.fermi import WIDEST
from latticemd.backends.cuda.arrays import launch, parts, to_device, zeros
from latticemd.errors import InputError

Array = Any

STEPS = int(4.0 * np.log2(WIDEST))  # of 2^(1/4) that the width of a spectrum can have in units of kT


@dataclass(frozen=True)
class OnDevice:
    """The patches of a square lattice of `shape` sites with one real `hopping` [energy], on a GPU.

    Which poles serve depends on the farthest level, which only the device knows; so it finds that, and looks the poles up in a
    table for all widths in units of kT. A spectrum wider than the table makes NaN of all densities.
    """

    shape: tuple[int, int]
    hopping: float
    radius: int
    sweeps: int
    precision: Any
    tolerance: float
    poles: int | None

    def __post_init__(self) -> None:
        if kernels.side_of_tile(self.radius, self.sweeps, np.dtype(self.precision).itemsize) is None:
            raise InputError(
                f"forcefield cavity with radius {self.radius} and {self.sweeps} sweeps in {np.dtype(self.precision).name} does "
                f"not fit the {kernels.SHARED_BYTES // 1024} KiB of a block on a GPU; use fewer sweeps or precision: float32"
            )

    def solve(self, levels: Array, mu: float, temperature: float, density: Array, energy: Array) -> None:
        """Write densities (R, N) and grand potentials (R,) for on-site energies `levels` (R, N), all on the device."""
        replicas, sites = levels.shape
        side = kernels.side_of_tile(self.radius, self.sweeps, np.dtype(self.precision).itemsize) or 1
        tiles = -(-self.shape[0] // side) * -(-self.shape[1] // side)
        largest, per_row = zeros(replicas), -(-sites // (8 * THREADS))
        launch(kernels.widest, replicas * per_row, levels, float(mu), per_row, largest)
        steps = tuple(tuple(int(n) for n in step) for step in elimination(self.radius)[0])
        launch(
            kernels.patches(self.radius, self.sweeps, self.precision, steps),
            replicas * tiles,
            levels.reshape(replicas, *self.shape),
            float(mu),
            float(self.hopping),
            float(temperature),
            largest,
            *_table(self.tolerance, self.poles),
            tiles,
            density.reshape(replicas, *self.shape),
            energy,
            *parts(replicas, tiles),
            threads=side * side,
        )


@lru_cache(maxsize=4)
def _table(tolerance: float, count: int | None) -> tuple[Array, ...]:
    """Numbers of poles (T,), poles (T, P), weights (T, P, 2) and slopes (T,) in units of kT, on the device."""
    made = _expansions(tolerance, count)
    poles, weights, slopes = side_by_side(made)
    return (
        to_device(np.array([len(each.poles) for each in made]), np.int32),
        to_device(poles),
        to_device(weights),
        to_device(slopes),
    )


def _expansions(tolerance: float, count: int | None) -> list[Expansion]:
    """Up to the widest spectrum that this tolerance allows."""
    made: list[Expansion] = []
    for step in range(STEPS + 1):
        try:
            made.append(expansion(1.0, 2.0 ** (0.25 * step), tolerance, count))
        except ArithmeticError:
            break
    return made
