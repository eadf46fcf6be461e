"""What it costs to exchange the levels of two sites: a determinant of two rows instead of a new solution.

Exchanging H_ii and H_jj adds V = v (|i><i| - |j><j|) to H_el, v = H_jj - H_ii. With the Green's function G = (H_el - mu - i w)^-1

det(H_el + V - mu - i w) / det(H_el - mu - i w) = det(1 + V G) = (1 + v G_ii)(1 - v G_jj) + v^2 G_ij G_ji

so that one selected inversion, which has these entries for all hops, knows the energies of all exchanges along them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def exchanged(levels: Array, i: Array, j: Array, entries: Array, weights: Array) -> Array:
    """-sum_p c_p log|det(1 + V G_p)| for each pair of sites i, j, (B,) [energy].

    `levels` (N,) are H_ii, `entries` (N + 2 B, P) those of `selected_entries`, `weights` (P,) the c_p. The terms of Omega
    beside the determinants, traces of H_el and of its square, do not change.
    """
    v = (levels[j] - levels[i])[:, None]
    there, back = np.split(entries[len(levels) :], 2)
    ratio = (1.0 + v * entries[i]) * (1.0 - v * entries[j]) + v * v * there * back
    energy: Array = -np.log(np.abs(ratio)) @ weights
    return energy
