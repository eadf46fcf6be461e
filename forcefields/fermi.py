"""The Fermi function as a short sum over poles on the imaginary axis, for force fields that compute Green's functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError

Array = NDArray[Any]

SMALLEST_TOLERANCE = 1e-13  # rounding of the fit itself is a few 1e-15
MOST_POLES = 32
WIDEST = 1e5  # half_width / kT beyond which the fit is not tested
_GRID_STEP = 2.0**0.25  # half widths are rounded up to powers of this, so a moving spectrum seldom changes the poles


@dataclass(frozen=True)
class FermiPoles:
    """A rational approximation of the Fermi function and of the free energy of a level.

    f(e)     = 1/2 - slope e - sum_p weights_p Re 1/(e - i w_p),            e measured from mu
    omega(e) = offset + e/2 - slope e^2/2 - sum_p weights_p log|e - i w_p|

    omega is an exact antiderivative of f, so forces made with f are exact gradients of energies made with omega. With
    G_p = (H - mu - i w_p)^-1, and Omega the sum of omega over all N levels,

    <c+_i c_i> = 1/2 - slope (H_ii - mu) - sum_p weights_p Re (G_p)_ii
    <c+_j c_i> =     - slope  H_ij       - sum_p weights_p [(G_p)_ij + conj (G_p)_ji] / 2
    Omega      = N offset + Tr(H - mu)/2 - slope Tr(H - mu)^2 / 2 - sum_p weights_p log|det(H - mu - i w_p)|

    ============  =======  ===================================================================
    field         shape    meaning
    ============  =======  ===================================================================
    poles         (P,)     w_p > 0, ascending [energy]
    weights       (P,)     [energy]
    slope                  [1/energy]
    offset                 [energy]
    half_width             the approximation holds for |e| <= half_width [energy]
    error                  largest error of f there [1]
    energy_error           largest error of omega there [energy]
    ============  =======  ===================================================================

    f - 1/2 is odd in e to the last bit, so the particle-hole symmetry of H survives.
    """

    poles: Array
    weights: Array
    slope: float
    offset: float
    half_width: float
    error: float
    energy_error: float

    def occupation(self, e: Array) -> Array:
        """The approximated f(e), any shape."""
        square = np.square(e)[..., None] + self.poles**2
        return 0.5 - e * (self.slope + (self.weights / square).sum(axis=-1))

    def free_energy(self, e: Array) -> Array:
        """The approximated omega(e) = -kT log(1 + exp(-e/kT)) [energy], any shape."""
        logarithms = 0.5 * np.log(np.square(e)[..., None] + self.poles**2)
        return self.offset + 0.5 * e - 0.5 * self.slope * np.square(e) - (self.weights * logarithms).sum(axis=-1)


def fermi_poles(
    temperature: float, half_width: float, *, tolerance: float = 1e-10, count: int | None = None
) -> FermiPoles:
    """The fewest poles whose error of f is at most `tolerance` on |e| <= half_width, or the best fit with `count` poles.

    A pure function: the same arguments give the same bytes. half_width/kT is rounded up to a power of 2^(1/4); between two
    such values the poles scale with kT and don't depend on half_width. Where fewer than `count` poles are exact to rounding,
    fewer are returned. Each pole divides the error by about exp(pi^2 / log(half_width / 3 kT)):

    ================  =====  =====  =====  =====  =====
    half_width / kT   P = 4  6      8      12     16
    ================  =====  =====  =====  =====  =====
    65                3e-5   3e-8   1e-11
    630               3e-3   8e-5   2e-6   7e-10  1e-13
    3150              1e-2   8e-4   5e-5   2e-7   4e-10
    ================  =====  =====  =====  =====  =====

    Raises InputError for impossible settings, and ArithmeticError where they are fine but the spectrum is too wide for them.

    Cost: milliseconds for a new interval, a table look-up for one that was asked for before.

    Method: tanh(sqrt s)/sqrt s is a Stieltjes function of s = e^2, so its best rational approximations of type (P, P) in s
    have all poles at s < 0, which is the imaginary axis of e. A greedy barycentric fit finds them nearly (AAA: Nakatsukasa,
    Sete and Trefethen, doi:10.1137/16M1106122); least squares on a Chebyshev-like grid bring the largest error to within a
    factor 1.2 of the smallest possible.
    """
    if not 0.0 <= half_width < np.inf:
        raise ArithmeticError(f"poles need a finite spectrum, this one reaches {half_width} from mu")
    if not 0.0 < temperature < np.inf:
        raise InputError(f"poles need a temperature > 0, got kT = {temperature}")
    if half_width > WIDEST * temperature:
        raise ArithmeticError(
            f"the spectrum reaches {half_width:.3g} from mu, {half_width / temperature:.3g} kT; poles serve up to "
            f"{WIDEST:g} kT: is the electronic temperature too low, or have the positions run away?"
        )
    step = max(0, int(np.ceil(np.log(half_width / temperature) / np.log(_GRID_STEP) - 1e-12)) if half_width else 0)
    if count is not None:
        if not 1 <= count <= MOST_POLES:
            raise InputError(f"poles: expected 1 to {MOST_POLES} poles, got {count}")
        return _scaled(_best_fit(step, count), temperature)
    if tolerance < SMALLEST_TOLERANCE:
        raise InputError(f"tolerance: expected at least {SMALLEST_TOLERANCE:g}, got {tolerance:g}")
    return _scaled(_fewest_poles(step, tolerance), temperature)


def _scaled(fit: FermiPoles, kt: float) -> FermiPoles:
    """A fit in units of kT, in units of the energy."""
    return FermiPoles(
        poles=_frozen(kt * fit.poles),
        weights=_frozen(kt * fit.weights),
        slope=fit.slope / kt,
        offset=kt * (fit.offset + np.log(kt) * float(fit.weights.sum())),
        half_width=kt * fit.half_width,
        error=fit.error,
        energy_error=kt * fit.energy_error,
    )


@lru_cache(maxsize=256)
def _fewest_poles(step: int, tolerance: float) -> FermiPoles:
    # The law of convergence, less a margin, is where the search starts: fits with fewer poles would only cost time.
    expected = np.log(1.0 / tolerance) * np.log(max(2.0, _width(step) / 3.0)) / np.pi**2
    for count in range(max(1, int(0.6 * expected)), MOST_POLES + 1):
        fit = _best_fit(step, count)
        if fit.error <= tolerance:
            return fit
        if len(fit.poles) < count:
            break
    raise ArithmeticError(
        f"poles do not reach tolerance {tolerance:g} for a spectrum of {_width(step):.3g} kT: "
        f"{len(fit.poles)} of them leave an error of {fit.error:.1g}"
    )


@lru_cache(maxsize=1024)
def _best_fit(step: int, most: int) -> FermiPoles:
    """The best fit with up to `most` poles on |x| <= _width(step), x = e/kT."""
    width = _width(step)
    count, log_poles = _first_poles(width, most)
    log_poles, weights = _least_squares(log_poles, _sample(width, 100 + 20 * count))
    order = np.argsort(log_poles)
    poles, slope, weights = np.exp(log_poles[order]), float(weights[-1]), weights[order]
    x = _sample(width, 10_000)  # the error is judged on points that the fit has not seen
    error = np.abs(x * (slope + (weights / (x[:, None] ** 2 + poles**2)).sum(axis=1)) - _target(x)).max()
    x = np.concatenate([[0.0], x])
    logarithms = 0.5 * (weights * np.log(x[:, None] ** 2 + poles**2)).sum(axis=1)
    missing = 0.5 * slope * x**2 + logarithms - np.logaddexp(0.5 * x, -0.5 * x)
    offset, spread = 0.5 * (missing.max() + missing.min()), 0.5 * (missing.max() - missing.min())
    return FermiPoles(_frozen(poles), _frozen(weights), slope, float(offset), width, float(error), float(spread))


def _width(step: int) -> float:
    return float(_GRID_STEP**step)


def _target(x: Array) -> Array:
    """1/2 - f = tanh(x/2)/2."""
    return 0.5 * np.tanh(0.5 * x)


def _sample(width: float, points: int) -> Array:
    """Points in (0, width]: even below kT, logarithmic above, as the poles are, and dense at the end as Chebyshev's are.

    With this density the least-squares fit is within a factor 1.2 of the smallest largest error.
    """
    return np.sinh(np.arcsinh(width) * np.sin(0.5 * np.pi * np.arange(1, points + 1) / points))


def _first_poles(width: float, most: int) -> tuple[int, Array]:
    """Logarithms of nearly best poles, and how many: fewer than `most` where double precision can't tell so many apart."""
    for count in range(most, 0, -1):
        x = _sample(width, 100 + 20 * count)
        log_poles = 0.5 * _aaa_poles(x**2, _target(x) / x, x, count)
        if len(log_poles) == count:
            return count, log_poles
    raise ArithmeticError(f"no pole found for a spectrum of {width:.3g} kT")  # one pole is always found


