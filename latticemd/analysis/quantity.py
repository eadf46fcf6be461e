"""A quantity measured along runs: its values for all samples at all times, what it is a function of, and its dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.statistics import mean_and_error
from latticemd.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Quantity:
    """Values (F, S) of S samples at F times, or (F, S, K) where it is also a function of a `coordinate` (K,).

    Dimensions are words, as in the files of a run.
    """

    time: Array
    values: Array
    unit: str
    coordinate: Array | None = None
    coordinate_unit: str = ""

    @property
    def samples(self) -> int:
        """S."""
        return self.values.shape[1]

    def mean_and_error(self) -> tuple[Array, Array]:
        """The mean over samples and its standard error, both (F,) or (F, K)."""
        return mean_and_error(self.values)

    def at(self, times: Array) -> Quantity:
        """The rows at the given times, which it must have."""
        rows = np.searchsorted(self.time, times - _slack(times))
        return Quantity(self.time[rows], self.values[rows], self.unit, self.coordinate, self.coordinate_unit)


def common_times(quantities: Sequence[Quantity]) -> Array:
    """The times that all of them have, to the rounding of step times dt; empty if there are none."""
    times = quantities[0].time
    for other in quantities[1:]:
        if not len(other.time):
            return other.time
        place = np.searchsorted(other.time, times - _slack(times)).clip(max=len(other.time) - 1)
        times = times[np.abs(other.time[place] - times) <= _slack(times)]
    return times


def merged(name: str, quantities: Sequence[Quantity]) -> Quantity:
    """The samples of several runs side by side, at the times that all runs have.

    Raises InputError where runs have no time in common, or are functions of different coordinates.
    """
    first = quantities[0]
    times = common_times(quantities)
    if not len(times):
        spans = ", ".join(f"{q.time[0]:g} to {q.time[-1]:g}" for q in quantities if len(q.time))
        raise InputError(f"{name}: the runs have no time in common ({spans}); analyze them in groups of their own")
    for other in quantities[1:]:
        if not _same_coordinate(first, other):
            raise InputError(f"{name}: the runs have lattices of different shape; give each shape a group of its own")
    values = np.concatenate([quantity.at(times).values for quantity in quantities], axis=1)
    return Quantity(times, values, first.unit, first.coordinate, first.coordinate_unit)


def _same_coordinate(one: Quantity, other: Quantity) -> bool:
    if one.coordinate is None or other.coordinate is None:
        return one.coordinate is other.coordinate
    return one.coordinate.shape == other.coordinate.shape and np.allclose(one.coordinate, other.coordinate)


def _slack(times: Array) -> Array:
    """By how much equal times may differ: step * dt of runs whose dt divide each other is rounded differently."""
    return 1e-9 * np.maximum(np.abs(times), 1e-9)
