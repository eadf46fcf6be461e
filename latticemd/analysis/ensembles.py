"""Groups of runs that repeat each other, and what follows from their mean: growth laws, scaling, comparison of two groups."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.collapse import Collapse, collapse_correlation, collapse_structure
from latticemd.analysis.dynamics import Spectrum, evenly_spaced
from latticemd.analysis.growth import LocalSlope, PowerLaw, growth_exponent, local_slope, window_of
from latticemd.analysis.measuring import EXTENSIVE, LENGTHS, shortest_period
from latticemd.analysis.quantity import Quantity, common_times
from latticemd.analysis.statistics import (
    Difference,
    difference_of,
    difference_of_means,
    paired_difference,
    resampled_error,
)
from latticemd.analysis.timeseries import Average, stationary_average
from latticemd.errors import InputError
from latticemd.lattice import Lattice

Array = NDArray[Any]

TIMES = 4  # at which groups are compared
CURVES = 8  # in a scaling collapse


@dataclass(frozen=True)
class Ensemble:
    """Runs with one label. Their replicas are samples, side by side in every quantity; `start`, `end` bound the growth law.

    `origins` says for each sample what its start and its noise came from: samples of two groups with equal ones are a pair.
    """

    label: str
    runs: list[Path]
    origins: list[tuple[str, ...]]
    lattice: Lattice
    order_label: str
    quantities: dict[str, Quantity]
    spectrum: Spectrum | None = None
    start: float | None = None
    end: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Number of samples S."""
        return next(iter(self.quantities.values())).samples

    @property
    def box(self) -> float:
        """The shortest period, which no length can outgrow [length]."""
        return shortest_period(self.lattice)

    @cached_property
    def laws(self) -> dict[str, PowerLaw]:
        """The growth law of each length that has one, by definition."""
        laws = {}
        for definition, length in self.lengths.items():
            try:
                laws[definition] = growth_exponent(length.time, length.values, self.start, self.end)
            except InputError:  # too few frames, or none in which domains have a size
                continue
        return laws

    @cached_property
    def slopes(self) -> dict[str, LocalSlope]:
        """The local slope of each length, by definition; empty where frames are too few."""
        return {name: local_slope(length.time, length.values) for name, length in self.lengths.items()}

    @cached_property
    def collapses(self) -> dict[str, Collapse]:
        """The collapse of C(r) with the length "half", and of S(k) with "moment", in the window of their growth laws."""
        found: dict[str, Collapse] = {}
        for name, definition in (("correlation", "half"), ("structure_factor", "moment")):
            if name not in self.quantities or definition not in self.laws:
                continue
            profile, lengths = self.quantities[name], self.lengths[definition]
            chosen = self.scaling_frames(definition)
            mean, size = profile.values[chosen].mean(axis=1), lengths.values[chosen].mean(axis=1)
            assert profile.coordinate is not None
            try:
                found[name] = (
                    collapse_correlation(profile.coordinate, mean, size)
                    if name == "correlation"
                    else collapse_structure(profile.coordinate, mean, size, self.lattice.dimensions)
                )
            except InputError:
                continue
        return found

    @cached_property
    def averages(self) -> dict[str, Average]:
        """Means over the window of the growth laws, as if it were stationary: of all numbers whose values are evenly spaced."""
        averages = {}
        for name, quantity in self.quantities.items():
            if quantity.coordinate is not None or not len(quantity.time):
                continue
            start, end = window_of(quantity.time, self.start, self.end)
            try:
                chosen, spacing = evenly_spaced(quantity.time, start, end)
                averages[name] = stationary_average(quantity.values[chosen], spacing)
            except InputError:
                continue
        return {name: one for name, one in averages.items() if np.isfinite(one.mean)}

    def in_the_order_of(self, other: Ensemble) -> Ensemble:
        """This group with its samples in the order of their partners in `other`.

        Raises InputError unless every sample of both groups has just one partner.
        """
        place = {origin: n for n, origin in enumerate(self.origins)}
        if not len(place) == len(self.origins) == len(other.origins) or place.keys() != set(other.origins):
            raise InputError(
                f"--paired: the {other.samples} samples of {other.label} and the {self.samples} of {self.label} have not the same "
                "seeds one by one; compare the groups without it"
            )
        order = [place[origin] for origin in other.origins]
        quantities = {name: replace(one, values=one.values[:, order]) for name, one in self.quantities.items()}
        return replace(self, origins=list(other.origins), quantities=quantities)

    def scaling_frames(self, definition: str) -> list[int]:
        """Up to `CURVES` frames in the window of a growth law, evenly in the logarithm of time."""
        law, length = self.laws[definition], self.lengths[definition]
        known = np.isfinite(length.values).all(axis=1)
        inside = np.flatnonzero(known & (length.time >= law.start) & (length.time <= law.end))
        targets = np.geomspace(law.start, law.end, CURVES)
        nearest = {int(inside[np.abs(length.time[inside] - target).argmin()]) for target in targets}
        return sorted(nearest)

    @property
    def lengths(self) -> dict[str, Quantity]:
        """L(t) by each definition that the lattice allows."""
        return {name: self.quantities[f"length_{name}"] for name in LENGTHS if f"length_{name}" in self.quantities}


