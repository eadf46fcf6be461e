"""Sums over neighbours on the device."""

from __future__ import annotations

from cuda_kernels import stencil as kernels
from cuda_kernels.device import THREADS
from latticemd.backends.cuda.arrays import Array, launch, to_device
from latticemd.lattice import Stencil

_rows: dict[int, tuple[Stencil, Array]] = {}  # rows of stencils that are on the device, kept with what they belong to


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
    if id(stencil) not in _rows:
        if len(_rows) >= 8:  # a run has one lattice; tests have many
            _rows.pop(next(iter(_rows)))
        _rows[id(stencil)] = stencil, to_device(stencil.rows, "i4")
    return _rows[id(stencil)][1]
