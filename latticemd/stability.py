"""How large a time step may be before a stiff mode grows without bound."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from latticemd.integrators.integrator import Array, Integrator
from latticemd.integrators.splitting import Splitting
from latticemd.models.model import Motion

_SCAN = 4000  # steps tried below the longest possible one; each instability starts between two of them


def stability_limit(integrator: Integrator, curvatures: Iterable[float], on_site: float, mass: float) -> float:
    """The dt [time] from which a harmonic mode of one of these curvatures [energy/length^2] is unstable.

    `on_site` is the spring constant that the letter R integrates exactly. Modes of negative curvature leave their saddle at
    any dt, which is physics: they set no limit.

    ===================  ===================================================================================
    motion               limit for a mode of curvature K
    ===================  ===================================================================================
    splitting words      the smallest dt with |trace of the step's matrix| > 2; 2 sqrt(m/K) for BAB and BAOAB
    overdamped           2 gamma/K, beyond which each step overshoots by more than it corrects
    spins                1/|K|: their length holds at any dt, but then the energy of a mode grows by a tenth per step
    any other            2 sqrt(m/K), the limit of velocity Verlet, for want of a better one
    ===================  ===================================================================================

    Reference: Leimkuhler and Reich, Simulating Hamiltonian Dynamics, doi:10.1017/CBO9780511614118, section 2.
    """
    if integrator.motion is Motion.SPIN:
        fastest = max(abs(curvature) for curvature in curvatures)
        return 1.0 / fastest if fastest else math.inf
    stable = [curvature for curvature in curvatures if curvature > 0]
    if isinstance(integrator, Splitting):
        return min((_word_limit(integrator.word, curvature, on_site, mass) for curvature in stable), default=math.inf)
    if not stable:
        return math.inf
    if integrator.momenta:
        return 2.0 * math.sqrt(mass / max(stable))
    return 2.0 * integrator.friction / max(stable)


def _word_limit(word: str, curvature: float, on_site: float, mass: float) -> float:
    """First instability of a mode [time]; with R at the latest half a turn, where the rotation loses its sense."""
    longest = 2.5 * len(word) * math.sqrt(mass / curvature)
    if "R" in word and on_site > 0.0:
        longest = min(longest, math.pi * math.sqrt(mass / on_site))
    steps = longest * np.arange(1, _SCAN + 1) / _SCAN
    # A thousandth of a percent beyond 2 is rounding of marginal modes, such as one on which no kick is left to act.
    unstable = np.abs(_traces(word, steps, curvature, on_site, mass)) > 2.0 * (1.0 + 1e-5)
    if not unstable.any():
        return longest
    high = float(steps[np.argmax(unstable)])
    low = high - longest / _SCAN
    for _ in range(40):
        middle = 0.5 * (low + high)
        beyond = abs(_traces(word, np.array([middle]), curvature, on_site, mass)[0]) > 2.0 * (1.0 + 1e-5)
        low, high = (low, middle) if beyond else (middle, high)
    return low


def _traces(word: str, steps: Array, curvature: float, on_site: float, mass: float) -> Array:
    """Trace of the matrix that one step applies to (x, p) of a mode, for each dt; friction, which only damps, is left out."""
    total = np.broadcast_to(np.eye(2), (len(steps), 2, 2))
    for letter in word:
        total = _letter(letter, steps / word.count(letter), "R" in word, curvature, on_site, mass) @ total
    return np.trace(total, axis1=1, axis2=2)


def _letter(letter: str, tau: Array, rotates: bool, curvature: float, on_site: float, mass: float) -> Array:
    """(steps, 2, 2): the flows of `latticemd.integrators.splitting` on a harmonic mode."""
    matrix = np.zeros((len(tau), 2, 2))
    matrix[:] = np.eye(2)
    if letter == "A":
        matrix[:, 0, 1] = tau / mass
    elif letter == "B":
        matrix[:, 1, 0] = -tau * (curvature - on_site if rotates else curvature)
    elif letter == "R" and on_site == 0.0:
        matrix[:, 0, 1] = tau / mass
    elif letter == "R":
        frequency = math.sqrt(on_site / mass)
        matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(frequency * tau)
        matrix[:, 0, 1] = np.sin(frequency * tau) / (mass * frequency)
        matrix[:, 1, 0] = -np.sin(frequency * tau) * mass * frequency
    return matrix
