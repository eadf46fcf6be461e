"""`ed` and `poles` on a GPU by dense matrices, for models of one orbital with hops that don't follow x, at fixed mu."""

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


def by_eigenstates(model: Model, levels: Array) -> tuple[Array, Array]:
    """Densities (R, N) and grand potentials (R,) for levels (R, N): see `forcefields.ed`."""
    kt, mu = model.electronic_temperature, model.mu or 0.0
    energies, vectors = eigh(_matrices(model, levels.astype(np.float64)))
    z = (energies - mu) / kt
    occupied = 0.5 - 0.5 * np.tanh(0.5 * z)
    density = np.abs(vectors) ** 2 @ occupied.reshape(*occupied.shape, 1)
    return density.reshape(levels.shape), -kt * np.logaddexp(0.0, -z).sum(axis=1)


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


def _matrices(model: Model, levels: Array) -> Array:
    """H_el (R, N, N) with these levels (R, N) on its diagonal."""
    replicas, sites = levels.shape
    hops = _hops_of(model)
    h = zeros((replicas, sites, sites), hops.dtype)
    h[...] = hops
    h.reshape(replicas, -1)[:, :: sites + 1] += levels
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
    """Densities, energies and forces that follow from densities and grand potentials."""
    out.density[...], out.energy[...] = answer
    out.mu.fill(model.mu or 0.0)
    out.energy += model.electron_constant(x)
    model.electronic_force(DensityMatrix(out.density), x, out.force)
