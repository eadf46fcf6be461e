"""Chebyshev series of occupation and free energy, on intervals from a ladder of widths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import expit

from latticemd.errors import InputError

Array = NDArray[Any]

_RUNGS_PER_OCTAVE = 16  # a window's interval is 2 % wider than it must be, on average
_MARGIN = 1.001  # single precision must not push a level out of the interval
_MOST_NODES = 2**20


@dataclass(frozen=True)
class Expansion:
    """Density and free energy of a site from the moments mu_k = <i| T_k((H - e_0)/a) |i>, k = 0 ... order.

    n_i     = sum_k density_k mu_k         of f(e) = 1/(exp((e - mu)/kT) + 1)
    Omega_i = sum_k energy_k mu_k          of omega(e) = -kT log(1 + exp(-(e - mu)/kT))

    ==========  ============  ========================================
    field       shape         meaning
    ==========  ============  ========================================
    half_width                a [energy]
    density     (order + 1,)  [1]
    energy      (order + 1,)  [energy]
    ==========  ============  ========================================
    """

    half_width: float
    density: Array
    energy: Array

    @property
    def order(self) -> int:
        """Of the highest polynomial."""
        return len(self.density) - 1


def rungs(reach: Array, temperature: float) -> Array:
    """The lowest rung of the ladder that holds all levels up to `reach` [energy], as integers of the same shape."""
    enough = _MARGIN * np.maximum(reach, temperature)
    return np.ceil(_RUNGS_PER_OCTAVE * np.log2(enough)).astype(np.int16)


def half_width(rung: int) -> float:
    """The a of a rung [energy]: of few different values, so that few series are made and many windows share one."""
    return float(2.0 ** (rung / _RUNGS_PER_OCTAVE))


@lru_cache(maxsize=256)
def expansion(temperature: float, a: float, mu: float, order: int) -> Expansion:
    """The truncated series on [-a, a], with mu counted from the middle of it.

    No damping: the functions are smooth, and their series converge like exp(-pi k kT/a) as they stand.
    """
    energies = a * _nodes(_count(temperature / a)) - mu
    density = _series(expit(-energies / temperature))
    energy = _series(-temperature * np.logaddexp(0.0, -energies / temperature))
    return Expansion(a, density[: order + 1].copy(), energy[: order + 1].copy())  # views would keep all in memory


@lru_cache(maxsize=1024)
def order_for(ratio: float, tolerance: float) -> int:
    """The smallest even order for which the Fermi function is met to `tolerance` at every energy; `ratio` is kT/a.

    |T_k| <= 1, so the sum of the moduli of what is left away bounds the error. mu in the middle is the hardest case: that is
    where Chebyshev polynomials of a given order resolve least.
    """
    coefficients = np.abs(_series(expit(-_nodes(_count(ratio)) / ratio)))
    beyond = coefficients[::-1].cumsum()[::-1]  # beyond[k] = |c_k| + |c_k+1| + ...
    first = int(np.argmax(beyond <= tolerance))
    return max(2, first + first % 2)


def _count(ratio: float) -> int:
    """A number of nodes that meets the coefficients to rounding: the last ones are exp(-16 pi) of the first."""
    wanted = 16.0 / ratio
    if not wanted <= _MOST_NODES:
        raise InputError(
            f"forcefield window cannot expand the Fermi function at an electronic temperature of {ratio:.1e} half widths of "
            f"the spectrum, at least {16.0 / _MOST_NODES:.1e} are needed; raise the temperature or use forcefield ed"
        )
    return int(2 ** np.ceil(np.log2(max(wanted, 64.0))))


def _nodes(count: int) -> Array:
    return np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _series(values: Array) -> Array:
    """Chebyshev coefficients of a function given at `_nodes`."""
    coefficients = dct(values) / len(values)
    coefficients[0] *= 0.5
    return coefficients
