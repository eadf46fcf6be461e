"""The poles at which a cavity Green's function is wanted, and the weights that make density and free energy of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.fermi import fermi_poles

Array = NDArray[Any]

# In units of kT. With this pole beside six or more of f, the entropy of a level is met to 1e-4; without it, to 2e-2 only.
_ENTROPY_POLE = 4.7


@dataclass(frozen=True)
class Expansion:
    """Density and free energy of a site from its Green's functions G_p = <i| (H - mu - i w_p)^-1 |i>.

    n_i     = 1/2 - slope (e_i - mu) - sum_p c_p Re G_p
    Omega_i = (e_i - mu)/2 - slope <i|(H - mu)^2|i> - sum_p (c_p - b_p Im G_p)

    Omega_i is <i| (H - mu) f - kT s |i>, s the entropy of a level: sum_p b_p Im G_p holds both, with b_p = c_p w_p - kT a_p
    and s(e) = sum_p a_p Im 1/(e - i w_p). The sum of Omega_i over all sites is the grand potential.

    ================  ======  ========================================
    field             shape   meaning
    ================  ======  ========================================
    poles             (P,)    w_p > 0 [energy]
    weights           (P, 2)  c_p [energy], b_p [energy^2]
    slope                     [1/energy]
    ================  ======  ========================================
    """

    poles: Array
    weights: Array
    slope: float


def expansion(temperature: float, half_width: float, tolerance: float, count: int | None) -> Expansion:
    """The expansion that serves energies up to `half_width` from mu, with the poles of `fermi_poles` and one for the entropy."""
    if count is None:
        fermi = fermi_poles(temperature, half_width, tolerance=tolerance)
    else:
        fermi = fermi_poles(temperature, half_width, count=count)
    poles = np.append(fermi.poles, _ENTROPY_POLE * temperature)
    c = np.append(fermi.weights, 0.0)
    a = temperature * _entropy_weights(tuple((poles / temperature).tolist()))
    return Expansion(poles, np.stack([c, c * poles - temperature * a], axis=1), fermi.slope)


@lru_cache(maxsize=256)
def _entropy_weights(poles: tuple[float, ...]) -> Array:
    """a_p of s(e) = sum_p a_p w_p/(e^2 + w_p^2) in units of kT, by least squares.

    s = log(1 + exp(-e)) + e f(e) lives within some 10 kT of the Fermi level, so it does not ask how wide the spectrum is.
    """
    e = np.concatenate([np.linspace(0.0, 12.0, 400), np.geomspace(12.0, 2.0 * max(poles), 200)])
    s = np.logaddexp(0.0, -e) + e / (1.0 + np.exp(np.minimum(e, 700.0)))
    lorentzians = np.array(poles) / (e[:, None] ** 2 + np.square(poles))
    # The damping of 1e-10 keeps the weights near 10; without it they cancel each other in single precision.
    normal = lorentzians.T @ lorentzians + 1e-10 * np.eye(len(poles))
    return np.linalg.solve(normal, lorentzians.T @ s)


def side_by_side(expansions: list[Expansion]) -> tuple[Array, Array, Array]:
    """Poles (R, P), weights (R, P, 2) and slopes (R,); shorter expansions are filled up with poles of weight zero."""
    most = max(len(each.poles) for each in expansions)
    poles, weights = np.ones((len(expansions), most)), np.zeros((len(expansions), most, 2))
    for r, each in enumerate(expansions):
        poles[r, : len(each.poles)] = each.poles
        weights[r, : len(each.poles)] = each.weights
    return poles, weights, np.array([each.slope for each in expansions])
