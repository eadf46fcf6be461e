"""Sums over neighbours on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuda_kernels import stencil as kernels
from cuda_kernels.device import THREADS
from latticemd.backends.cuda.arrays import Array, launch, resident
from latticemd.lattice import Stencil


def neighbour_sum(stencil: Stencil, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """See `specification.neighbour_sum`."""
    lines = len(x) * stencil.rows.shape[1]
    hops = tuple(int(number) for number in stencil.hops.ravel())
    basis = x.shape[1] // (stencil.rows.shape[1] * stencil.length)
    row_size = stencil.length * basis * x.shape[2]
    per_row = -(-row_size // THREADS)
    fields = (array.reshape(lines, row_size) for array in (x, base))
    launch(
        kernels.neighbour_sum, lines * per_row, rows_of(stencil), hops, stencil.length, basis, x.shape[2], per_row, *fields,
        float(own), float(theirs), out.reshape(lines, row_size),
    )  # fmt: skip


def listed_sum(neighbours: NDArray[Any], x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """See `specification.listed_sum`; the table, a read-only array of the host, is copied once."""
    sites, components = x.shape[1:]
    per_row = -(-sites * components // THREADS)
    flat = (array.reshape(len(x), -1) for array in (x, base))
    launch(
        kernels.listed_sum, len(x) * per_row, resident(neighbours, np.int32), components, per_row, *flat, float(own),
        float(theirs), out.reshape(len(x), -1),
    )  # fmt: skip


def rows_of(stencil: Stencil) -> Array:
    """Its rows on the device; copied there when they are first asked for."""
    return resident(stencil.rows, np.int32)
