"""The search for a fixed point: damped steps until a solution is near, Pulay's combinations of trials from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from latticemd.forcefield import Array

SETTLED = 0.03  # of the largest residual met: below it, and falling for FALLS evaluations, a solution is near
FALLS = 4
OVERSHOT, SHORT = 0.6, 1.15  # factors of beta when a residual turns round, and when it does not
LARGEST_BETA = 1.5
EVERY = 2  # a combination after so many trials, damped steps between: more robust than one after each
DEPENDENT = 1e-10  # relative singular values of differences that only rounding tells apart


@dataclass(frozen=True)
class FixedPoint:
    """The trial v that was accepted, how often the map was evaluated, the rms of map(v) - v, and whether that is small enough."""

    trial: Array
    evaluations: int
    residual: float
    converged: bool


@dataclass(frozen=True)
class Search:
    """Solves v = map(v) from trials v_k and their residuals r_k = map(v_k) - v_k.

    First damped steps v <- v + beta r, with beta smaller when r turns round and larger when it does not. For the fields of
    a mean field they end where the free energy has a minimum: v' = r leaves every other stationary point, since the
    derivative of the map is similar to a symmetric matrix whose eigenvalues exceed 1 in the directions that lower the energy.
    Near a solution, combinations: of all sum_k c_k v_k with sum_k c_k = 1, the one with the least |sum_k c_k r_k|, which is
    where a linear map would have its fixed point, whatever its stability,

        v <- sum_k c_k (v_k + beta r_k)

    When as many evaluations as the history is long bring nothing better, damped steps go on from the best trial.

    References: Pulay, Chem. Phys. Lett. 73, 393 (1980), doi:10.1016/0009-2614(80)80396-4; Walker and Ni, SIAM J. Numer.
    Anal. 49, 1715 (2011), doi:10.1137/10078356X (as least squares in differences); Banerjee, Suryanarayana and Pask, Chem.
    Phys. Lett. 647, 31 (2016), doi:10.1016/j.cplett.2016.01.033 (damped steps between).
    """

    residual: float
    evaluations: int
    history: int
    mixing: float

    def solve(self, image: Callable[[Array], Array], start: Array) -> FixedPoint:
        """The fixed point of `image` that is found from `start` (M,), or the best trial of all where none is found."""
        trial, best, least, waited = start, start, np.inf, 0
        damped, combined = _Damped(self.mixing), None
        for n in range(1, self.evaluations + 1):
            residual = image(trial) - trial
            size = _rms(residual)
            if not np.isfinite(size):
                raise ArithmeticError(f"the fields are not finite after {n} solves")
            if size <= self.residual:
                return FixedPoint(trial, n, size, True)
            best, least, waited = (trial, size, 0) if size < least else (best, least, waited + 1)
            if combined is None:
                step = damped.step(residual)
                if damped.settled:
                    combined, waited = _Combined(self.history, min(damped.beta, self.mixing)), 0
            if combined is not None:
                step = combined.step(trial, residual)
                if waited > self.history:
                    # The residual of the best trial is not kept; it is evaluated again.
                    trial, damped, combined, waited = best, _Damped(0.5 * self.mixing), None, 0
                    continue
            trial = trial + step
        return FixedPoint(best, self.evaluations, least, False)


@dataclass
class _Damped:
    """Steps along the residual, as long as they can be without overshooting."""

    beta: float
    largest: float = 0.0
    falls: int = 0
    before: Array | None = None

    def step(self, residual: Array) -> Array:
        """beta r."""
        size = _rms(residual)
        if self.before is not None:
            turned = float(np.vdot(residual, self.before)) < 0.0
            self.beta = self.beta * OVERSHOT if turned else min(self.beta * SHORT, LARGEST_BETA)
            self.falls = self.falls + 1 if size < _rms(self.before) else 0
        self.largest, self.before = max(self.largest, size), residual
        return self.beta * residual

    @property
    def settled(self) -> bool:
        """Whether a solution is near."""
        return self.before is not None and self.falls >= FALLS and _rms(self.before) < SETTLED * self.largest


@dataclass
class _Combined:
    """Steps to the combination of trials with the least residual."""

    history: int
    beta: float
    trials: list[Array] = field(default_factory=list)
    residuals: list[Array] = field(default_factory=list)
    seen: int = 0

    def step(self, trial: Array, residual: Array) -> Array:
        """From the present trial to the next."""
        self.trials = [*self.trials, trial][-self.history :]
        self.residuals = [*self.residuals, residual][-self.history :]
        self.seen += 1
        if len(self.trials) == 1 or self.seen % EVERY:
            return self.beta * residual
        steps, changes = (np.diff(np.array(rows), axis=0).T for rows in (self.trials, self.residuals))
        scale = np.linalg.norm(changes, axis=0)
        weights, *_ = np.linalg.lstsq(changes / scale, residual, rcond=DEPENDENT)
        combined: Array = self.beta * residual - (steps + self.beta * changes) @ (weights / scale)
        return combined


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
