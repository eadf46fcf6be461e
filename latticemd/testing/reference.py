"""Exact electrons in a page: what the kit compares with, written to be checked by reading rather than to be fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.model import Model


@dataclass(frozen=True)
class DenseElectrons:
    """All eigenstates of H_el by `numpy.linalg.eigh`, one orbital per site; itself a force field.

    H[i, j] = amplitude of the hop (i, j), H[i, i] = on-site energy,    n_i = sum_n f(e_n) |<i|n>|^2

    Cost: O(N^3) time and memory for four matrices. For runs use the force field `ed`, which is the same and faster.
    """

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Exact, conservative and global."""
        return Capabilities(True, True, True, True, None, 4 * 16 * model.lattice.sites**2)

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing is kept between calls. Raises InputError for more than one orbital per site."""
        if model.orbitals != 1:
            raise InputError(f"the dense reference knows one orbital per site, the model has {model.orbitals}")

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Density, free energy and Hellmann-Feynman force at x (R, N, D)."""
        onsite = model.onsite(x)
        if not np.isfinite(onsite).all():
            raise ArithmeticError("on-site energies are not finite")
        hopping, temperature = hopping_matrix(model), model.electronic_temperature
        constant = model.electron_constant(x)
        for r in range(len(x)):
            energies, states = np.linalg.eigh(hopping + np.diag(onsite[r]))
            mu, canonical = model.mu, 0.0
            if model.filling is not None:
                mu = _mu_of(energies, model.filling, temperature)
                canonical = mu * model.filling * len(energies)
            out.mu[r] = mu
            out.density[r] = np.abs(states) ** 2 @ fermi(energies - out.mu[r], temperature)
            grand = -temperature * np.logaddexp(0.0, (out.mu[r] - energies) / temperature).sum()
            out.energy[r] = constant[r] + grand + canonical
        model.electronic_force(out.density, x, out.force)

    def close(self) -> None:
        """Nothing to release."""


def hopping_matrix(model: Model) -> Array:
    """The part of H_el that does not change with x, (N, N), from the model's hops and their conjugates."""
    hops, sites = model.hops(), model.lattice.sites
    matrix = np.zeros((sites, sites), dtype=np.asarray(hops.amplitude).dtype)
    np.add.at(matrix, (hops.i, hops.j), hops.amplitude)
    np.add.at(matrix, (hops.j, hops.i), np.conj(hops.amplitude))
    return matrix


def fermi(energy: Array, temperature: float) -> Array:
    """1/(exp(e/kT) + 1), written so that nothing overflows."""
    occupation: Array = 0.5 * (1.0 - np.tanh(0.5 * energy / temperature))
    return occupation


def _mu_of(energies: Array, filling: float, temperature: float) -> float:
    low, high = energies[0] - 50.0 * temperature, energies[-1] + 50.0 * temperature
    for _ in range(200):  # bisection to the last bit
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fermi(energies - middle, temperature).mean() < filling else (low, middle)
    return float(0.5 * (low + high))
