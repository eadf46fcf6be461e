"""Thermostats that act on a replica as a whole: one factor for all momenta, from the kinetic energy and a few numbers.

One source for NumPy and numba on the CPU and CUDA device code, like `cuda_kernels.philox`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cuda_kernels.philox import normal_pair

# Fourth-order composition of Suzuki and Yoshida: three flows of these shares of the step, the middle one backwards.
_OUTER = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_SHARES = (_OUTER, 1.0 - 2.0 * _OUTER, _OUTER)


def chain_factor(velocity: Any, position: Any, ratio: float, degrees: float, tau: float, time: float) -> Any:
    """Let a Nose-Hoover chain act for `time`; updates `velocity` and `position` (M,), returns the factor for all momenta.

    d ln p/dt = -v_1,   dv_1/dt = (ratio - 1)/tau^2 - v_1 v_2,   dv_2/dt = N_f v_1^2 - 1/tau^2 - v_2 v_3,
    dv_j/dt = v_{j-1}^2 - 1/tau^2 - v_j v_{j+1},   dxi_j/dt = v_j,   ratio = 2K/(N_f kT)

    `degrees` is N_f; the masses N_f kT tau^2 and kT tau^2 have been divided out, so that temperature enters through the
    ratio alone. Symmetric composition, so the flow over -time undoes it to rounding.

    Reference: Martyna, Tuckerman, Tobias and Klein, doi:10.1080/00268979600100761.
    """
    links = velocity.size
    rate = 1.0 / (tau * tau)
    factor = 1.0
    for share in _SHARES:
        h = share * time
        for turn in range(2 * links):
            # Once down the chain and once up; the momenta are scaled and the positions moved in between.
            j = links - 1 - turn if turn < links else turn - links
            if turn == links:
                scale = math.exp(-h * velocity[0])
                factor *= scale
                ratio *= scale * scale
                for i in range(links):
                    position[i] += h * velocity[i]
            if j == 0:
                push = (ratio - 1.0) * rate
            elif j == 1:
                push = degrees * velocity[0] * velocity[0] - rate
            else:
                push = velocity[j - 1] * velocity[j - 1] - rate
            drag = math.exp(-0.25 * h * velocity[j + 1]) if j + 1 < links else 1.0
            velocity[j] = (velocity[j] * drag + 0.5 * h * push) * drag
    return factor


def chain_energy(velocity: Any, position: Any, degrees: float, tau: float) -> Any:
    """Energy of the chain over kT: N_f (tau^2 v_1^2/2 + xi_1) + sum_{j>1} (tau^2 v_j^2/2 + xi_j)."""
    energy = 0.0
    for j in range(velocity.size):
        link = 0.5 * tau * tau * velocity[j] * velocity[j] + position[j]
        energy += degrees * link if j == 0 else link
    return energy


def resampling_factor(
    key: Any, stream: Any, occurrence: Any, step: Any, replica: Any, degrees: float, keep: float, ratio: float
) -> Any:
    """Factor for all momenta that relaxes the kinetic energy K towards its canonical distribution.

    factor^2 = c + (1 - c) r (xi_1^2 + S) + 2 xi_1 sqrt(c (1 - c) r),   c = exp(-time/tau),   r = kT/2K

    with xi_1 a normal and S the sum of N_f - 1 >= 2 squared normals, drawn as a gamma variate by rejection; all numbers
    come from the counter (stream, occurrence, step, replica, pair 0, 1, ...). `keep` is c, `ratio` is r.

    References: Bussi, Donadio and Parrinello, doi:10.1063/1.2408420; Marsaglia and Tsang, doi:10.1145/358407.358414.
    """
    first, _ = normal_pair(key, stream, occurrence, step, replica, np.uint64(0))
    d = 0.5 * (degrees - 1.0) - 1.0 / 3.0
    pair = np.uint64(1)
    rest = -1.0
    while rest < 0.0:
        x, _ = normal_pair(key, stream, occurrence, step, replica, pair)
        a, b = normal_pair(key, stream, occurrence, step, replica, pair + np.uint64(1))
        pair += np.uint64(2)
        v = 1.0 + x / math.sqrt(9.0 * d)
        if v > 0.0:
            v = v * v * v
            # exp(-(a^2 + b^2)/2) is uniform in (0, 1), so its logarithm costs nothing.
            if -0.5 * (a * a + b * b) < 0.5 * x * x + d - d * v + d * math.log(v):
                rest = 2.0 * d * v
    square = keep + (1.0 - keep) * ratio * (first * first + rest) + 2.0 * first * math.sqrt(keep * (1.0 - keep) * ratio)
    return math.sqrt(max(square, 0.0))
