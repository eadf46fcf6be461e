"""Stationary series: how long they remember, and what the error of their mean is.

    rho(t) = <d(0) d(t)> / <d^2>,   tau = dt (1/2 + sum_{t >= 1} rho(t)),   error^2 = <d^2> 2 tau / (F dt),     d = a - <a>

Series have shape (F, S): S independent samples at F evenly spaced times. The mean and <d^2> are those of all samples together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.statistics import Difference, difference_of
from latticemd.errors import InputError

Array = NDArray[Any]

WINDOW = 5.0  # correlation times after which noise would be summed
FEWEST = 16  # values of a series
LONG_BLOCKS = 10.0  # correlation times that a block must be long for its error to be that of the mean


@dataclass(frozen=True)
class Average:
    """The mean of a stationary quantity.

    =============  ==============================================================================================
    field          meaning
    =============  ==============================================================================================
    mean, error    over times and samples; the error counts 2 tau as one independent value
    memory         the integrated autocorrelation time tau, and its own error `memory_error` [time]
    independent    independent values: F S dt / (2 tau)
    drift          the mean of the second half against that of the first; what differs is not stationary
    blocks         block times (B,) [time], errors (B,) of the mean from blocks as long, and their own errors (B,)
    =============  ==============================================================================================
    """

    mean: float
    error: float
    memory: float
    memory_error: float
    independent: float
    drift: Difference
    blocks: tuple[Array, Array, Array]

    @property
    def block_error(self) -> float:
        """The error of the mean from the shortest blocks of at least 10 tau, which know nothing of tau's own error; else nan."""
        time, error, _ = self.blocks
        long = time >= LONG_BLOCKS * self.memory
        return float(error[long.argmax()]) if long.any() else float("nan")


def stationary_average(series: Array, spacing: float) -> Average:
    """The mean of a series (F, S) with values `spacing` [time] apart, its error, and whether it drifts.

    Raises InputError with fewer than 16 values. A series that is not many tau long knows neither: look at `independent`.
    """
    if len(series) < FEWEST:
        raise InputError(f"an average needs at least {FEWEST} values of a series, there are {len(series)}")
    mean, error, memory, window, independent = _average(series, spacing)
    halves = np.array_split(series, 2)
    first, second = (_average(half, spacing) for half in halves)
    freedom = max(1.0, 0.5 * independent - 1.0)
    drift = difference_of(first[0], second[0], float(np.hypot(first[1], second[1])), freedom)
    memory_error = memory * np.sqrt(2.0 * (2.0 * window + 1.0) / series.size)
    lengths, errors, doubts = block_errors(series)
    blocks = lengths * spacing, errors, doubts
    return Average(mean, error, memory, float(memory_error), independent, drift, blocks)


def autocorrelation(series: Array) -> Array:
    """rho (F,) at lags of 0 to F - 1 spacings, over all samples of a series (F, S). Cost: O(F S log F).

    Products are divided by their number, F - t, so that late lags are noisy but not biased; nan for a constant series.
    """
    count = len(series)
    deviation = series - series.mean()
    spectrum = np.abs(np.fft.rfft(deviation, n=2 * count, axis=0)) ** 2
    products = np.fft.irfft(spectrum, axis=0)[:count].sum(axis=1) / (np.arange(count, 0, -1) * series.shape[1])
    return products / products[0] if products[0] > 0.0 else np.full(count, np.nan)


def autocorrelation_time(series: Array, spacing: float) -> tuple[float, int]:
    """tau [time] of a series (F, S), and the number of lags summed: the first W with W >= 5 tau/dt.

    The sum must end, since the noise of rho does not: the window balances noise against what is left out, some exp(-5) of tau.
    A constant series has tau = dt/2. Source: Sokal, in: Functional Integration (1997), doi:10.1007/978-1-4899-0319-8_6.
    """
    rho = autocorrelation(series)
    if np.isnan(rho[0]):
        return 0.5 * spacing, 0
    tau = np.cumsum(rho) - 0.5
    enough = np.arange(len(tau)) >= WINDOW * tau
    window = int(enough.argmax()) if enough.any() else len(tau) - 1
    return float(max(tau[window], 0.5) * spacing), window


def block_errors(series: Array) -> tuple[Array, Array, Array]:
    """The error of the mean from means of ever longer blocks: (block lengths (B,), errors (B,), their errors (B,)).

    Neighbours are averaged in pairs, again and again, as long as 4 blocks are left; blocks of all samples (F, S) count alike.
    Errors rise until blocks are longer than the memory and stay there: no plateau, no error. The other way to what
    `stationary_average` tells. Source: Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480.
    """
    lengths, errors, doubts = [], [], []
    blocks, length = series, 1
    while blocks.size >= 4 and len(blocks) >= 1:
        count = blocks.size
        error = float(np.sqrt(blocks.var() / (count - 1)))
        lengths.append(length)
        errors.append(error)
        doubts.append(error / np.sqrt(2.0 * (count - 1)))
        if len(blocks) < 2:
            break
        pairs = len(blocks) // 2
        blocks, length = 0.5 * (blocks[: 2 * pairs : 2] + blocks[1 : 2 * pairs : 2]), 2 * length
    return np.array(lengths), np.array(errors), np.array(doubts)


def _average(series: Array, spacing: float) -> tuple[float, float, float, int, float]:
    """mean, error, tau, window, independent values."""
    memory, window = autocorrelation_time(series, spacing)
    independent = series.size * spacing / (2.0 * memory)
    return float(series.mean()), float(series.std() / np.sqrt(independent)), memory, window, independent
