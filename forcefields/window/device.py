"""`window` on a GPU: the series of all intervals are on the device, which finds out itself which of them a window needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from cuda_kernels import reach
from cuda_kernels import window as kernels
from cuda_kernels.device import THREADS
from forcefields.window.expansion import expansion, half_width, order_for, rungs
from latticemd.backends.cuda.arrays import empty, launch, parts, to_device
from latticemd.errors import InputError

Array = Any

WIDEST = 2048.0  # half width of an interval in units of kT, up to which series are made


@dataclass(frozen=True)
class OnDevice:
    """The windows of a square lattice of `shape` sites with one real `hopping` [energy], on a GPU.

    A window whose spectrum is wider than WIDEST has no density but NaN.
    """

    shape: tuple[int, int]
    hopping: float
    width: int
    precision: Any
    tolerance: float
    moments: int | None

    def __post_init__(self) -> None:
        if kernels.shape_of(self.width, np.dtype(self.precision).itemsize) is None:
            raise InputError(
                f"forcefield window with width {self.width} in {np.dtype(self.precision).name} does not fit the registers of a "
                "GPU; use width: 31 or less"
            )

    def solve(self, levels: Array, mu: float, temperature: float, density: Array, energy: Array) -> None:
        """Write densities (R, N) and grand potentials (R,) for on-site energies `levels` (R, N), all on the device."""
        replicas, sites = levels.shape
        grid = levels.reshape(replicas, *self.shape)
        rung = self.rungs(grid, mu, temperature)
        shape = kernels.shape_of(self.width, np.dtype(self.precision).itemsize)
        assert shape is not None
        per_row = -(-sites // (kernels.THREADS // shape.lanes))
        launch(
            kernels.windows(self.width, self.precision),
            replicas * per_row,
            grid,
            float(mu),
            float(self.hopping),
            rung,
            *_table(float(temperature), self.tolerance, self.moments),
            per_row,
            density,
            energy,
            *parts(replicas, per_row),
            threads=kernels.THREADS,
        )

    def rungs(self, grid: Array, mu: float, temperature: float) -> Array:
        """The rung of the interval of each window, (R, N), for levels (R, Lx, Ly)."""
        replicas, sites = len(grid), self.shape[0] * self.shape[1]
        bound, wide, rung = empty(grid.shape), empty(grid.shape), empty((replicas, sites), np.int32)
        per_row, radius = -(-sites // THREADS), self.width // 2
        launch(reach.bounds, replicas * per_row, grid, float(mu), float(self.hopping), per_row, bound)
        launch(reach.along_rows, replicas * per_row, bound, radius, per_row, wide)
        launch(reach.rungs, replicas * per_row, wide, radius, float(temperature), per_row, rung)
        return rung


@lru_cache(maxsize=2)
def _table(temperature: float, tolerance: float, moments: int | None) -> tuple[Any, ...]:
    """The lowest rung, orders (T,), half widths (T,) and series (T, M + 1, 2) of density and free energy, on the device."""
    lowest, highest = (int(rungs(np.array(factor * temperature), temperature)) for factor in (0.0, WIDEST))
    widths = [half_width(rung) for rung in range(lowest, highest + 1)]
    orders = [moments + moments % 2 if moments else order_for(temperature / a, tolerance) for a in widths]
    series = np.zeros((len(widths), max(orders) + 1, 2))
    for row, a, order in zip(series, widths, orders, strict=True):
        made = expansion(temperature, a, 0.0, order)
        row[: order + 1, 0], row[: order + 1, 1] = made.density, made.energy
    return lowest, to_device(np.array(orders), np.int32), to_device(np.array(widths)), to_device(series)
