"""H_el of a model as a matrix over all orbitals, and the density matrix that answers it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from latticemd.models.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Hops:
    """Hops between sites: H[i, j] = amplitude [energy], H[j, i] is its Hermitian conjugate; each pair of sites once.

    `i`, `j` have shape (B,). `amplitude` has shape (B,) where an electron keeps its orbital and all orbitals hop alike, or
    (B, o, o) with amplitude[b, a, c] = H[orbital a of site i, orbital c of site j].
    """

    i: Array
    j: Array
    amplitude: Array


def as_blocks(amplitude: Array, orbitals: int) -> Array:
    """Amplitudes (..., B) that all orbitals share as multiples of the unit block, (..., B, o, o)."""
    return amplitude[..., None, None] * np.eye(orbitals)


@dataclass(frozen=True)
class DensityMatrix:
    """The entries of rho = f(H_el) that forces need; rho_ac = <c+_c c_a>.

    ========  =========================  ==========================================================================
    field     shape                      meaning
    ========  =========================  ==========================================================================
    onsite    (R, N) or (R, N, o, o)     of each site: the density for one orbital, otherwise a Hermitian matrix
    bonds     (R, B) or (R, B, o, o)     rho[i, j] of each hop (i, j) of the model; None unless the model asks for them
    ========  =========================  ==========================================================================
    """

    onsite: Array
    bonds: Array | None = None

    @property
    def density(self) -> Array:
        """Electrons per site, all orbitals together, (R, N)."""
        if self.onsite.ndim == 2:
            return self.onsite
        return np.einsum("rnaa->rn", self.onsite).real


@dataclass(frozen=True)
class Hamiltonian:
    """H_el of R replicas as a matrix over n = N o orbitals; orbital a of site i has the number i o + a.

    =========  ================  ==============================================================================
    field      shape             meaning
    =========  ================  ==============================================================================
    levels     (R, n)            the real diagonal [energy]
    i, j       (P,)              pairs of orbitals, each once: first those of the hops, then those within sites
    amplitude  (P,) or (R, P)    H[i, j] [energy]; one row for all replicas where nothing off the diagonal depends on x
    =========  ================  ==============================================================================

    Which pairs there are does not depend on x. For one orbital these are the arrays of the model itself.
    Cost: O(R N o^2).
    """

    orbitals: int
    levels: Array
    i: Array
    j: Array
    amplitude: Array
    hops: int  # B of the model
    wants_pairs: bool  # whether forces need rho of the pairs, beside its diagonal

    @classmethod
    def of(cls, model: Model, x: Array) -> Hamiltonian:
        """H_el at x (R, N, D)."""
        hops, onsite, o = model.hops(), model.onsite(x), model.orbitals
        amplitude = model.amplitudes(x) if model.needs_bonds else hops.amplitude
        if o == 1:
            return cls(1, onsite, hops.i, hops.j, amplitude, len(hops.i), model.needs_bonds)
        i, j, amplitude = _between_sites(hops, amplitude, o)
        a, c = np.triu_indices(o, 1)
        site = o * np.arange(model.lattice.sites)[:, None]
        within = onsite[..., a, c].reshape(len(x), -1)
        shared = np.broadcast_to(amplitude, (len(x), amplitude.shape[-1]))
        return cls(
            o,
            np.einsum("rnaa->rna", onsite).real.reshape(len(x), -1),
            np.concatenate([i, (site + a).ravel()]),
            np.concatenate([j, (site + c).ravel()]),
            np.concatenate([shared, within], axis=1),
            len(hops.i),
            True,
        )

    @classmethod
    def undistorted(cls, model: Model) -> Hamiltonian:
        """H_el at x = 0, which has the pairs and the kind of numbers of every other."""
        return cls.of(model, np.zeros((1, model.lattice.sites, model.components)))

    @property
    def size(self) -> int:
        """Number of orbitals n."""
        return self.levels.shape[1]

    @property
    def is_complex(self) -> bool:
        """Whether H_el is Hermitian rather than real symmetric."""
        return np.iscomplexobj(self.amplitude)

    def replica(self, r: int) -> Hamiltonian:
        """That of one replica, its amplitude of shape (P,)."""
        own = self.amplitude if self.amplitude.ndim == 1 else self.amplitude[r]
        return dataclasses.replace(self, levels=self.levels[r : r + 1], amplitude=own)

    def measured_from(self, energy: float | Array) -> Hamiltonian:
        """H_el - energy, one number or one for each replica (R, 1) [energy]."""
        return dataclasses.replace(self, levels=self.levels - energy)

    def density_matrix(self, diagonal: Array, pairs: Array | None = None) -> DensityMatrix:
        """From rho_aa (R, n) and, unless only the diagonal is wanted, rho[i, j] of all pairs (R, P)."""
        o, replicas = self.orbitals, len(diagonal)
        if pairs is None or o == 1:
            return DensityMatrix(diagonal, pairs)
        between = pairs.shape[1] - diagonal.shape[1] * (o - 1) // 2
        onsite = np.zeros((replicas, diagonal.shape[1] // o, o, o), dtype=pairs.dtype)
        a, c = np.triu_indices(o, 1)
        onsite[..., a, c] = pairs[:, between:].reshape(replicas, -1, len(a))
        onsite += onsite.conj().swapaxes(2, 3)
        np.einsum("rnaa->rna", onsite)[:] = diagonal.reshape(replicas, -1, o)
        hops = pairs[:, :between].reshape(replicas, self.hops, -1)
        if hops.shape[2] == o * o:
            return DensityMatrix(onsite, hops.reshape(replicas, self.hops, o, o))
        bonds = np.zeros((replicas, self.hops, o, o), dtype=pairs.dtype)
        np.einsum("rbaa->rba", bonds)[:] = hops
        return DensityMatrix(onsite, bonds)


def _between_sites(hops: Hops, amplitude: Array, o: int) -> tuple[Array, Array, Array]:
    """Pairs of orbitals that hops join, and their amplitudes (..., B o) or (..., B o^2)."""
    if hops.amplitude.ndim == 1:  # all orbitals alike, and no mixing
        i, j = (o * site[:, None] + np.arange(o) for site in (hops.i, hops.j))
        return i.ravel(), j.ravel(), np.repeat(amplitude, o, axis=-1)
    i = np.broadcast_to((o * hops.i[:, None] + np.arange(o))[:, :, None], (len(hops.i), o, o))
    j = np.broadcast_to((o * hops.j[:, None] + np.arange(o))[:, None, :], (len(hops.j), o, o))
    return i.ravel(), j.ravel(), amplitude.reshape(*amplitude.shape[:-3], -1)
