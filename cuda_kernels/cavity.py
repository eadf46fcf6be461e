"""Cavity Green's functions on the device: messages and patches of a tile of the square lattice in one kernel.

A block has a tile with its halo in shared memory, a thread for each site of the tile's centre. Poles follow one another:
all threads sweep the messages of all sites of the tile, then each eliminates the patch around its own site in registers and
adds what it finds to sums that stay in registers too. From global memory come the levels, once; there go the densities.
What is computed is written down plainly in `forcefields.cavity.graph` and `forcefields.cavity.rim`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels.device import SIMULATED, THREADS, device, kernel
from cuda_kernels.patches import CAUTION, DOWN, LEFT, RIGHT, UP, centre_of_patch
from cuda_kernels.summing import largest_of_block, sum_of_row
from cuda_kernels.threads import row_and_block

Array = Any

SHARED_BYTES = 48 * 1024  # that every card gives to a block without being asked
SIDES = (4,) if SIMULATED else (16, 12, 8)  # of the centre of a tile

_STEP = 0.25 * math.log(2.0)  # widths of spectra come in steps of 2^(1/4), see `forcefields.fermi`
_SLACK = 1e-12


@kernel
def widest(levels: Array, mu: float, per_row: int, largest: Array) -> None:
    """Raise largest[r] to max_i |e_i - mu| of levels (R, N); a maximum doesn't care in which order blocks arrive."""
    scratch = cuda.shared.array(THREADS, np.float64)
    r, block = row_and_block(per_row)
    own = 0.0
    for turn in range(8):
        i = (8 * block + turn) * THREADS + cuda.threadIdx.x
        if i < levels.shape[1]:
            own = max(own, abs(float(levels[r, i]) - mu))
    own = largest_of_block(own, scratch)
    if cuda.threadIdx.x == 0:
        cuda.atomic.max(largest, r, own)


def side_of_tile(radius: int, sweeps: int, itemsize: int) -> int | None:
    """The side of the centre of a tile that fits shared memory with its halo; None if none does."""
    for side in SIDES:
        if 9 * itemsize * (side + 2 * (radius + sweeps)) ** 2 + 8 * side**2 + 64 <= SHARED_BYTES:
            return side
    return None


@cache
def patches(radius: int, sweeps: int, precision: Any, steps: tuple[tuple[int, int, int, int], ...]) -> Any:
    """The kernel for patches of this radius in this precision; `steps` is the program of their elimination."""
    number = np.dtype(precision).type
    side = side_of_tile(radius, sweeps, np.dtype(precision).itemsize)
    assert side is not None, "asked before"
    halo = radius + sweeps
    span = side + 2 * halo
    sites, threads = span * span, side * side
    each = -(-sites // threads)
    green = centre_of_patch(radius, steps, span)

    @device
    def send(m: Array, i: int, direction: int, x: float, y: float, t2: float) -> None:
        """A message t^2/(x - iy)."""
        q = t2 / (x * x + y * y)
        m[direction, i], m[direction + 1, i] = q * x, q * y

    @device
    def first_sweep(m: Array, e: Array, w: float, t2: float) -> None:
        for i in range(cuda.threadIdx.x, sites, threads):
            x = e[i]
            q = t2 / (x * x + w * w)
            for direction in range(0, 8, 2):
                m[direction, i], m[direction + 1, i] = q * x, q * w
        cuda.syncthreads()

    @device
    def sweep(m: Array, e: Array, w: float, t2: float) -> None:
        """Every message from the three that come in from the other sides; those of the tile's rim stay."""
        seen = cuda.local.array((each, 8), number)
        for k in range(each):
            i = k * threads + cuda.threadIdx.x
            if span < i < sites - span:
                down, down_i = m[DOWN, i - span], m[DOWN + 1, i - span]
                up, up_i = m[UP, i + span], m[UP + 1, i + span]
                right, right_i = m[RIGHT, i - 1], m[RIGHT + 1, i - 1]
                left, left_i = m[LEFT, i + 1], m[LEFT + 1, i + 1]
                vertical, vertical_i = e[i] - (down + up), w + (down_i + up_i)
                horizontal, horizontal_i = e[i] - (right + left), w + (right_i + left_i)
                seen[k, 0], seen[k, 1] = horizontal - down, horizontal_i + down_i
                seen[k, 2], seen[k, 3] = horizontal - up, horizontal_i + up_i
                seen[k, 4], seen[k, 5] = vertical - right, vertical_i + right_i
                seen[k, 6], seen[k, 7] = vertical - left, vertical_i + left_i
        cuda.syncthreads()
        for k in range(each):
            i = k * threads + cuda.threadIdx.x
            column = i % span
            if span < i < sites - span and 0 < column < span - 1:
                for direction in range(0, 8, 2):
                    send(m, i, direction, seen[k, direction], seen[k, direction + 1], t2)
        cuda.syncthreads()

    @kernel
    def run(
        levels: Array,
        mu: float,
        hopping: float,
        temperature: float,
        largest: Array,
        counts: Array,
        poles: Array,
        weights: Array,
        slopes: Array,
        tiles: int,
        density: Array,
        energy: Array,
        parts: Array,
        arrived: Array,
    ) -> None:
        """density (R, Lx, Ly) and energy (R,) for levels (R, Lx, Ly); the tables (T, ...) are in units of kT."""
        m = cuda.shared.array((8, sites), number)
        e = cuda.shared.array(sites, number)
        scratch = cuda.shared.array(threads, np.float64)
        last = cuda.shared.array(1, np.int32)
        r, tile = row_and_block(tiles)
        height, width = levels.shape[1], levels.shape[2]
        across = (width + side - 1) // side
        row, column = tile // across * side, tile % across * side
        t = cuda.threadIdx.x
        for i in range(t, sites, threads):
            x, y = (row + i // span - halo) % height, (column + i % span - halo) % width
            e[i] = number(float(levels[r, x, y]) - mu)
        cuda.syncthreads()
        reach = largest[r] + 4.0 * abs(hopping)
        step = np.int64(0)
        if reach > temperature:
            step = np.int64(math.ceil(math.log(reach / temperature) / _STEP - _SLACK))  # a float on the device
        known = step < counts.size
        h = number(hopping)
        scale = number(1.0 / (hopping * hopping)) if hopping * hopping > 1e-30 else number(0.0)
        place = (halo + t // side) * span + halo + t % side
        filled, freed, constant = 0.0, 0.0, 0.0
        if known:
            for p in range(counts[step]):
                w = number(temperature * poles[step, p])
                c = temperature * weights[step, p, 0]
                first_sweep(m, e, w, h * h)
                for _ in range(1, sweeps):
                    sweep(m, e, w, h * h)
                real, imaginary = green(m, e, place, w, h, scale, number(CAUTION), number(1.0))
                filled += c * real
                freed += temperature * temperature * weights[step, p, 1] * imaginary
                constant += c
                cuda.syncthreads()  # the next pole's messages overwrite these
        x, y = row + t // side, column + t % side
        own = 0.0
        if x < height and y < width:
            level = float(levels[r, x, y]) - mu
            slope = slopes[min(step, counts.size - 1)] / temperature
            found = 0.5 - slope * level - filled
            own = 0.5 * level - slope * (level * level + 4.0 * hopping * hopping) + (freed - constant)
            density[r, x, y] = found if known else math.nan
        total = sum_of_row(own, r, tile, tiles, parts, arrived, scratch, last)
        if last[0] == 1 and t == 0:
            energy[r] = total if known else math.nan

    return run
