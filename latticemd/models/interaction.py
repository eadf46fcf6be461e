"""Electrons that repel each other, in mean field: which fields act on one electron, and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Fields:
    """What the other electrons add to H_el of one electron, and their interaction energy Phi.

    ========  =========================  ==============================================================================
    field     shape                      meaning
    ========  =========================  ==============================================================================
    onsite    (R, N) or (R, N, o, o)     dPhi/drho of each site, added to `Model.onsite` [energy]
    bonds     (R, B) or (R, B, o, o)     of each hop, added to `Model.amplitudes` [energy]
    energy    (R,)                       Phi[rho] [energy]
    ========  =========================  ==============================================================================

    dPhi = sum_i Tr[onsite_i drho_i] + 2 Re sum_b Tr[bonds_b^+ drho_b]
    """

    onsite: Array
    bonds: Array
    energy: Array


@dataclass(frozen=True)
class Interacting(Model, ABC):
    """A model whose electrons interact. Its `hops` and `onsite` are those of one electron without the others.

    In mean field (unrestricted Hartree-Fock) the interaction is replaced by its Wick contractions Phi[rho], and

        Omega = Omega[H_el + Sigma] - Tr[rho Sigma] + Phi[rho],     Sigma = dPhi/drho,     rho = f(H_el + Sigma)

    whose derivative by Sigma vanishes when Sigma and rho belong to each other: the Hellmann-Feynman force of rho is then the
    whole gradient. A force field has to say that it treats interactions (`Capabilities.interactions`) to serve such a model.
    """

    interacting: ClassVar[bool] = True

    @abstractmethod
    def mean_fields(self, rho: DensityMatrix) -> Fields:
        """Sigma and Phi of a density matrix with its bonds."""

    def moments(self, rho: DensityMatrix) -> dict[str, Array]:
        """Orders that the density alone does not show, by name, (R,) in pure numbers; none by default."""
        return {}


def on_neighbours(energy: float, hops: Hops, lattice: Lattice) -> Array:
    """The energy on hops between nearest neighbours and zero on all others, (B,)."""
    bonds = lattice.bonds()
    pairs, near = (np.minimum(b.i, b.j) * lattice.sites + np.maximum(b.i, b.j) for b in (hops, bonds))
    return np.where(np.isin(pairs, near), energy, 0.0)


def hartree_fock(rho: DensityMatrix, hops: Hops, within: float | Array, between: Array) -> Fields:
    """Sigma and Phi of U sum_i (n_i,up - 1/2)(n_i,down - 1/2) + sum_b V_b (n_i - o/2)(n_j - o/2) over hops b = (i, j).

    With the excess e_i = Tr rho_i - o/2 and rho_ij the block of a hop,

        Phi     = U sum_i (det rho_i - Tr rho_i / 2 + 1/4) + sum_b V_b (e_i e_j - Tr[rho_ij rho_ij^+])
        Sigma_i = U ((Tr rho_i - 1/2) 1 - rho_i) + sum_j V_ij e_j            Hartree, and the spin flips of U
        Sigma_b = -V_b rho_ij                                                Fock: exchange widens the band

    `within` is U [energy], one number or one for each site, without meaning for one orbital; `between` is V_b (B,) [energy].
    Cost: O(R (N + B) o^2).
    """
    o = 1 if rho.onsite.ndim == 2 else rho.onsite.shape[2]
    assert rho.bonds is not None, "exchange between sites needs the density matrix of bonds"
    excess = rho.density - 0.5 * o
    hartree = np.zeros_like(excess)
    for r in range(len(excess)):
        np.add.at(hartree[r], hops.i, between * excess[r, hops.j])
        np.add.at(hartree[r], hops.j, between * excess[r, hops.i])
    weight = between.reshape(-1, *[1] * (rho.bonds.ndim - 2))
    exchange = (weight * np.abs(rho.bonds) ** 2).reshape(len(excess), -1).sum(axis=1)
    energy = 0.5 * np.einsum("rn,rn->r", excess, hartree) - exchange
    if o == 1:
        return Fields(hartree, -weight * rho.bonds, energy)
    unit, double = np.eye(o), _determinant(rho.onsite)
    own = np.broadcast_to(within, excess.shape)[..., None, None]
    onsite = (hartree[..., None, None] + own * (rho.density - 0.5)[..., None, None]) * unit - own * rho.onsite
    energy += (within * (double - 0.5 * rho.density + 0.25)).sum(axis=1)
    return Fields(onsite, -weight * rho.bonds, energy)


def _determinant(blocks: Array) -> Array:
    """<n_up n_down> of the 2 x 2 blocks of a Hermitian matrix, real."""
    determinant: Array = (blocks[..., 0, 0] * blocks[..., 1, 1] - blocks[..., 0, 1] * blocks[..., 1, 0]).real
    return determinant
