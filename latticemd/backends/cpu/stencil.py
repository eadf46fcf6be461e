"""Sums over neighbours, row by row of the grid."""

from __future__ import annotations

from numba import prange

from latticemd.backends.cpu.compiling import BLOCK, Array, jit, jit_parallel, worth_threads
from latticemd.lattice import Stencil


def neighbour_sum(stencil: Stencil, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """See `specification.neighbour_sum`."""
    shape = (len(x), stencil.rows.shape[1], -1)
    by_row = x.reshape(shape)
    per_replica = -(-by_row.shape[1] // max(1, BLOCK // by_row.shape[2]))
    sweep = _stencil_parallel if worth_threads(x.size) else _stencil_serial
    sweep(
        len(x) * per_replica,
        per_replica,
        stencil.rows,
        stencil.hops,
        x.shape[2],
        by_row,
        base.reshape(shape),
        own,
        theirs,
        out.reshape(shape),
    )


@jit
def _add_scaled(factor: float, a: Array, out: Array) -> None:
    for i in range(a.size):
        out[i] += factor * a[i]


@jit
def _stencil_rows(
    block: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    r, b = block // per_replica, block % per_replica
    width, basis = x.shape[2], 1 + hops[:, 0].max()
    together = max(1, BLOCK // width)
    for row in range(b * together, min((b + 1) * together, x.shape[1])):
        xs, ys, bs = x[r, row], out[r, row], base[r, row]
        for i in range(width):
            ys[i] = bs[i] + own * xs[i]
        for k in range(len(hops)):
            xs = x[r, rows[k, row]]
            ahead = hops[k, 2] * basis * components
            if basis == 1:
                # A row turned by `ahead` is two whole pieces; slices, because sums of indices do not become SIMD code.
                _add_scaled(theirs, xs[ahead:], ys)
                _add_scaled(theirs, xs[:ahead], ys[width - ahead :])
            else:
                to, start = hops[k, 0] * components, hops[k, 1] * components + ahead
                for cell in range(0, width, basis * components):
                    here = (cell + start) % width
                    for d in range(components):
                        ys[cell + to + d] += theirs * xs[here + d]


@jit
def _stencil_serial(
    blocks: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    for block in range(blocks):
        _stencil_rows(block, per_replica, rows, hops, components, x, base, own, theirs, out)


@jit_parallel
def _stencil_parallel(
    blocks: int,
    per_replica: int,
    rows: Array,
    hops: Array,
    components: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    for block in prange(blocks):
        _stencil_rows(block, per_replica, rows, hops, components, x, base, own, theirs, out)
