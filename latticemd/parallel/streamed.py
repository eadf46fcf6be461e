"""An array that comes in parts: on the first rank from the others, and from a file to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Streamed:
    """Values on all sites, (N, ...), one stretch of sites after the other; they can be taken once.

    On ranks other than the first no part comes, but they have to be waited for all the same: use `finish`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterator[Array]) -> None:
        self.shape = shape
        self.dtype = dtype
        self._parts = parts

    def __iter__(self) -> Iterator[Array]:
        return self._parts

    def finish(self) -> None:
        """Take what is left and throw it away."""
        for _ in self._parts:
            pass


def parts_of(values: Array | Streamed) -> Iterator[Array]:
    """The parts of a streamed array, or the whole as a single one."""
    return iter(values) if isinstance(values, Streamed) else iter((values,))
