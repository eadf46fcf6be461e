"""How a length grows: the exponent n of L(t) ~ t^n with an error over samples, and the local slope d ln L / d ln t.

Lengths have shape (F, S): S independent samples at F times. Frames at t = 0, and those where any sample has no length (one
domain fills its box), are left out. Which length: `latticemd.observables.correlation_length` has three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.statistics import RESAMPLES, resampled_error, resampled_means
from latticemd.errors import InputError

Array = NDArray[Any]

FEWEST = 3  # frames that make a slope


@dataclass(frozen=True)
class PowerLaw:
    """L(t) = amplitude t^exponent between the times `start` and `end`.

    `resampled` (B,) are exponents of means over resampled samples; law by law they belong to the same draws, so that the
    difference of two exponents of paired samples can be resampled too.
    """

    exponent: float
    amplitude: float
    start: float
    end: float
    samples: int
    resampled: Array

    @property
    def error(self) -> float:
        """The standard error of the exponent over samples; nan for one."""
        return float(resampled_error(self.resampled, self.samples))

    def __call__(self, time: Array) -> Array:
        """L at the given times [length]."""
        return np.asarray(self.amplitude * np.asarray(time) ** self.exponent)


@dataclass(frozen=True)
class LocalSlope:
    """d ln L / d ln t and its standard error around the times `time`, all (P,)."""

    time: Array
    slope: Array
    error: Array


def growth_exponent(
    time: Array,
    lengths: Array,
    start: float | None = None,
    end: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PowerLaw:
    """The exponent n of the mean length between two times, by default those of the last decade.

        minimise sum_f w_f (ln L(t_f) - n ln t_f - c)^2,    L(t) = 1/S sum_s L_s(t)

    The weights w_f are the shares of frames in ln t, so that equal ratios of time count alike however frames are spaced. The
    error is that of the fit on resampled samples (bootstrap): residuals of one fit would not tell it, since successive frames
    of a run are correlated. It says nothing about a start that is not yet scaling or a box that is nearly full: look at
    `local_slope`. Raises InputError with fewer than three frames in the window. Cost: O(F S B).
    """
    known = _known(time, lengths)
    first, last = window_of(time[known], start, end)
    window = known & (time >= first * (1 - 1e-12)) & (time <= last * (1 + 1e-12))
    if window.sum() < FEWEST:
        raise InputError(
            f"a growth law needs at least {FEWEST} frames with a length, there are {window.sum()} between t = {first:g} and "
            f"{last:g}"
        )
    log_time, samples = np.log(time[window]), lengths.shape[1]
    operator = _slope_operator(log_time)
    log_mean = np.log(lengths[window].mean(axis=1))
    exponent = float(operator @ log_mean)
    resampled = operator @ np.log(resampled_means(lengths[window], resamples, seed))
    weight = _shares(log_time)
    amplitude = np.exp(weight @ (log_mean - exponent * log_time))
    ends = float(time[window][0]), float(time[window][-1])
    return PowerLaw(exponent, float(amplitude), *ends, samples, resampled)


def window_of(time: Array, start: float | None = None, end: float | None = None) -> tuple[float, float]:
    """The times between which laws are sought: as given, else the last decade."""
    last = float(time.max(initial=0.0))
    return (0.1 * last if start is None else start), (last if end is None else end)


def local_slope(
    time: Array, lengths: Array, span: float = 4.0, points: int = 16, resamples: int = RESAMPLES, seed: int = 0
) -> LocalSlope:
    """d ln L / d ln t by fits over windows from t/span^(1/2) to t span^(1/2), at up to `points` times evenly spaced in ln t.

    A power law has a constant slope; a crossover, a start that is remembered or a box that is nearly full has not. Windows with
    fewer than three frames are left out, so early times need frames that lie close together.
    """
    known = _known(time, lengths)
    time, lengths = time[known], lengths[known]
    rows: list[tuple[float, float, float]] = []
    half = np.sqrt(span)
    if len(time) >= FEWEST and time[-1] >= span * time[0]:
        means = resampled_means(lengths, resamples, seed)
        for centre in np.geomspace(time[0] * half, time[-1] / half, points):
            window = (time >= centre / half * (1 - 1e-9)) & (time <= centre * half * (1 + 1e-9))
            if window.sum() < FEWEST:
                continue
            operator = _slope_operator(np.log(time[window]))
            slope = float(operator @ np.log(lengths[window].mean(axis=1)))
            error = float(resampled_error(operator @ np.log(means[window]), lengths.shape[1]))
            rows.append((float(centre), slope, error))
    return LocalSlope(*np.array(rows).reshape(-1, 3).T)


def _known(time: Array, lengths: Array) -> Array:
    """The frames that have a logarithm."""
    return (time > 0) & np.isfinite(lengths).all(axis=1) & (np.nan_to_num(lengths) > 0).all(axis=1)


def _shares(log_time: Array) -> Array:
    """The share of each frame in the whole stretch of ln t, (F,): half the way to both neighbours."""
    share: Array = np.gradient(log_time)
    share[[0, -1]] *= 0.5
    return share / share.sum()


def _slope_operator(log_time: Array) -> Array:
    """The vector (F,) whose product with ln L is the weighted least-squares slope."""
    weight = _shares(log_time)
    deviation = log_time - weight @ log_time
    weighted = weight * deviation
    return np.asarray(weighted / (weighted @ deviation))