def _aaa_poles(s: Array, g: Array, weight: Array, count: int) -> Array:
    """log(-s) at the negative poles of the rational fit with count + 1 support points to g(s), residuals times `weight`."""
    free = np.ones(len(s), dtype=bool)
    support: list[int] = []
    fit = np.full(len(s), g.mean())
    for _ in range(count + 1):
        support.append(int(np.argmax(np.abs((g - fit) * weight) * free)))
        free[support[-1]] = False
        cauchy = 1.0 / (s[free][:, None] - s[support])
        loewner = (g[free][:, None] - g[support]) * cauchy * weight[free][:, None]
        barycentric = np.linalg.svd(np.linalg.qr(loewner, mode="r"))[2][-1]
        fit[free] = (cauchy @ (barycentric * g[support])) / (cauchy @ barycentric)
        fit[support] = g[support]

    def denominator(t: Array) -> Array:
        return (barycentric / (np.exp(t)[:, None] + s[support])).sum(axis=1)

    # Bisection on a logarithmic scale finds small poles to full relative accuracy; eigenvalues of a pencil would not.
    scan = np.linspace(0.0, np.log(s[-1]) + 12.0, 400 * count)
    sign = np.sign(denominator(scan))
    change = np.flatnonzero(sign[1:] != sign[:-1])
    low, high, left = scan[change], scan[change + 1], sign[change]
    for _ in range(50):
        middle = 0.5 * (low + high)
        same = np.sign(denominator(middle)) == left
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return 0.5 * (low + high)


