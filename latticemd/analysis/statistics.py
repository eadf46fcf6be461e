"""Means over independent samples, their errors, and whether two groups of samples differ by more than these.

A sample is one replica of one run: an independent start and independent noise. Values have shape (F, S, ...), S samples at F
times. Errors come from the scatter between samples and from nothing else, since the times of one run are correlated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RESAMPLES = 1000
# Differences in standard errors (of a normal distribution) up to which two groups agree, and from which they differ: by
# chance alone, one comparison of 22 lies beyond the first and one of 370 beyond the second.
AGREE, DIFFER = 2.0, 3.0


def mean_and_error(values: Array) -> tuple[Array, Array]:
    """The mean over samples and its standard error, (F, S, ...) -> (F, ...) twice; the error of one sample is nan."""
    samples = values.shape[1]
    if samples < 2:
        return values.mean(axis=1), np.full(values[:, 0].shape, np.nan)
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(samples)


def resampled_means(values: Array, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Means over samples drawn with replacement, (F, S) -> (F, B): the bootstrap. The draws follow from the seed alone.

    Source: Efron, Ann. Stat. 7, 1 (1979), doi:10.1214/aos/1176344552.
    """
    samples = values.shape[1]
    counts = np.random.default_rng(seed).multinomial(samples, np.full(samples, 1.0 / samples), size=resamples)
    return np.asarray(values @ counts.T / samples)


def resampled_error(values: Array, samples: int) -> Array:
    """The standard error (...) of a function of the mean, from its values (..., B) on resampled means; nan for one sample.

    Means of S values drawn with replacement scatter less than means of new values, by the factor (1 - 1/S)^(1/2).
    """
    if samples < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.std(axis=-1, ddof=1) / np.sqrt(1.0 - 1.0 / samples))


@dataclass(frozen=True)
class Difference:
    """Two values with standard errors, the difference `second` - `first`, and what it means.

    `distance` is the difference in units of its own standard error, as far out in a normal distribution as the measured one is
    in Student's, whose wide tails belong to errors that few samples tell. nan, and the verdict "1 sample", where no error is
    known; "no value" where there is nothing to compare.
    """

    first: float
    second: float
    error: float
    distance: float

    @property
    def difference(self) -> float:
        """`second` - `first`."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """agree, open or differ, by the limits `AGREE` and `DIFFER`."""
        if np.isnan(self.distance):
            return "1 sample" if np.isfinite(self.difference) else "no value"
        return "agree" if self.distance < AGREE else "open" if self.distance < DIFFER else "differ"


def difference_of_means(first: Array, second: Array) -> Difference:
    """Welch's comparison of two groups of samples (S_1,), (S_2,) whose variances need not be equal.

    The error is (s_1^2/S_1 + s_2^2/S_2)^(1/2). Source: Welch, Biometrika 34, 28 (1947), doi:10.1093/biomet/34.1-2.28.
    """
    if min(len(first), len(second)) < 2:
        return Difference(float(first.mean()), float(second.mean()), np.nan, np.nan)
    parts = np.array([one.var(ddof=1) / len(one) for one in (first, second)])
    error = float(np.sqrt(parts.sum()))
    weights = 1.0 / np.array([len(first) - 1, len(second) - 1])
    freedom = error**4 / float(parts**2 @ weights) if error else np.inf
    return difference_of(float(first.mean()), float(second.mean()), error, freedom)


def paired_difference(first: Array, second: Array) -> Difference:
    """The comparison of samples that belong together one by one, (S,) twice, such as runs with the same start and noise.

    The error is that of the mean of their differences: what the two of a pair have in common drops out.
    """
    apart, error = mean_and_error((second - first)[None])
    middle = 0.5 * (first.mean() + second.mean())
    half = 0.5 * float(apart[0])
    return difference_of(float(middle - half), float(middle + half), float(error[0]), len(first) - 1)


def difference_of(first: float, second: float, error: float, freedom: float = np.inf) -> Difference:
    """The difference of two numbers whose error is known from so many degrees of freedom."""
    apart = abs(second - first)
    if apart == 0.0 and error == 0.0:
        return Difference(first, second, error, 0.0)
    return Difference(first, second, error, _normal_distance(apart / error if error else np.inf, freedom))


def _normal_distance(ratio: float, freedom: float) -> float:
    """Where a normal distribution has the same share in its tails as Student's has beyond `ratio`."""
    from scipy import stats

    if not np.isfinite(freedom):
        return float(ratio)
    # Logarithms, because the share itself is rounded to zero from some 38 standard errors on.
    return float(min(-stats.norm.ppf(stats.t.sf(ratio, freedom)), ratio)) if np.isfinite(ratio) else ratio
