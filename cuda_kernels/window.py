"""Moments of windows on the device: a window lives in the registers of a few threads.

A group of `lanes` threads has one window, each thread `columns` columns of it: T_k, T_k-1 and the levels of all its rows are
registers with names, so the recursion is straight-line code, written for each width. Neighbours above and below are the
thread's own, those beside come from the next lane. Nothing touches memory between the levels at the start and the density at
the end but the coefficients of the series, which all threads of a block read together.

One column before the window is empty, so that a lane may look at the one before it, around the warp, and find zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from cuda_kernels.device import SIMULATED, device, kernel
from cuda_kernels.lanes import WARP, from_lane
from cuda_kernels.summing import largest_of_block, sum_of_row
from cuda_kernels.threads import row_and_block

Array = Any

THREADS = 16 if SIMULATED else 128
MOST_REGISTERS = 192  # of 32 bits that the three fields of a thread take; the card has 255 for each


class Shape(NamedTuple):
    """How a window is dealt out: to how many lanes, and how many columns each has."""

    lanes: int
    columns: int


def shape_of(width: int, itemsize: int) -> Shape | None:
    """The cheapest shape for a window, None if none fits: a shuffle costs four times what an operation does."""
    shapes = []
    for columns in range(1, width + 2):
        lanes = 1 << math.ceil(math.log2(-(-(width + 1) // columns)))
        if lanes <= WARP and 3 * width * columns * itemsize // 4 <= MOST_REGISTERS:
            shuffles = 2 * (lanes > 1) * (width + math.log2(lanes))
            shapes.append((lanes * (1.75 * columns * width + shuffles), Shape(lanes, columns)))
    return min(shapes)[1] if shapes else None


@cache
def windows(width: int, precision: Any) -> Any:
    """The kernel for windows of this width in this precision."""
    number = np.dtype(precision).type
    shape = shape_of(width, np.dtype(precision).itemsize)
    assert shape is not None, "asked before"
    lanes, together, radius = shape.lanes, THREADS // shape.lanes, width // 2
    expand = _expansion_of(width, shape, number)

    @kernel
    def run(
        levels: Array,
        mu: float,
        hopping: float,
        rungs: Array,
        lowest: int,
        orders: Array,
        half_widths: Array,
        series: Array,
        per_row: int,
        density: Array,
        energy: Array,
        parts: Array,
        arrived: Array,
    ) -> None:
        """density (R, N) and energy (R,) for levels (R, Lx, Ly), rungs (R, N) counted from `lowest`, series (T, M + 1, 2)."""
        scratch = cuda.shared.array(THREADS, np.float64)
        room = cuda.shared.array(THREADS, number)
        last = cuda.shared.array(1, np.int32)
        r, block = row_and_block(per_row)
        t = cuda.threadIdx.x
        site = block * together + t // lanes
        sites, across = density.shape[1], levels.shape[2]
        place = min(site, sites - 1)  # who is beyond the last site repeats it
        rung = rungs[r, place] - lowest
        known = 0 <= rung < orders.size
        rung = min(max(rung, 0), orders.size - 1)
        # Lanes of a warp go on together, and neighbouring windows have nearly equal orders.
        order = int(largest_of_block(float(orders[rung]), scratch))
        scale = number(2.0 / half_widths[rung])
        x, y = place // across - radius, place % across - radius
        filled, freed = expand(
            levels[r], number(mu), scale, scale * number(hopping), x, y, t % lanes, t % WARP, order, series[rung],
            number(0.5), number(1.0), room,
        )  # fmt: skip
        own = 0.0
        if t % lanes == 0 and site < sites:
            density[r, site] = filled if known else math.nan
            own = freed if known else math.nan
        total = sum_of_row(own, r, block, per_row, parts, arrived, scratch, last)
        if last[0] == 1 and t == 0:
            energy[r] = total

    return run


def _expansion_of(width: int, shape: Shape, number: Any) -> Any:
    """The device function that expands one window and returns its density and its free energy."""
    lines = [
        "def expand(levels, mu, scale, hop, x, y, lane, place, order, series, half, one, room):",
        "    zero = one - one",
        f"    before, after = (place + {WARP - 1}) % {WARP}, (place + 1) % {WARP}",
        *(f"    {line}" for line in _loading(width, shape)),
        "    first = zero",
        "    filled, freed = series[0, 0], series[0, 1]",
        "    for k in range(order // 2):",
        "        s = zero",
        "        q = zero",
        "        if k % 2 == 0:",
        *(f"            {line}" for line in _step(width, shape, "a", "b")),
        "        else:",
        *(f"            {line}" for line in _step(width, shape, "b", "a")),
        *(f"        {line}" for line in _gathering(shape)),
        "        if k == 0:",
        "            first = s",
        "            odd = s",
        "        else:",
        "            odd = s + s - first",
        "        even = q + q - one",
        "        filled += series[2 * k + 1, 0] * odd + series[2 * k + 2, 0] * even",
        "        freed += series[2 * k + 1, 1] * odd + series[2 * k + 2, 1] * even",
        "    return filled, freed",
    ]
    scope: dict[str, Any] = {"from_lane": from_lane, "number": number}
    exec(compile("\n".join(lines), f"<window of width {width}>", "exec"), scope)
    return device(scope["expand"])


def _loading(width: int, shape: Shape) -> Iterator[str]:
    """Levels e, T_0 in a, and T_-1 = T_1 in b; u<c> is the hopping into column c, zero outside the window."""
    radius = width // 2
    for c in range(shape.columns):
        yield f"j{c} = lane * {shape.columns} + {c - 1}"
        yield f"in{c} = j{c} >= 0 and j{c} < {width}"
        yield f"u{c} = hop if in{c} else zero"
        yield f"y{c} = (y + j{c}) % levels.shape[1]"
    for row in range(width):
        yield f"x{row} = (x + {row}) % levels.shape[0]"
        for c in range(shape.columns):
            yield f"e{row}_{c} = scale * (number(levels[x{row}, y{c}]) - mu) if in{c} else zero"
            yield f"a{row}_{c} = one if j{c} == {radius} else zero" if row == radius else f"a{row}_{c} = zero"
            if row == radius:
                beside = f"(half * u{c} if j{c} == {radius - 1} or j{c} == {radius + 1} else zero)"
                yield f"b{row}_{c} = half * e{row}_{c} if j{c} == {radius} else {beside}"
            elif abs(row - radius) == 1:
                yield f"b{row}_{c} = half * u{c} if j{c} == {radius} else zero"
            else:
                yield f"b{row}_{c} = zero"


def _step(width: int, shape: Shape, t: str, out: str) -> Iterator[str]:
    """out <- 2 h t - out, and the sums s of out t and q of out out, both fields of all columns."""
    most = shape.columns - 1
    for c in range(shape.columns):
        yield f"s{c} = zero"
        yield f"q{c} = zero"
    for row in range(width):
        if shape.lanes > 1:
            yield f"west = from_lane({t}{row}_{most}, before, room)"
            yield f"east = from_lane({t}{row}_0, after, room)"
        for c in range(shape.columns):
            vertical = [f"{t}{n}_{c}" for n in (row - 1, row + 1) if 0 <= n < width]
            left = f"{t}{row}_{c - 1}" if c else ("west" if shape.lanes > 1 else "zero")
            right = f"{t}{row}_{c + 1}" if c < most else ("east" if shape.lanes > 1 else "zero")
            around = f"({' + '.join(vertical)}) + ({left} + {right})"
            yield f"{out}{row}_{c} = u{c} * ({around}) + (e{row}_{c} * {t}{row}_{c} - {out}{row}_{c})"
            yield f"s{c} += {out}{row}_{c} * {t}{row}_{c}"
            yield f"q{c} += {out}{row}_{c} * {out}{row}_{c}"
    for c in range(shape.columns):
        yield f"s += s{c}"
        yield f"q += q{c}"


def _gathering(shape: Shape) -> Iterator[str]:
    """The sums of all lanes of a window, in each of them."""
    distance = shape.lanes // 2
    while distance:
        yield f"s += from_lane(s, place ^ {distance}, room)"
        yield f"q += from_lane(q, place ^ {distance}, room)"
        distance //= 2
