"""Chebyshev recursion in many windows side by side: a SIMD lane is a site, so the stencil moves whole vectors.

A window of w x w sites is laid out as rows of columns of lanes, with one empty column between rows and an empty row at
either end: the open boundary. Three such fields, T_k-1, T_k and the levels, stand in one array at distances known to the
compiler, which only turns loops into SIMD code when it can tell that what is written is not what is read. That is also
why kernels are made for one width: with rows of a length known only at run time they take half as long again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

LANES = 16  # one vector of AVX-512 in single precision, two in double; with 32, windows of 21 x 21 leave the cache

# Multiply-add is allowed; nothing that would change the order of a sum.
_FAST = {"contract", "arcp", "nsz"}
jit = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True)
jit_parallel = njit(error_model="numpy", fastmath=_FAST, cache=True, nogil=True, parallel=True)


@dataclass(frozen=True)
class Layout:
    """Where things lie in the array of a window: fields of `field` numbers, rows `stride` apart, columns LANES apart."""

    width: int

    @property
    def stride(self) -> int:
        """From a site to the one in the next row."""
        return (self.width + 1) * LANES

    @property
    def field(self) -> int:
        """From a site to the same one in the next field; 448 bytes off a round number, so they meet in different cache sets."""
        return (self.width + 2) * self.stride + 2 * LANES + 112

    @property
    def first(self) -> int:
        """The site in the north-west corner."""
        return self.stride + LANES

    @property
    def centre(self) -> int:
        """The site whose moments are wanted."""
        return self.first + self.width // 2 * (self.stride + LANES)

    @property
    def size(self) -> int:
        """Of the whole array; views may begin at the last row."""
        return 3 * self.field


@cache
def sweep(width: int, forth: bool) -> Callable[..., None]:
    """A compiled step T_k+1 = 2 h T_k - T_k-1 that writes over T_k-1; `forth` if T_k is the first field, else the second.

    step(k, array, hop, sums): `array` holds 2 h as levels, `hop` is its hopping. Adds T_k+1 T_k and T_k+1 T_k+1 of every
    column to `sums` (2 width LANES,). T_k+1 is zero more than k + 1 hops from the centre, so small k visit few sites.
    """
    place = Layout(width)
    stride, radius, row_length = place.stride, width // 2, width * LANES
    now = place.first if forth else place.first + place.field
    out = place.first + place.field if forth else place.first
    # Views begin one row and one column before a site, so that no index is negative.
    north, west, here, east, south = (now + shift for shift in (-stride, -LANES, 0, LANES, stride))
    onsite = 2 * place.field + place.first

    @jit
    def four_rows(n: int, t: Array, hop: Any, sums: Array) -> None:
        # Four at once, as a row then serves as its own and as its neighbours' neighbour.
        for i in range(n):
            a, b, c, d = t[i + here], t[i + here + stride], t[i + here + 2 * stride], t[i + here + 3 * stride]
            # Sums of pairs first, so that the result keeps D4 to the last bit but for the sums over columns.
            p = hop * ((t[i + north] + b) + (t[i + west] + t[i + east])) + (t[i + onsite] * a - t[i + out])
            q = hop * ((a + c) + (t[i + west + stride] + t[i + east + stride])) + (
                t[i + onsite + stride] * b - t[i + out + stride]
            )
            r = hop * ((b + d) + (t[i + west + 2 * stride] + t[i + east + 2 * stride])) + (
                t[i + onsite + 2 * stride] * c - t[i + out + 2 * stride]
            )
            s = hop * ((c + t[i + south + 3 * stride]) + (t[i + west + 3 * stride] + t[i + east + 3 * stride])) + (
                t[i + onsite + 3 * stride] * d - t[i + out + 3 * stride]
            )
            t[i + out], t[i + out + stride], t[i + out + 2 * stride], t[i + out + 3 * stride] = p, q, r, s
            sums[i] += (p * a + q * b) + (r * c + s * d)
            sums[i + row_length] += (p * p + q * q) + (r * r + s * s)

    @jit
    def one_row(n: int, t: Array, hop: Any, sums: Array) -> None:
        for i in range(n):
            a = t[i + here]
            p = hop * ((t[i + north] + t[i + south]) + (t[i + west] + t[i + east])) + (t[i + onsite] * a - t[i + out])
            t[i + out] = p
            sums[i] += p * a
            sums[i + row_length] += p * p

    @jit
    def whole(t: Array, hop: Any, sums: Array) -> None:
        for row in range(0, width - 3, 4):
            four_rows(row_length, t[row * stride :], hop, sums)
        for row in range(width // 4 * 4, width):
            one_row(row_length, t[row * stride :], hop, sums)

    @jit
    def cone(reach: int, t: Array, hop: Any, sums: Array) -> None:
        row = max(0, radius - reach)
        end = width - row
        while row < end:
            rows = 4 if row + 4 <= end else 1
            nearest = max(0, row - radius, radius - row - rows + 1)
            half = min(radius, reach - nearest)
            column = (radius - half) * LANES
            view, n = t[row * stride + column :], (2 * half + 1) * LANES
            if rows == 4:
                four_rows(n, view, hop, sums[column:])
            else:
                one_row(n, view, hop, sums[column:])
            row += rows

    @jit
    def step(k: int, t: Array, hop: Any, sums: Array) -> None:
        if k + 1 < 2 * radius:
            cone(k + 1, t, hop, sums)
        else:
            whole(t, hop, sums)

    return step
