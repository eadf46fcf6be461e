"""Chebyshev recursion in many windows side by side: a SIMD lane is a site, so the stencil moves whole vectors.

A window of w x w sites is laid out as rows of columns of lanes, with one empty column between rows and an empty row at
either end: the open boundary. Three such fields, T_k, T_k-1 and the levels, stand in one array at distances known to the
compiler, which only turns loops into SIMD code when it can tell that what is written is not what is read. So that it knows,
numbers come as tuples whose lengths are meant: a length is part of a type, and each width gets kernels of its own. With
rows of a length known only at run time, windows of 9 x 9 take half as long again.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

Array = NDArray[Any]
Number = tuple[int, ...]  # of which only the length is meant

LANES = 16  # one vector of AVX-512 in single precision, two in double; with 32, windows of 21 x 21 leave the cache

# Multiply-add is allowed; nothing that would change the order of a sum.
_FAST = {"contract", "arcp", "nsz"}
jit = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True)
jit_parallel = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True, parallel=True)
inline = register_jitable(error_model="numpy", fastmath=_FAST, forceinline=True)


@inline
def stride_of(width: Number) -> int:
    """From a site to the one in the next row; columns are LANES apart."""
    return (len(width) + 1) * LANES


@inline
def field_of(width: Number) -> int:
    """From a site to the same one in the next field: T_k, T_k-1 or the other way round, then the levels."""
    # 448 or 896 bytes off a round number, so that fields meet in different cache sets.
    return (len(width) + 2) * stride_of(width) + 2 * LANES + 112


@inline
def corner_of(width: Number) -> int:
    """The first site of a window in its field."""
    return stride_of(width) + LANES


@inline
def four_rows(width: Number, side: Number, n: int, t: Array, hop: Any, sums: Array) -> None:
    """T_k+1 = 2 h T_k - T_k-1 of four rows at once, as a row serves its two neighbours when it is there; see `step`."""
    stride, row = stride_of(width), len(width) * LANES
    # Views begin one row and one column before a site, so that no index is negative.
    here = corner_of(width) + len(side) * field_of(width)
    out = corner_of(width) + (1 - len(side)) * field_of(width)
    onsite = corner_of(width) + 2 * field_of(width)
    west, east = here - LANES, here + LANES
    for i in range(n):
        north, south = t[i + here - stride], t[i + here + 4 * stride]
        a, b, c, d = t[i + here], t[i + here + stride], t[i + here + 2 * stride], t[i + here + 3 * stride]
        # Sums of pairs first: D4 maps T_k to T_k to the last bit.
        p = hop * ((north + b) + (t[i + west] + t[i + east])) + (t[i + onsite] * a - t[i + out])
        q = hop * ((a + c) + (t[i + west + stride] + t[i + east + stride])) + (
            t[i + onsite + stride] * b - t[i + out + stride]
        )
        r = hop * ((b + d) + (t[i + west + 2 * stride] + t[i + east + 2 * stride])) + (
            t[i + onsite + 2 * stride] * c - t[i + out + 2 * stride]
        )
        s = hop * ((c + south) + (t[i + west + 3 * stride] + t[i + east + 3 * stride])) + (
            t[i + onsite + 3 * stride] * d - t[i + out + 3 * stride]
        )
        t[i + out], t[i + out + stride], t[i + out + 2 * stride], t[i + out + 3 * stride] = p, q, r, s
        sums[i] += (p * a + q * b) + (r * c + s * d)
        sums[i + row] += (p * p + q * q) + (r * r + s * s)


@inline
def one_row(width: Number, side: Number, n: int, t: Array, hop: Any, sums: Array) -> None:
    """The same for one row."""
    stride, row = stride_of(width), len(width) * LANES
    here = corner_of(width) + len(side) * field_of(width)
    out = corner_of(width) + (1 - len(side)) * field_of(width)
    onsite = corner_of(width) + 2 * field_of(width)
    for i in range(n):
        a = t[i + here]
        vertical, horizontal = t[i + here - stride] + t[i + here + stride], t[i + here - LANES] + t[i + here + LANES]
        p = hop * (vertical + horizontal) + (t[i + onsite] * a - t[i + out])
        t[i + out] = p
        sums[i] += p * a
        sums[i + row] += p * p


@jit
def whole(width: Number, side: Number, t: Array, hop: Any, sums: Array) -> None:
    """A step on all sites of the window."""
    n = len(width) * LANES
    for row in range(0, len(width) - 3, 4):
        four_rows(width, side, n, t[row * stride_of(width) :], hop, sums)
    for row in range(len(width) // 4 * 4, len(width)):
        one_row(width, side, n, t[row * stride_of(width) :], hop, sums)


@jit
def cone(width: Number, side: Number, reach: int, t: Array, hop: Any, sums: Array) -> None:
    """A step on the sites up to `reach` hops from the middle, and some more."""
    radius = len(width) // 2
    row = max(0, radius - reach)
    end = len(width) - row
    while row < end:
        rows = 4 if row + 4 <= end else 1
        nearest = max(0, row - radius, radius - row - rows + 1)
        half = min(radius, reach - nearest)
        column = (radius - half) * LANES
        view, n = t[row * stride_of(width) + column :], (2 * half + 1) * LANES
        if rows == 4:
            four_rows(width, side, n, view, hop, sums[column:])
        else:
            one_row(width, side, n, view, hop, sums[column:])
        row += rows


@jit
def step(width: Number, side: Number, k: int, t: Array, hop: Any, sums: Array) -> None:
    """T_k+1 = 2 h T_k - T_k-1, with T_k in field `side` (0 or 1) of `t` and T_k-1, which is written over, in the other.

    `t` holds 2 h: levels in its third field, and `hop`. T_k+1 T_k and T_k+1 T_k+1 of every column and lane are added to
    `sums`, 2 w LANES numbers. T_k+1 is zero more than k + 1 hops from the middle, so the first steps visit few sites.
    """
    if k + 1 < len(width) - 1:
        cone(width, side, k + 1, t, hop, sums)
    else:
        whole(width, side, t, hop, sums)
