"""Sums in the making, as integers: see `latticemd.backends.cpu.exact`. One source for numba on the CPU and CUDA.

A tally (WINDOWS + 1,) stands for sum_k t_k 2^(BITS k + LOWEST); its last integer counts addends that are not finite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

BITS = 48
LOWEST = -1074  # the smallest double is 2^LOWEST
WINDOWS = 42  # the highest begins at 2^894: adding the constant that cuts there does not overflow

UNITS = np.array([2.0 ** (BITS * k + LOWEST) for k in range(WINDOWS)])


def carry(tally: Any) -> None:
    """Bring all integers of a tally into [-2^(BITS - 1), 2^(BITS - 1)), but the highest; there is one way only to do so."""
    for k in range(WINDOWS - 1):
        over = (tally[k] + (np.int64(1) << np.int64(BITS - 1))) >> np.int64(BITS)
        tally[k] -= over << np.int64(BITS)
        tally[k + 1] += over


def rounded(tally: Any, units: Any) -> Any:
    """The double next to the sum of a tally that has been carried, ties to even; nan where an addend was not finite."""
    if tally[WINDOWS] != 0:
        return math.nan
    top = WINDOWS - 1
    while top > 0 and tally[top] == 0:
        top -= 1
    high = np.float64(tally[top]) * units[top]
    if top == 0:
        return high
    middle = np.float64(tally[top - 1]) * units[top - 1]
    total = high + middle
    missing = middle - (total - high)
    if top == 1:
        return total + missing
    low = np.float64(tally[top - 2]) * units[top - 2]
    rest = missing + low
    part = rest - missing
    sticky = (missing - (rest - part)) + (low - part)
    below = top - 3
    while sticky == 0.0 and below >= 0:
        sticky = np.float64(tally[below]) * units[below]
        below -= 1
    if sticky != 0.0 and rest != 0.0:
        # Rounded to odd (Boldo and Melquiond, doi:10.1109/TC.2007.70819): then the last addition decides as the exact sum would.
        whole = np.float64(rest).view(np.int64)
        if whole % 2 == 0:
            step = np.int64(1) if (sticky > 0.0) == (rest > 0.0) else np.int64(-1)
            rest = np.int64(whole + step).view(np.float64)
    return total + rest
