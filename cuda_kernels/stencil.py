"""Sums over neighbours on the device: along rows where a lattice has a stencil, from a table of neighbours on all others."""

from __future__ import annotations

from typing import Any

from numba import cuda

from cuda_kernels.device import THREADS, kernel
from cuda_kernels.threads import row_and_block

Array = Any


@kernel
def neighbour_sum(
    rows: Array,
    hops: tuple[int, ...],
    length: int,
    basis: int,
    components: int,
    per_row: int,
    x: Array,
    base: Array,
    own: float,
    theirs: float,
    out: Array,
) -> None:
    """out_e = base_e + own x_e + theirs sum of x over the neighbours of e, on arrays (R rows, length basis D).

    Blocks stand along the rows of the grid, a thread has one degree of freedom. Its neighbours are a fixed number of cells
    ahead in their rows, so that a warp reads whole lines; `hops` holds three numbers for each neighbour, see
    `latticemd.lattice.Stencil`.
    """
    line, block = row_and_block(per_row)
    inside = block * THREADS + cuda.threadIdx.x
    if inside >= x.shape[1]:
        return
    row = line % rows.shape[1]
    cell, site, component = inside, 0, 0
    if basis * components > 1:  # divisions cost more than all the rest
        cell, part = inside // (basis * components), inside % (basis * components)
        site, component = part // components, part % components
    total = 0.0
    for k in range(len(hops) // 3):
        if hops[3 * k] == site:
            ahead = cell + hops[3 * k + 2]
            if ahead >= length:
                ahead -= length
            place = (ahead * basis + hops[3 * k + 1]) * components + component
            total += float(x[line - row + rows[k, row], place])
    out[line, inside] = float(base[line, inside]) + own * float(x[line, inside]) + theirs * total


@kernel
def listed_sum(
    neighbours: Array, components: int, per_row: int, x: Array, base: Array, own: float, theirs: float, out: Array
) -> None:
    """The same on arrays (R, N D), for a table of neighbours (N, z) with -1 where a site has fewer."""
    r, block = row_and_block(per_row)
    e = block * THREADS + cuda.threadIdx.x
    if e < x.shape[1]:
        site, component = e // components, e % components
        total = 0.0
        for z in range(neighbours.shape[1]):
            other = neighbours[site, z]
            if other >= 0:
                total += float(x[r, other * components + component])
        out[r, e] = float(base[r, e]) + own * float(x[r, e]) + theirs * total
