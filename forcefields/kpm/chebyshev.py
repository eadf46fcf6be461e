"""The Fermi function and the free energy of a level as Chebyshev series on an interval that holds the spectrum of H."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.spectrum import levels_of_sites, spectral_reach
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]

MOST_MOMENTS = 2**16  # more belong to positions that run away, or to electrons too cold for polynomials
_MARGIN = 1e-6  # by which rounding in single precision may carry a level out of the interval
_POINTS_PER_KT = 16  # of the sampling that gives coefficients: their aliases are then below rounding


@dataclass(frozen=True)
class Interval:
    """centre - half_width <= e <= centre + half_width [energy], mapped on [-1, 1] by s = (e - centre) / half_width."""

    centre: float
    half_width: float


@dataclass(frozen=True)
class Series:
    """f(e) = sum_k density_k T_k(s) and omega(e) = -kT log(1 + exp(-(e - mu)/kT)) = sum_k energy_k T_k(s), both (M,)."""

    density: Array
    energy: Array

    @property
    def moments(self) -> int:
        """M, the number of terms."""
        return len(self.density)

    def cut(self, moments: int) -> Series:
        """The first terms only."""
        return Series(self.density[:moments], self.energy[:moments])

    def enough(self, tolerance: float) -> int:
        """The smallest M from which on the terms of f add up to no more than `tolerance`, whatever the level: at least 2.

        Raises ArithmeticError where that is more than `MOST_MOMENTS`.
        """
        left_out = np.abs(self.density[::-1]).cumsum()[::-1]
        count = int(np.count_nonzero(left_out > tolerance))
        if count > MOST_MOMENTS:
            raise ArithmeticError(
                f"tolerance {tolerance:g} needs {count} Chebyshev moments, at most {MOST_MOMENTS} are taken"
            )
        return max(2, count)

    def damped(self) -> Series:
        """Both series times the Jackson kernel, which keeps occupations between 0 and 1 but converges as 1/M only.

        Reference: Weisse, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006), doi:10.1103/RevModPhys.78.275.
        """
        jackson = jackson_kernel(self.moments)
        return Series(jackson * self.density, jackson * self.energy)


def jackson_kernel(moments: int) -> Array:
    """Factors (M,) of the terms of a series that keep positive what is positive."""
    order, whole = np.arange(moments), moments + 1
    angle = np.pi / whole
    kernel: Array = ((whole - order) * np.cos(order * angle) + np.sin(order * angle) / np.tan(angle)) / whole
    return kernel


def intervals(hamiltonian: Hamiltonian, lattice: Lattice) -> list[Interval]:
    """An interval for each replica that holds all levels of H_el on a lattice.

    A pure function of x, and that of -x is its mirror image to the last bit. Cost: O(N).
    """
    lowest, highest = levels_of_sites(hamiltonian)
    centres = 0.5 * (lattice.highest(highest) - lattice.highest(-lowest))
    with np.errstate(invalid="ignore"):  # a single level without hops has no reach, and makes a quotient 0/0 on the way
        reach = (1.0 + _MARGIN) * spectral_reach(hamiltonian.measured_from(centres[:, None]), lattice)
    # It needs an interval too; any will do.
    return [Interval(float(c), float(w) or 1.0) for c, w in zip(centres, reach, strict=True)]


def fermi_series(interval: Interval, mu: float, temperature: float) -> Series:
    """All terms of both series that double precision can tell from zero, by a discrete cosine transform.

    f is analytic up to i pi kT from the real axis, so its terms fall as exp(-M asinh(pi kT / half_width)) with mu in the middle of
    the interval, and faster elsewhere. Raises ArithmeticError where `MOST_MOMENTS` would not do for any tolerance.
    """
    from scipy.fft import dct  # a tenth of a second that other force fields need not wait for

    ratio = interval.half_width / temperature
    if not ratio <= MOST_MOMENTS:
        raise ArithmeticError(f"a spectrum {2 * ratio:.3g} kT wide needs more than {MOST_MOMENTS} Chebyshev moments")
    points = 2 ** int(np.ceil(np.log2(64 + _POINTS_PER_KT * ratio)))
    angle = np.pi * (np.arange(points) + 0.5) / points
    x = (interval.centre + interval.half_width * np.cos(angle) - mu) / temperature
    density, energy = 0.5 - 0.5 * np.tanh(0.5 * x), -temperature * np.logaddexp(0.0, -x)
    return Series(*(_halved_first(dct(values, type=2) / points) for values in (density, energy)))


def _halved_first(coefficients: Array) -> Array:
    coefficients[0] *= 0.5
    return coefficients
