"""Sums over neighbours on the device."""

from __future__ import annotations

import numpy as np

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


def rows_of(stencil: Stencil) -> Array:
    """Its rows on the device; copied there when they are first asked for."""
    return resident(stencil.rows, np.int32)
