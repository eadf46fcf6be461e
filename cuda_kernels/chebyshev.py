"""Chebyshev recursion of coloured vectors on the device: along rows for a lattice with a stencil and one hopping, from a table of
neighbours and amplitudes for all other real hops.

T_k+1 = 2 h T_k - T_k-1 overwrites T_k-1 and takes from T_k+1 what the vector asks for in the same sweep, so that a step reads
two fields and writes one. A site belongs to one colour, so to one thread of all vectors: nothing is added up by two of them.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from cuda_kernels.device import THREADS, device, kernel
from cuda_kernels.threads import row_and_block

Array = Any

LINES = 4  # rows of the grid that a thread takes, one below the other: what finds its place is shared by them


@device
def _take(
    r: int, site: int, k: int, vector: int, value: float, colours: Array, series: Array, density: Array, energy: Array
) -> None:
    if colours[site] == vector:
        density[r, site] += series[r, k, 0] * value
        energy[r, site] += series[r, k, 1] * value


@kernel
def start(vectors: int, first: int, colours: Array, series: Array, now: Array, density: Array, energy: Array) -> None:
    """T_0 = 1 on the sites of a vector's colour, now (R V, N); density and energy (R, N) are added to.

    The vectors are those of the colours first, first + 1, ...; series (R, M, 2).
    """
    row, block = row_and_block((now.shape[1] + THREADS - 1) // THREADS)
    site = block * THREADS + cuda.threadIdx.x
    if site < now.shape[1]:
        vector = first + row % vectors
        value = 1.0 if colours[site] == vector else 0.0
        now[row, site] = value
        _take(row // vectors, site, 0, vector, value, colours, series, density, energy)


@kernel
def step(
    rows: Array,
    hops: tuple[int, ...],
    length: int,
    basis: int,
    per_line: int,
    vectors: int,
    first: int,
    k: int,
    levels: Array,
    hop: Array,
    colours: Array,
    series: Array,
    now: Array,
    other: Array,
    density: Array,
    energy: Array,
) -> None:
    """other <- T_k from now = T_k-1 and other = T_k-2, all (R V, rows, length basis); k = 1 asks nothing of `other`.

    `levels` (R, N) and `hop` (R,) are those of 2 h, of h alone for k = 1, in the precision of the vectors.
    """
    groups = (rows.shape[1] + LINES - 1) // LINES
    line, block = row_and_block(per_line)
    inside = block * THREADS + cuda.threadIdx.x
    row_size = length * basis
    if inside >= row_size:
        return
    v, group = line // groups, line % groups
    r, vector = v // vectors, first + v % vectors
    cell, site = inside, 0
    if basis > 1:
        cell, site = inside // basis, inside % basis
    for n in range(LINES):
        row = group * LINES + n
        if row < rows.shape[1]:
            total = hop[r] - hop[r]  # zero, in the precision of the vectors: a plain one would make doubles of them all
            for z in range(len(hops) // 3):
                if hops[3 * z] == site:
                    ahead = cell + hops[3 * z + 2]
                    if ahead >= length:
                        ahead -= length
                    total += now[v, rows[z, row], ahead * basis + hops[3 * z + 1]]
            i = row * row_size + inside
            value = levels[r, i] * now[v, row, inside] + hop[r] * total
            if k > 1:
                value -= other[v, row, inside]
            other[v, row, inside] = value
            _take(r, i, k, vector, float(value), colours, series, density, energy)


@kernel
def listed_step(
    neighbours: Array,
    amplitudes: Array,
    per_row: int,
    vectors: int,
    first: int,
    k: int,
    levels: Array,
    scale: Array,
    colours: Array,
    series: Array,
    now: Array,
    other: Array,
    density: Array,
    energy: Array,
) -> None:
    """The same as `step`, for neighbours (N, z), -1 for none, and amplitudes (N, z), which times `scale` (R,) are those of 2 h.

    now, other (R V, N). All vectors read the same table, which is small beside them.
    """
    v, block = row_and_block(per_row)
    site = block * THREADS + cuda.threadIdx.x
    if site >= now.shape[1]:
        return
    r, vector = v // vectors, first + v % vectors
    total = scale[r] - scale[r]
    for z in range(neighbours.shape[1]):
        beside = neighbours[site, z]
        if beside >= 0:
            total += amplitudes[site, z] * now[v, beside]
    value = levels[r, site] * now[v, site] + scale[r] * total
    if k > 1:
        value -= other[v, site]
    other[v, site] = value
    _take(r, site, k, vector, float(value), colours, series, density, energy)
