"""Exact electrons in a page: what the kit compares with, written to be checked by reading rather than to be fast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model


@dataclass(frozen=True)
class DenseElectrons:
    """All eigenstates of H_el by `numpy.linalg.eigh`; itself a force field.

    rho = sum_n f(e_n) |n><n|,    of which sites get their blocks and hops the entries that they join

    Cost: O((N o)^3) time and memory for five matrices. For runs use the force field `ed`, which is the same and faster.
    """

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Exact, conservative and global."""
        return Capabilities(True, True, True, True, None, 5 * 16 * (model.lattice.sites * model.orbitals) ** 2)

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing is kept between calls."""

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Density, free energy and Hellmann-Feynman force at x (R, N, D)."""
        sites, o, temperature = model.lattice.sites, model.orbitals, model.electronic_temperature
        constant, hops = model.electron_constant(x), model.hops()
        for r in range(len(x)):
            one = x[r : r + 1]
            matrix = hamiltonian_matrix(model, one)
            if not np.isfinite(matrix).all():
                raise ArithmeticError("the Hamiltonian is not finite")
            energies, states = np.linalg.eigh(matrix)
            mu, canonical = model.mu, 0.0
            if model.filling is not None:
                mu = _mu_of(energies, model.filling, temperature)
                canonical = mu * model.filling * len(energies)
            out.mu[r] = mu
            occupied = fermi(energies - out.mu[r], temperature)
            rho = ((states * occupied) @ states.conj().T).reshape(sites, o, sites, o)
            grand = -temperature * np.logaddexp(0.0, (out.mu[r] - energies) / temperature).sum()
            out.energy[r] = constant[r] + grand + canonical
            own = rho[np.arange(sites), :, np.arange(sites)]
            bonds = rho[hops.i, :, hops.j]
            matrices = DensityMatrix(own[None], bonds[None])
            if o == 1:
                matrices = DensityMatrix(own[None, :, 0, 0].real, bonds[None, :, 0, 0])
            out.density[r] = matrices.density[0]
            model.electronic_force(matrices, one, out.force[r : r + 1])

    def close(self) -> None:
        """Nothing to release."""


def hamiltonian_matrix(model: Model, x: Array) -> Array:
    """H_el of one replica x (1, N, D) from the terms of the model, (N o, N o) with index site o + orbital."""
    sites, o, hops = model.lattice.sites, model.orbitals, model.hops()
    amplitude = model.amplitudes(x)
    if amplitude.ndim > hops.amplitude.ndim:
        amplitude = amplitude[0]
    if amplitude.ndim == 1:
        amplitude = amplitude[:, None, None] * np.eye(o)
    onsite = model.onsite(x)[0].reshape(sites, o, o)
    matrix = np.zeros((sites, sites, o, o), dtype=np.result_type(amplitude, onsite))
    np.add.at(matrix, (hops.i, hops.j), amplitude)
    np.add.at(matrix, (hops.j, hops.i), amplitude.conj().swapaxes(1, 2))
    np.add.at(matrix, (np.arange(sites), np.arange(sites)), onsite)
    return matrix.transpose(0, 2, 1, 3).reshape(sites * o, sites * o)


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
