"""Dynamical scaling: do correlations of all times lie on one curve when distances are measured in L(t)?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from latticemd.errors import InputError

Array = NDArray[Any]

POINTS = 64  # of the scaled coordinate at which curves are compared


@dataclass(frozen=True)
class Collapse:
    """Curves of F times over one scaled coordinate, and how far they are apart.

    ===========  =======  =====================================================================================
    field        shape    meaning
    ===========  =======  =====================================================================================
    coordinate   (X,)     r/L or k L, where all times have values
    curves       (F, X)   the scaled curves there
    deviation             rms distance of the curves from their mean, over times and coordinates
    unscaled              the same with L constant in time, its geometric mean: what scaling has to remove
    ===========  =======  =====================================================================================
    """

    coordinate: Array
    curves: Array
    deviation: float
    unscaled: float

    @property
    def quality(self) -> float:
        """`deviation` / `unscaled`: 0 for a perfect collapse, 1 where scaling explains nothing; nan without growth."""
        return self.deviation / self.unscaled if self.unscaled > 0.0 else float("nan")


def collapse_correlation(r: Array, c: Array, lengths: Array) -> Collapse:
    """C(r, t)/C(0, t) against r/L(t): distances r (K,), correlations (F, K), lengths (F,).

    Deviations are in units of C/C(0), a pure number of order 1. Source: Bray, Adv. Phys. 43, 357 (1994),
    doi:10.1080/00018739400101505.
    """
    return _collapse(r, c / c[:, :1], 1.0 / _positive(lengths))


def collapse_structure(k: Array, structure: Array, lengths: Array, dimensions: int) -> Collapse:
    """ln of S(k, t) L(t)^-d against k L(t), each S divided by its sum rule: wave numbers k (K,), S (F, K), lengths (F,).

    The sum rule is that of rings, the integral of S k^(d-1) dk. Deviations are relative ones, 0.1 for curves 10 % apart. The
    ring at k = 0 is left out: it holds one wave vector in place of a distribution. Raises InputError where a ring is empty, as
    that of sharp walls in one dimension can be: it has no logarithm.
    """
    lengths = _positive(lengths)
    if not (structure[:, 1:] > 0.0).all():
        raise InputError(f"a collapse of S(k) needs S > 0 on all rings, {int((structure[:, 1:] <= 0).sum())} are empty")
    total = trapezoid(structure * k ** (dimensions - 1), k, axis=1)[:, None]
    shares = np.log(structure[:, 1:] / total)
    scaled = shares - dimensions * np.log(lengths)[:, None]
    # Without scaling, the curves are compared as they are: a common L makes them pure numbers too.
    plain = shares - dimensions * np.log(lengths).mean()
    return _collapse(k[1:], scaled, lengths, plain)


def _positive(lengths: Array) -> Array:
    if not (np.isfinite(lengths) & (np.nan_to_num(lengths) > 0)).all():
        raise InputError(
            "a scaling collapse needs a length at each time; leave out the frames where a domain fills the box"
        )
    return np.asarray(lengths, dtype=float)


def _collapse(x: Array, curves: Array, scale: Array, unscaled: Array | None = None) -> Collapse:
    """Curves (F, K) at x (K,) against x scale (F,), and the unscaled ones against x times the geometric mean of the scale."""
    mean = float(np.exp(np.log(scale).mean()))
    grids = [np.linspace(x[0] * high, x[-1] * low, POINTS) for high, low in ((scale.max(), scale.min()), (mean, mean))]
    if grids[0][0] >= grids[0][-1]:
        raise InputError(
            "the scaled curves have no coordinate in common: the length grows by more than the box is wide"
        )
    # The unscaled curves are compared over the stretch of the scaled ones, for the numbers to be comparable.
    grids[1] = np.clip(grids[0], grids[1][0], grids[1][-1])
    together = _at(grids[0], x[None] * scale[:, None], curves)
    apart = _at(grids[1], np.broadcast_to(x * mean, curves.shape), curves if unscaled is None else unscaled)
    return Collapse(grids[0], together, _spread(together), _spread(apart))


def _at(grid: Array, x: Array, curves: Array) -> Array:
    return np.array([np.interp(grid, *pair) for pair in zip(x, curves, strict=True)])


def _spread(curves: Array) -> float:
    return float(np.sqrt(((curves - curves.mean(axis=0)) ** 2).mean()))
