"""A tile of the square lattice: where its fields lie in memory, the sweeps of messages over it, and bonds on rims.

A message here is the self-energy m = t^2 M = t^2/(x - iy) that a site adds to its neighbour, with x = e - mu - sum Re m
and y = w + sum Im m over the other three messages. As y >= w > 0, nothing is ever divided by zero.
"""

from __future__ import annotations

from typing import Any

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
    """Strengths 1 + z/(1 + 25 |z|^2), z = m m'/t^2, in units of t, of the bonds on the rims that messages cross in pairs.

    Messages of sites i and i + 1 that go down or up, i and i + stride that go right or left: see `forcefields.cavity.rim`.
    What is joined stands where the first of the two messages stood, in another tile.
    """
    one, caution = tile.dtype.type(1), tile.dtype.type(CAUTION)
    scale = one / t2 if t2 > 1e-30 else t2  # so weak a hop joins nothing
    beside, below = tile[1:], tile[stride:]
    for i in range(n - stride):
        _join(tile, beside, i + DOWN, i + UP, scale, caution, one, joined)
        _join(tile, below, i + RIGHT, i + LEFT, scale, caution, one, joined)


@inline
def _join(tile: Array, other: Array, first: int, second: int, scale: Any, caution: Any, one: Any, out: Array) -> None:
    """Two strengths, with one division."""
    a, a_i, b, b_i = tile[first], tile[first + IMAGINARY], other[first], other[first + IMAGINARY]
    c, c_i, d, d_i = tile[second], tile[second + IMAGINARY], other[second], other[second + IMAGINARY]
    x, y, u, v = (
        scale * (a * b - a_i * b_i),
        scale * (a * b_i + a_i * b),
        scale * (c * d - c_i * d_i),
        scale * (c * d_i + c_i * d),
    )
    p, q = one + caution * (x * x + y * y), one + caution * (u * u + v * v)
    r = one / (p * q)
    out[first], out[first + IMAGINARY] = one + r * q * x, r * q * y
    out[second], out[second + IMAGINARY] = one + r * p * u, r * p * v
