"""`ed`: exact diagonalisation, the reference that every other force field is measured against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.special import expit

from forcefields.memory import require_memory
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.model import Model


@dataclass(frozen=True)
class ExactDiagonalisation:
    """All eigenstates of H_el by LAPACK, then thermal sums over them.

    n_i   = sum_n f(e_n) |<i|n>|^2,                     f(e) = 1/(exp((e - mu)/kT_el) + 1)
    Omega = C - kT_el sum_n log(1 + exp(-(e_n - mu)/kT_el)),  plus mu N_el at fixed filling

    At fixed filling, mu solves sum_n f(e_n) = filling N for each replica. Replicas are diagonalised one after the other.

    Cost: O(N^3) time and 2 N^2 numbers per call; N about 2000 is a second. Use a linear-scaling force field beyond.

    Reference: Golub and Van Loan, Matrix Computations, ch. 8 (divide and conquer, LAPACK ?syevd and ?heevd).
    """

    _buffers: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Exact, conservative and global; two N x N matrices of memory."""
        orbitals = model.lattice.sites * model.orbitals
        return Capabilities(
            conservative=True,
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=4 * orbitals**2 * model.hops().amplitude.itemsize,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Allocate H. Raises InputError when the machine cannot hold the matrices."""
        needed = self.capabilities(model, replicas).bytes_needed
        require_memory(needed, f"forcefield ed with {model.lattice.sites} sites", "use a smaller lattice")
        orbitals = model.lattice.sites * model.orbitals
        # Fortran order lets LAPACK overwrite H with its eigenvectors instead of copying it.
        self._buffers["h"] = np.zeros((orbitals, orbitals), dtype=model.hops().amplitude.dtype, order="F")

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D)."""
        h = self._buffers["h"]
        hops, onsite = model.hops(), model.onsite(x)
        lower = np.maximum(hops.i, hops.j), np.minimum(hops.i, hops.j)
        amplitude = np.where(hops.i > hops.j, hops.amplitude, np.conj(hops.amplitude))
        constant = model.electron_constant(x)
        for r in range(len(x)):
            h.fill(0.0)
            np.add.at(h, lower, amplitude)
            np.einsum("ii->i", h)[:] += onsite[r]
            energies, vectors = diagonalise(h)
            mu, extra = model.mu or 0.0, 0.0
            if model.filling is not None:
                mu = chemical_potential(energies, model.filling, model.electronic_temperature)
                extra = mu * model.filling * len(energies)
            occupied = expit((mu - energies) / model.electronic_temperature)
            out.density[r] = np.einsum("in,in,n->i", vectors, vectors.conj(), occupied, optimize=False).real
            out.energy[r] = constant[r] + grand_potential(energies, mu, model.electronic_temperature) + extra
            out.mu[r] = mu
        model.electronic_force(out.density, x, out.force)

    def close(self) -> None:
        """Drop the matrix."""
        self._buffers.clear()


def diagonalise(h: Array) -> tuple[Array, Array]:
    """Eigenvalues (n,) and eigenvectors (n, n) as columns of the Hermitian matrix whose LOWER triangle is h; overwrites h."""
    solve = lapack.zheevd if np.iscomplexobj(h) else lapack.dsyevd
    energies, vectors, info = solve(h, lower=1, overwrite_a=1)
    if info != 0 or not np.isfinite(energies).all():  # LAPACK lets infinities through
        raise ArithmeticError(f"LAPACK could not diagonalise the Hamiltonian (info {info}); are the positions finite?")
    return energies, vectors


def grand_potential(energies: Array, mu: float, temperature: float) -> float:
    """-kT sum_n log(1 + exp(-(e_n - mu)/kT)) [energy], without overflow."""
    return -temperature * float(np.logaddexp(0.0, (mu - energies) / temperature).sum())


def chemical_potential(energies: Array, filling: float, temperature: float) -> float:
    """The mu at which the mean occupation of the levels is `filling`; bracketed, so it always converges."""
    from scipy.optimize import brentq  # a fifth of a second that runs at fixed mu need not wait for

    reach = 40.0 * temperature
    return float(
        brentq(
            lambda mu: expit((mu - energies) / temperature).mean() - filling,
            energies[0] - reach,
            energies[-1] + reach,
            xtol=4e-16,
            rtol=8.9e-16,
            maxiter=200,
        )
    )
