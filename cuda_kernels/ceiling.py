"""The float32 rate that a card really has, to measure others by."""

from __future__ import annotations

from typing import Any

from numba import cuda

from cuda_kernels.device import kernel

OPERATIONS = 32  # of a thread in a turn


@kernel
def multiply_adds(turns: int, a: float, out: Any) -> None:
    """Sixteen chains of multiply-adds that don't wait for each other, in registers alone; out (n,) single precision."""
    i = cuda.grid(1)
    x0, x1, x2, x3 = out[i], out[i] + a, out[i] - a, out[i] * a  # all different: equal ones would be computed once
    x4, x5, x6, x7 = x0 + x1, x0 - x1, x0 + x3, x1 - x3
    y0, y1, y2, y3 = x4 * a, x5 * a, x6 * a, x7 * a
    y4, y5, y6, y7 = x4 - a, x5 - a, x6 - a, x7 - a
    for _ in range(turns):
        x0, x1, x2, x3 = x0 * a + x0, x1 * a + x1, x2 * a + x2, x3 * a + x3
        x4, x5, x6, x7 = x4 * a + x4, x5 * a + x5, x6 * a + x6, x7 * a + x7
        y0, y1, y2, y3 = y0 * a + y0, y1 * a + y1, y2 * a + y2, y3 * a + y3
        y4, y5, y6, y7 = y4 * a + y4, y5 * a + y5, y6 * a + y6, y7 * a + y7
    out[i] = ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7)) + ((y0 + y1) + (y2 + y3)) + ((y4 + y5) + (y6 + y7))
