"""An array that comes in parts: on the first rank from the others, and from a file to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from latticemd.parallel.share import Share

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


# What a State is made of, on a rank that has a share of it or, without one, on the only one.


def streams(values: Array, share: Share | None) -> Iterator[tuple[int, Array | Streamed]]:
    """Every replica of the whole simulation and its values (N, ...), from those (R, n, ...) of a share; see `Share.streams`."""
    return iter(enumerate(values)) if share is None else share.streams(values)


def collected(values: Array, share: Share | None) -> Array:
    """Numbers (R, ...) of all replicas on the first rank, from those of a share; see `Share.collected`."""
    return values if share is None else share.collected(values)


def whole_shape(values: Array, share: Share | None) -> tuple[int, ...]:
    """The shape that values (R, n, ...) of a share have on the whole."""
    if share is None:
        return values.shape
    return (share.partition.replicas, share.whole.sites, *values.shape[2:])
