"""Densities of states from Chebyshev moments of a few vectors: where the levels of H_el lie, on all sites or on some.

    rho(e) = 1/(pi w (1 - s^2)^(1/2)) [mu_0 + 2 sum_k g_k mu_k T_k(s)],      s = (e - centre)/w,   mu_k = <v| T_k(h) |v>

with the Jackson kernel g_k, which keeps rho positive and gives a level the width pi w/M in the middle of the interval. A vector
that is 1 on one orbital gives the local density there exactly; random signs on many orbitals give their mean, with a relative
error of about 1 over the root of the number of orbitals times vectors.

Source: Weisse, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006), doi:10.1103/RevModPhys.78.275.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.kpm.chebyshev import MOST_MOMENTS, Interval, jackson_kernel
from forcefields.kpm.probing import BLOCK_BYTES, twice_scaled
from latticemd.errors import InputError
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]


def moments_for(width: float, interval: Interval) -> int:
    """The number of moments M with which a level in the middle of the interval is as wide as asked [energy]."""
    count = int(np.ceil(np.pi * interval.half_width / width))
    if count > MOST_MOMENTS:
        raise InputError(
            f"levels {width:g} wide in a spectrum of half width {interval.half_width:.4g} need {count} Chebyshev moments, at "
            f"most {MOST_MOMENTS} are taken"
        )
    return max(2, count)


def mean_moments(one: Hamiltonian, interval: Interval, vectors: Array, moments: int) -> Array:
    """The moments (M,) of one replica, mean over the vectors (n, V), each divided by its <v|v>.

    <t_k|t_k> and <t_k+1|t_k> with t_k = T_k v give the moments 2k and 2k + 1, so M/2 products with H do.
    """
    twice = twice_scaled(one, interval)
    found = np.zeros(moments + 1)
    block = max(1, BLOCK_BYTES // (twice.dtype.itemsize * one.size))
    norms = (vectors**2).sum(axis=0)
    for first in range(0, vectors.shape[1], block):
        v = vectors[:, first : first + block] / np.sqrt(norms[first : first + block])
        before, now = v.astype(twice.dtype), 0.5 * (twice @ v)
        start, second = float(np.vdot(before, before).real), float(np.vdot(before, now).real)
        for k in range((moments + 1) // 2):
            found[2 * k] += 2.0 * np.vdot(before, before).real - start
            found[2 * k + 1] += 2.0 * np.vdot(before, now).real - second
            before, now = now, twice @ now - before
    return found[:moments] / vectors.shape[1]


def density_from(moments: Array, interval: Interval, energies: Array) -> Array:
    """rho (E,) at the energies (E,) [1/energy], 0 outside the interval."""
    s = (energies - interval.centre) / interval.half_width
    inside = np.abs(s) < 1.0
    weights = jackson_kernel(len(moments)) * moments
    weights[1:] *= 2.0
    density = np.zeros(len(energies))
    root = np.sqrt(1.0 - s[inside] ** 2)
    density[inside] = np.polynomial.chebyshev.chebval(s[inside], weights) / (np.pi * interval.half_width * root)
    return density
