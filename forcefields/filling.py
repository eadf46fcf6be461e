"""The chemical potential of a wanted filling, for force fields that can count electrons at a given mu."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latticemd.errors import InputError


def chemical_potential(
    electrons: Callable[[float], float], wanted: float, low: float, high: float, resolution: float = 0.0
) -> float:
    """The mu in [low, high] [energy] at which electrons(mu) = wanted, to `resolution` or the last bits of mu.

    `electrons` must be a pure function that grows with mu. The search starts from the bracket alone and remembers nothing,
    so the same positions always give the same mu. Raises InputError when the bracket does not hold the root, and
    ArithmeticError when the count is not finite.

    Cost: about ten calls, up to fifteen on a plateau between two bands.

    Reference: Brent, Algorithms for Minimization without Derivatives (1973), ch. 4.
    """
    from scipy.optimize import brentq  # a fifth of a second that runs at fixed mu need not wait for

    fewest, most = electrons(low), electrons(high)
    if not np.isfinite([fewest, most]).all():
        raise ArithmeticError(f"the number of electrons is {fewest} at mu = {low:g} and {most} at mu = {high:g}")
    if not fewest <= wanted <= most:
        raise InputError(
            f"{wanted:g} electrons are out of reach: there are {fewest:g} at mu = {low:g} and {most:g} at mu = {high:g}"
        )
    return float(
        brentq(lambda mu: electrons(mu) - wanted, low, high, xtol=max(4e-16, resolution), rtol=8.9e-16, maxiter=200)
    )