@dataclass(frozen=True)
class Comparison:
    """One line of the table that compares two groups: a quantity at a time, or a growth exponent (time nan)."""

    quantity: str
    unit: str
    time: float
    difference: Difference


def compare(first: Ensemble, second: Ensemble, *, paired: bool = False, times: int = TIMES) -> list[Comparison]:
    """Every quantity that both groups have, at up to so many common times evenly in ln t, and the growth exponents.

    Extensive quantities are divided by the number of sites.
    With `paired`, samples with the same start and noise are compared one by one,
    which sees far smaller differences as long as the two of a pair remember their start; InputError where they are no pairs.
    Of many comparisons some lie far out by chance: of n, about n/22 beyond two standard errors and n/370 beyond three; and
    those of one time are not independent of each other.
    """
    if paired:
        second = second.in_the_order_of(first)
    rows = []
    for name, one in first.quantities.items():
        other = second.quantities.get(name)
        if other is None or one.coordinate is not None:
            continue
        common = common_times([one, other])
        for time in _chosen(common[common > 0], times):
            values = [
                quantity.at(np.array([time])).values[0] / (group.lattice.sites if name in EXTENSIVE else 1)
                for group, quantity in ((first, one), (second, other))
            ]
            apart = paired_difference(*values) if paired else difference_of_means(*values)
            rows.append(Comparison(name, one.unit, time, apart))
    both = [name for name in first.laws if name in second.laws]
    return rows + [
        Comparison(f"exponent_{name}", "1", float("nan"), _exponents_apart(first, second, name, paired))
        for name in both
    ]


def _exponents_apart(first: Ensemble, second: Ensemble, name: str, paired: bool) -> Difference:
    """The exponents of a length between times that both groups have: where one fills its box earlier, windows differ."""
    start = max(group.laws[name].start for group in (first, second))
    end = min(group.laws[name].end for group in (first, second))
    one, other = (
        growth_exponent(length.time, length.values, start, end)
        for length in (first.lengths[name], second.lengths[name])
    )
    if paired:
        error = float(resampled_error(other.resampled - one.resampled, one.samples))
        return difference_of(one.exponent, other.exponent, error, one.samples - 1)
    error, freedom = float(np.hypot(one.error, other.error)), one.samples + other.samples - 2
    return difference_of(one.exponent, other.exponent, error, freedom)


def _chosen(time: Array, count: int) -> list[float]:
    if not len(time):
        return []
    targets = np.geomspace(time[0], time[-1], count + 1)[1:]  # the first frame is the start, which the seeds make
    return sorted({float(time[np.abs(time - target).argmin()]) for target in targets})
