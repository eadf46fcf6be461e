"""Histograms of the classical variables: from the bell of a hot lattice to the double well of an ordered one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError

Array = NDArray[Any]

BINS = 80


def edges_for(largest: Iterable[float], bins: int = BINS) -> Array:
    """Edges (bins + 1,) from -x to x that hold several runs, given the largest |x| of each [length]."""
    reach = max(largest, default=0.0) * (1 + 1e-9) or 1.0
    return np.linspace(-reach, reach, bins + 1)


def histogram(values: Array, edges: Array) -> Array:
    """The probability density of values (R, M) in bins of equal width, (R, B) [1/dimension of the values].

    Raises InputError where values lie outside: a density that leaves them out would be of something else.
    """
    outside = int(((values < edges[0]) | (values > edges[-1])).sum())
    if outside:
        raise InputError(
            f"{outside} values lie outside the bins from {edges[0]:.4g} to {edges[-1]:.4g}, up to {np.abs(values).max():.4g}"
        )
    counts = np.array([np.histogram(row, edges)[0] for row in values])
    return counts / (values.shape[1] * (edges[1] - edges[0]))
