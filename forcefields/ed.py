"""`ed`: exact diagonalisation, the reference that every other force field is measured against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.special import expit

from forcefields.hopping import only_onsite
from forcefields.memory import require_memory
from latticemd.backends import on_device
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.models.model import Model


@dataclass(frozen=True)
class ExactDiagonalisation:
    """All eigenstates of H_el by LAPACK, then thermal sums over them.

    rho   = sum_n f(e_n) |n><n|,                        f(e) = 1/(exp((e - mu)/kT_el) + 1)
    Omega = C - kT_el sum_n log(1 + exp(-(e_n - mu)/kT_el)),  plus mu N_el at fixed filling

    At fixed filling, mu solves sum_n f(e_n) = filling N o for each replica. Replicas are diagonalised one after the other.

    Of rho, the diagonal and, for models that ask for them, the blocks of sites and of hops.

    Cost: O(N^3) time and 2 N^2 numbers per call for N orbitals; N about 2000 is a second. Use a linear-scaling force
    field beyond.

    Reference: Golub and Van Loan, Matrix Computations, ch. 8 (divide and conquer, LAPACK ?syevd and ?heevd).
    """

    _buffers: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Exact, conservative and global; two matrices over all orbitals, and one more where bonds are asked for."""
        undistorted = Hamiltonian.undistorted(model)
        matrices = 3 if undistorted.wants_pairs else 2
        return Capabilities(
            conservative=True,
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=2 * matrices * undistorted.size**2 * undistorted.amplitude.itemsize,
            cuda=only_onsite(model),
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Allocate H. Raises InputError when the machine cannot hold the matrices."""
        needed = self.capabilities(model, replicas).bytes_needed
        require_memory(needed, f"forcefield ed with {model.lattice.sites} sites", "use a smaller lattice")

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D)."""
        if on_device(x):
            from forcefields import dense_device

            dense_device.write(model, x, dense_device.by_eigenstates(model, model.onsite(x)), out)
            return
        hamiltonian, kt = Hamiltonian.of(model, x), model.electronic_temperature
        h = self._matrix(hamiltonian)
        i, j = hamiltonian.i, hamiltonian.j
        lower = np.maximum(i, j), np.minimum(i, j)
        constant = model.electron_constant(x)
        diagonal = np.empty(hamiltonian.levels.shape)
        pairs = np.empty((len(x), len(i)), dtype=h.dtype) if hamiltonian.wants_pairs else None
        for r in range(len(x)):
            one = hamiltonian.replica(r)
            h.fill(0.0)
            np.add.at(h, lower, np.where(i > j, one.amplitude, np.conj(one.amplitude)))
            np.einsum("ii->i", h)[:] += one.levels[0]
            energies, vectors = diagonalise(h)
            mu, extra = model.mu or 0.0, 0.0
            if model.filling is not None:
                mu = chemical_potential(energies, model.filling, kt)
                extra = mu * model.filling * len(energies)
            occupied = expit((mu - energies) / kt)
            diagonal[r] = np.einsum("in,in,n->i", vectors, vectors.conj(), occupied, optimize=False).real
            if pairs is not None:
                pairs[r] = ((vectors * occupied) @ vectors.conj().T)[i, j]
            out.energy[r] = constant[r] + grand_potential(energies, mu, kt) + extra
            out.mu[r] = mu
        rho = hamiltonian.density_matrix(diagonal, pairs)
        out.density[...] = rho.density
        model.electronic_force(rho, x, out.force)

    def _matrix(self, hamiltonian: Hamiltonian) -> Array:
        """A matrix to be filled; kept, since pages that are used again cost nothing."""
        if "h" not in self._buffers or self._buffers["h"].dtype != hamiltonian.amplitude.dtype:
            # Fortran order lets LAPACK overwrite H with its eigenvectors instead of copying it.
            self._buffers["h"] = np.zeros((hamiltonian.size,) * 2, dtype=hamiltonian.amplitude.dtype, order="F")
        return self._buffers["h"]

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