def _least_squares(log_poles: Array, x: Array, iterations: int = 20) -> tuple[Array, Array]:
    """Log poles (P,) and weights with slope (P + 1,) of the least-squares fit: Levenberg-Marquardt on the poles."""
    terms, by_pole, weights, error = _linear_fit(log_poles, x)
    damping = 1e-6
    for _ in range(iterations):
        jacobian = np.hstack([by_pole, terms])
        scale = np.linalg.norm(jacobian, axis=0)
        q, r = np.linalg.qr(jacobian / scale)
        unknowns = len(scale)
        downhill = np.concatenate([-(q.T @ error), np.zeros(unknowns)])
        before = np.linalg.norm(error)
        for _ in range(6):
            damped = np.vstack([r, np.sqrt(damping) * np.eye(unknowns)])
            step = (np.linalg.lstsq(damped, downhill, rcond=None)[0] / scale)[: len(log_poles)]
            trial = log_poles + np.clip(step, -0.3, 0.3)
            fit = _linear_fit(trial, x)
            if np.linalg.norm(fit[3]) < before:
                break
            damping *= 30.0
        else:
            break
        log_poles, (terms, by_pole, weights, error) = trial, fit
        damping /= 100.0
        if before < 1.0001 * np.linalg.norm(error):
            break
    return log_poles, weights


def _linear_fit(log_poles: Array, x: Array) -> tuple[Array, Array, Array, Array]:
    """For fixed poles: the terms (n, P + 1), their weighted derivatives by the log poles (n, P), weights, and error (n,)."""
    square = x[:, None] ** 2 + np.exp(2.0 * log_poles)
    terms = np.hstack([x[:, None] / square, x[:, None]])
    scale = np.linalg.norm(terms, axis=0)
    weights = np.linalg.lstsq(terms / scale, _target(x), rcond=1e-16)[0] / scale
    by_pole = -2.0 * terms[:, :-1] / square * np.exp(2.0 * log_poles) * weights[:-1]
    return terms, by_pole, weights, terms @ weights - _target(x)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
