"""Cavity Green's functions of the square lattice with one real hopping t, compiled for the CPU.

The lattice is cut into tiles that stay in cache with their halo. On a tile, for one pole after the other, the messages of
the four directions are swept and joined in pairs, and the (2R + 1) x (2R + 1) patches eliminated towards their centres;
neighbouring sites stand in neighbouring lanes of the vector units throughout. What is computed is written down plainly in
`forcefields.cavity.graph` and `forcefields.cavity.rim`, and agrees with them from 2R + 4 sites per direction: below, sites
outside a patch are next to two sides of it. The cut depends on the shape of the lattice alone, so neither threads nor other
replicas change a bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from forcefields.cavity.elimination import elimination
from forcefields.cavity.expansion import Expansion, side_by_side
from forcefields.cavity.patches import patches, patches_of_nine
from forcefields.cavity.tile import LANES, ONSITE, SPAN, TILE, Array, first_sweep, jit, jit_parallel, join, sweep
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import DensityMatrix

_COLUMNS = 128  # of a tile without its halo
_ROWS_OF_NINE, _ROWS = 32, 8  # of a tile: 3 x 3 patches are so cheap that sweeping large halos would show
# Sites below which waking the threads, milliseconds on a busy machine, costs more than they save.
_PARALLEL_FROM_OF_NINE, _PARALLEL_FROM = 65536, 4096


@dataclass(frozen=True)
class OnSquare:
    """The patches of a square lattice of `shape` sites with one real `hopping` [energy]; of the rows and columns (first,
    last + 1) that are `asked` only, unless it is None."""

    shape: tuple[int, int]
    hopping: float
    radius: int
    sweeps: int
    precision: Any  # the NumPy type of the arithmetic on a tile
    asked: tuple[tuple[int, int], ...] | None = None

    def reach(self, lattice: Lattice) -> float:
        """How far hopping can move a level at most [energy]."""
        return 4.0 * abs(self.hopping)

    def solve(self, levels: Array, expansions: list[Expansion]) -> tuple[DensityMatrix, Array]:
        """The densities and the energies of the sites, (R, N) each, for on-site energies `levels` (R, N) counted from mu;
        zero where nobody asks.
        """
        box = np.array(self.asked or tuple((0, n) for n in self.shape))
        height, width = (box[:, 1] - box[:, 0]).tolist()
        rows, columns = _tile_shape(height, width, self.radius, self.radius + self.sweeps)
        tiles = -(-height // rows) * -(-width // columns)
        worthwhile = levels.size >= (_PARALLEL_FROM_OF_NINE if self.radius == 1 else _PARALLEL_FROM)
        run = _tiles_parallel if worthwhile and len(levels) * tiles > 1 and get_num_threads() > 1 else _tiles_serial
        poles, weights, slopes = side_by_side(expansions)
        program, *places = elimination(self.radius)
        grid = (len(levels), *self.shape)
        density, energy = np.zeros(levels.shape), np.zeros(levels.shape)
        run(
            len(levels) * tiles,
            box,
            self.radius,
            program,
            tuple(places),
            self.sweeps,
            rows,
            columns,
            levels.reshape(grid),
            poles.astype(self.precision),
            weights.astype(self.precision),
            slopes,
            self.precision(self.hopping),
            density.reshape(grid),
            energy.reshape(grid),
        )
        return DensityMatrix(density), energy


def working_bytes() -> int:
    """Memory that the tiles of all threads take at most [byte]: two sets of fields, and the sums."""
    return get_num_threads() * 8 * (2 * TILE + 3 * SPAN)


def _tile_shape(rows: int, columns: int, radius: int, halo: int) -> tuple[int, int]:
    """Rows and columns of a tile without its halo: nearly equal parts of the lattice that fit."""
    width = _nearly_equal(columns, _COLUMNS)
    room = SPAN // (width + 2 * halo) - 2 * halo - 2
    return _nearly_equal(rows, min(room, _ROWS_OF_NINE if radius == 1 else _ROWS)), width


def _nearly_equal(whole: int, most: int) -> int:
    return -(-whole // -(-whole // most))


@jit
def _load(onsite: Array, row: int, column: int, halo: int, rows: int, stride: int, tile: Array) -> None:
    """Fill the tile with on-site energies (Lx, Ly) of the periodic lattice; its centre begins at (row, column)."""
    for a in range(rows + 2 * halo + 2):
        x = (row - halo - 1 + a) % onsite.shape[0]
        for b in range(stride):
            tile[ONSITE + a * stride + b] = onsite[x, (column - halo + b) % onsite.shape[1]]


@jit
def _do_tile(
    number: int,
    box: Array,
    radius: int,
    program: Array,
    places: Any,
    sweeps: int,
    rows: int,
    columns: int,
    levels: Array,
    poles: Array,
    weights: Array,
    slopes: Array,
    h: Any,
    density: Array,
    energy: Array,
) -> None:
    """Density and energy (R, Lx, Ly) of one tile of the box; tiles are numbered row by row and replica by replica."""
    height, width = box[0, 1] - box[0, 0], box[1, 1] - box[1, 0]
    down, across = -(-height // rows), -(-width // columns)
    replica, tile = number // (down * across), number % (down * across)
    row, column = tile // across * rows, tile % across * columns
    rows, columns = min(rows, height - row), min(columns, width - column)
    row, column = row + box[0, 0], column + box[1, 0]
    halo = radius + sweeps
    stride = columns + 2 * halo
    sites, first = (rows + 2 * halo + 2) * stride, (halo + 1) * stride
    kind = poles.dtype
    old, new = np.zeros(TILE, kind), np.zeros(TILE, kind)
    sums = np.zeros(2 * SPAN + 2 * LANES, kind)
    # Sixteen numbers more than needed, so that rows used together meet in different cache sets.
    elements = np.empty((places[0], 2 * LANES + 16), kind)
    factors = np.empty((places[1] + 1, 2 * LANES + 16), kind)
    _load(levels[replica], row, column, halo, rows, stride, old)
    for i in range(sites):
        new[i + ONSITE] = old[i + ONSITE]
    for p in range(poles.shape[1]):
        w, weight = poles[replica, p], weights[replica, p]
        first_sweep(sites, w, h * h, old)
        first_sweep(sites, w, h * h, new)
        for _ in range(1, sweeps):
            sweep(stride, sites, w, h * h, old, new)
            old, new = new, old
        join(stride, sites, h * h, old, new)
        if radius == 1:
            patches_of_nine(first, rows * stride, stride, w, h * h, weight, old, new, sums)
        else:
            for start in range(0, rows * stride, LANES):
                patches(radius, program, first + start, stride, w, h, weight, old, new, elements, factors, sums[start:])
    slope, moment, constant = slopes[replica], 4.0 * h * h, weights[replica, :, 0].sum()
    for a in range(rows):
        x = (row + a) % levels.shape[1]
        for b in range(columns):
            y = (column + b) % levels.shape[2]
            e, place = levels[replica, x, y], a * stride + halo + b
            density[replica, x, y] = 0.5 - slope * e - sums[place]
            energy[replica, x, y] = 0.5 * e - slope * (e * e + moment) + (sums[place + SPAN] - constant)


@jit
def _tiles_serial(
    tiles: int,
    box: Array,
    radius: int,
    program: Array,
    places: Any,
    sweeps: int,
    rows: int,
    columns: int,
    levels: Array,
    poles: Array,
    weights: Array,
    slopes: Array,
    h: Any,
    density: Array,
    energy: Array,
) -> None:
    for number in range(tiles):
        _do_tile(
            number,
            box,
            radius,
            program,
            places,
            sweeps,
            rows,
            columns,
            levels,
            poles,
            weights,
            slopes,
            h,
            density,
            energy,
        )


@jit_parallel
def _tiles_parallel(
    tiles: int,
    box: Array,
    radius: int,
    program: Array,
    places: Any,
    sweeps: int,
    rows: int,
    columns: int,
    levels: Array,
    poles: Array,
    weights: Array,
    slopes: Array,
    h: Any,
    density: Array,
    energy: Array,
) -> None:
    for number in prange(tiles):
        _do_tile(
            number,
            box,
            radius,
            program,
            places,
            sweeps,
            rows,
            columns,
            levels,
            poles,
            weights,
            slopes,
            h,
            density,
            energy,
        )
