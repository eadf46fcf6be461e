"""`ed` and `poles` on a GPU by dense matrices, for models whose hops don't follow x, at fixed mu; `poles` for one orbital."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from forcefields.fermi import FermiPoles
from forcefields.hopping import same_hops
from latticemd.backends import on_host, to_device
from latticemd.backends.cuda.arrays import zeros
from latticemd.backends.cuda.linear_algebra import eigh, inverse
from latticemd.forcefield import Electrons
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Model

Array = Any

_hopping: list[tuple[Hops, Array]] = []  # the last hops that were asked for, and their matrix on the device


def by_eigenstates(model: Model, onsite: Array) -> tuple[Array, Array]:
    """rho of sites (R, N) or (R, N, o, o) and grand potentials (R,) for on-site energies or blocks alike: see `forcefields.ed`."""
    kt, mu = model.electronic_temperature, model.mu or 0.0
    energies, vectors = eigh(_matrices(model, onsite))
    z = (energies - mu) / kt
    occupied = 0.5 - 0.5 * np.tanh(0.5 * z)
    return _of_sites(vectors, occupied, onsite), -kt * np.logaddexp(0.0, -z).sum(axis=1)


def _of_sites(vectors: Array, occupied: Array, like: Array) -> Array:
    """sum_n <i a|n> f_n <n|i c> of eigenvectors (R, n, n), (R, N) or blocks (R, N, o, o)."""
    replicas, orbitals = occupied.shape
    if len(like.shape) == 2:
        density: Array = np.abs(vectors) ** 2 @ occupied.reshape(replicas, orbitals, 1)
        return density.reshape(like.shape)
    o = like.shape[2]
    bras = vectors.conj().reshape(replicas, -1, o, orbitals)
    kets = (vectors * occupied.reshape(replicas, 1, orbitals)).reshape(bras.shape)
    rho = zeros(like.shape, like.dtype)
    for a, c in np.ndindex(o, o):
        rho[:, :, a, c] = (kets[:, :, a] * bras[:, :, c]).sum(axis=2)
    return rho


def by_poles(model: Model, levels: Array, fit: Callable[[float], FermiPoles]) -> tuple[Array, Array]:
    """Densities (R, N) and grand potentials (R,) for levels (R, N): see `forcefields.poles`; `fit(half_width)` gives the poles.

    H is Hermitian, so of the poles w and -w together H (H^2 + w^2)^-1 and log|det(H - i w)| = log det(H^2 + w^2)/2 remain: real
    matrices stay real, and those of all poles are inverted together. Of each replica one number, how wide its spectrum can be,
    comes to the host.
    """
    mu = model.mu or 0.0
    levels = levels.astype(np.float64) - mu
    widths = on_host(np.abs(levels).max(axis=1)) + _reach(model)
    density, energy = zeros(levels.shape), zeros(len(levels))
    for r, width in enumerate(widths):
        density[r], energy[r : r + 1] = _one_by_poles(model, levels[r : r + 1], fit(float(width)))
    return density, energy


def _one_by_poles(model: Model, levels: Array, made: FermiPoles) -> tuple[Array, Array]:
    """Density (N,) and grand potential (1,) of one replica, with levels (1, N) counted from mu."""
    h = _matrices(model, levels)
    sites, square = levels.shape[1], h @ h
    shifted = zeros((len(made.poles), sites, sites), h.dtype)
    shifted[...] = square
    shifted.reshape(len(made.poles), -1)[:, :: sites + 1] += to_device((made.poles**2)[:, None])
    inverses, log_det = inverse(shifted)
    green = (h * inverses.conj()).real.sum(axis=2)  # (H (H^2 + w^2)^-1)_ii of Hermitian matrices
    weights = to_device(made.weights[:, None])
    density = 0.5 - made.slope * levels[0] - (weights * green).sum(axis=0)
    traces = 0.5 * levels.sum(axis=1) - 0.5 * made.slope * square.real.reshape(1, -1)[:, :: sites + 1].sum(axis=1)
    return density, sites * made.offset + traces - 0.5 * (weights.reshape(-1) * log_det).sum(axis=0).reshape(1)


def _matrices(model: Model, onsite: Array) -> Array:
    """H_el (R, n, n) with these on-site energies (R, N), or blocks (R, N, o, o)."""
    replicas, sites, *blocks = onsite.shape
    o = blocks[0] if blocks else 1
    n, hops = o * sites, _hops_of(model)  # in double precision, whatever that of x is
    h = zeros((replicas, n, n), np.result_type(hops.dtype, onsite.dtype))
    for a in range(o):  # all orbitals hop alike
        h[:, a::o, a::o] = hops
    flat = h.reshape(replicas, -1)
    for a, c in np.ndindex(o, o):
        flat[:, a * n + c :: o * (n + 1)] += onsite.reshape(replicas, sites, o, o)[:, :, a, c]
    return h


def _hops_of(model: Model) -> Array:
    """The matrix (N, N) of the hops of a model, on the device; made anew where their amplitudes have changed."""
    hops, sites = model.hops(), model.lattice.sites
    if not _hopping or not same_hops(_hopping[0][0], hops) or _hopping[0][1].shape != (sites, sites):
        h = np.zeros((sites, sites), hops.amplitude.dtype)
        np.add.at(h, (hops.i, hops.j), hops.amplitude)
        _hopping[:] = [(hops, to_device(h + h.T.conj()))]
    return _hopping[0][1]


def _reach(model: Model) -> float:
    """How far hops can move a level at most, max_i sum_j |H_ij| [energy] (Gershgorin)."""
    hops, sites = model.hops(), model.lattice.sites
    size = np.abs(hops.amplitude)
    around = np.bincount(hops.i, size, minlength=sites) + np.bincount(hops.j, size, minlength=sites)
    return float(around.max(initial=0.0))


def write(model: Model, x: Array, answer: tuple[Array, Array], out: Electrons) -> None:
    """Densities, energies and forces that follow from rho of sites and grand potentials."""
    rho = DensityMatrix(answer[0])
    out.density[...], out.energy[...] = rho.density, answer[1]
    out.mu.fill(model.mu or 0.0)
    out.energy += model.electron_constant(x)
    model.electronic_force(rho, x, out.force)
