"""A tile of the square lattice: where its fields lie in memory, the sweeps of messages over it, and bonds on rims.

A message here is the self-energy m = t^2 M = t^2/(x - iy) that a site adds to its neighbour, with x = e - mu - sum Re m
and y = w + sum Im m over the other three messages. As y >= w > 0, nothing is ever divided by zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from forcefields.cavity.rim import CAUTION

Array = NDArray[Any]

SPAN = 8304  # sites of a tile with its halo; 448 bytes above a multiple of 4096 so that fields meet in different cache sets
LANES = 128  # patches eliminated together: with fewer, starting a loop takes longer than the loop; more leave the cache

# A tile is one array that holds nine fields at distances known to the compiler: it only turns loops into SIMD code when it
# can tell that what is written is not what is read. A message is named by the direction in which it goes.
DOWN, UP, RIGHT, LEFT = 0, 2 * SPAN, 4 * SPAN, 6 * SPAN
IMAGINARY = SPAN  # from the real part of a message
ONSITE = 8 * SPAN
TILE = 9 * SPAN + 2 * LANES  # loops may run past the last site, where they find finite numbers that nobody asks for

# Multiply-add and reciprocal multiplication are allowed; nothing that would change the order of a sum.
_FAST = {"contract", "arcp", "nsz"}
jit = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True)
jit_parallel = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True, parallel=True)
inline = register_jitable(error_model="numpy", forceinline=True)


@jit
def first_sweep(n: int, w: Any, t2: Any, tile: Array) -> None:
    """m = t^2/(e - iw), the same in all directions."""
    for i in range(n):
        x = tile[i + ONSITE]
        q = t2 / (x * x + w * w)
        real, imaginary = q * x, q * w
        tile[i + DOWN] = real
        tile[i + UP] = real
        tile[i + RIGHT] = real
        tile[i + LEFT] = real
        tile[i + DOWN + IMAGINARY] = imaginary
        tile[i + UP + IMAGINARY] = imaginary
        tile[i + RIGHT + IMAGINARY] = imaginary
        tile[i + LEFT + IMAGINARY] = imaginary


@jit
def sweep(stride: int, n: int, w: Any, t2: Any, old: Array, new: Array) -> None:
    """Every message from the three that come in from the other sides; the outermost rows of the tile keep theirs."""
    above, beside, below, out = old, old[stride - 1 :], old[2 * stride :], new[stride:]
    for i in range(n - 2 * stride):
        down, down_i = above[i + DOWN], above[i + DOWN + IMAGINARY]
        up, up_i = below[i + UP], below[i + UP + IMAGINARY]
        right, right_i = beside[i + RIGHT], beside[i + RIGHT + IMAGINARY]
        left, left_i = beside[i + 2 + LEFT], beside[i + 2 + LEFT + IMAGINARY]
        e = beside[i + 1 + ONSITE]
        # Sums of pairs first: the four results are then mapped to each other by every operation of D4, to the last bit.
        vertical, vertical_i = e - (down + up), w + (down_i + up_i)
        horizontal, horizontal_i = e - (right + left), w + (right_i + left_i)
        _send(horizontal - down, horizontal_i + down_i, horizontal - up, horizontal_i + up_i, t2, out, i + DOWN, i + UP)
        _send(
            vertical - right, vertical_i + right_i, vertical - left, vertical_i + left_i, t2, out, i + RIGHT, i + LEFT
        )


@inline
def _send(x: Any, y: Any, u: Any, v: Any, t2: Any, out: Array, first: int, second: int) -> None:
    """Two messages t^2/(x - iy) and t^2/(u - iv), with one division: it is what the loop would wait for."""
    a, b = x * x + y * y, u * u + v * v
    q = t2 / (a * b)
    out[first], out[first + IMAGINARY] = q * b * x, q * b * y
    out[second], out[second + IMAGINARY] = q * a * u, q * a * v


@jit
def join(stride: int, n: int, t2: Any, tile: Array, joined: Array) -> None:
    """Strengths, in units of t, of bonds on the rims of patches: see `forcefields.cavity.rim`.

    A bond from i to i + 1 into which messages go down (up) from above (below), or from i to i + stride into which they go
    right (left) from beside. Its strength stands at i, in another tile, where that keeps the messages themselves.
    """
    one = tile.dtype.type(1)
    scale = one / t2 if t2 > 1e-30 else t2  # so weak a hop joins nothing
    # Loops that write two fields each, because what is read and written by more of them is not told apart and made SIMD code.
    above, inside, below = tile, joined[stride:], tile[2 * stride :]
    for i in range(n - 2 * stride):
        _store(_strength(above, i + DOWN, above, i + 1 + DOWN, scale), inside, i + DOWN)
        _store(_strength(below, i + UP, below, i + 1 + UP, scale), inside, i + UP)
    beside, next_row, inside = tile, tile[stride:], joined[1:]
    for i in range(n - stride):
        _store(_strength(beside, i + RIGHT, next_row, i + RIGHT, scale), inside, i + RIGHT)
        _store(_strength(beside, i + 2 + LEFT, next_row, i + 2 + LEFT, scale), inside, i + LEFT)


@inline
def message(row: Array, i: int) -> Any:
    """The complex number whose real part stands at i."""
    return complex(at(row, i), at(row, i + IMAGINARY))


@inline
def at(row: Array, i: int) -> Any:
    """What stands at i >= 0. Without the type the compiler asks whether i counts from the end, and makes no SIMD code."""
    return row[np.uint64(i)]


@inline
def _strength(first: Array, i: int, second: Array, j: int, scale: Any) -> Any:
    """1 + z/(1 + 16 |z|^2) with z = m m'/t^2."""
    one, caution = first.dtype.type(1), first.dtype.type(CAUTION)
    z = scale * (message(first, i) * message(second, j))
    damping = one + caution * (z.real * z.real + z.imag * z.imag)
    return complex(one + z.real / damping, z.imag / damping)


@inline
def _store(value: Any, out: Array, i: int) -> None:
    out[i], out[i + IMAGINARY] = value.real, value.imag
