"""The extended Hubbard-Holstein model: electrons with a spin that repel each other and follow displacements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.holstein import Holstein
from latticemd.models.interaction import Fields, Interacting, hartree_fock, on_neighbours
from latticemd.models.model import Array
from latticemd.parameters import parameter


@dataclass(frozen=True)
class HubbardHolstein(Holstein, Interacting):
    """Electrons with a spin, a repulsion on each site and between neighbours, and one displacement Q per site; in mean field.

    H = -sum_ijs t_ij (c+_is c_js + h.c.) + sum_i [e_i n_i - g (n_i - 1) Q_i]
        + U sum_i (n_i,up - 1/2)(n_i,down - 1/2) + V sum_<ij> (n_i - 1)(n_j - 1)
        + sum_i [p_i^2/2m + k Q_i^2/2] + kappa sum_<ij> Q_i Q_j,          n_i = n_i,up + n_i,down

    F_i = g (<n_i> - 1) - k Q_i - kappa sum_{j nn i} Q_j

    ======  ======================  ===================  =======
    symbol  parameter               dimension            default
    ======  ======================  ===================  =======
    U       hubbard                 energy               4
    V       repulsion               energy               0
    ======  ======================  ===================  =======

    and t, a, t', g, k, kappa, m, W, x as in `Holstein`; nothing repels a vacancy. The orbitals of a site are up and down. U
    favours a checkerboard of spins, g and V one of pairs of electrons: on a bipartite lattice with z neighbours, pairs win
    where g^2/(k - z kappa) + z V > U. With the symmetric form mu = 0 is half filling there, and the particle-hole map
    Q -> -Q holds.

    Needs the force field `mean_field`; H_el without it, in `hops` and `onsite`, is that of one electron alone.

    References: Hubbard, Proc. R. Soc. A 276, 238 (1963), doi:10.1098/rspa.1963.0204; Weber and Hohenadler, arXiv:1709.01096
    (Hubbard-Holstein in two dimensions, beyond mean field).
    """

    hubbard: float = parameter(4.0, doc="repulsion U of two electrons on a site", dimension="energy", rampable=True)
    repulsion: float = parameter(
        0.0, doc="repulsion V of electrons on neighbouring sites", dimension="energy", rampable=True
    )

    orbitals: ClassVar[int] = 2
    order_symbol: ClassVar[str] = r"(n_i-1)\,(-1)^{x+y}"

    def onsite(self, x: Array) -> Array:
        """e_i - g Q_i for both spins."""
        levels: Array = super().onsite(x)[..., None, None] * np.eye(2)
        return levels

    def electron_constant(self, x: Array) -> Array:
        """+g sum_i Q_i, from the 1 in n_i - 1."""
        return 2.0 * super().electron_constant(x)

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """g (<n_i> - 1)."""
        super().electronic_force(DensityMatrix(rho.density - 0.5), x, out)

    def mean_fields(self, rho: DensityMatrix) -> Fields:
        """Hartree and spin flips of U, Hartree of V on sites, Fock of V on bonds."""
        hops = self.hops()
        within = np.where(self._vacant, 0.0, self.hubbard) if self.vacancies else self.hubbard
        return hartree_fock(rho, hops, within, on_neighbours(self.repulsion, hops, self.lattice))

    def moments(self, rho: DensityMatrix) -> dict[str, Array]:
        """|1/N sum_i (-1)^(x+y) <S_i>| and 1/N sum_i |<S_i>|, both 1/2 for saturated antiferromagnetic order."""
        s = self.spins(rho)
        staggered = np.einsum("rnk,n->rk", s, self.lattice.staggered) / s.shape[1]
        return {
            "staggered_spin": np.linalg.norm(staggered, axis=1),
            "local_spin": np.linalg.norm(s, axis=2).mean(axis=1),
        }

    @staticmethod
    def spins(rho: DensityMatrix) -> Array:
        """<S_i> = Tr[rho_i sigma]/2, (R, N, 3)."""
        flip, up, down = rho.onsite[..., 1, 0], rho.onsite[..., 0, 0], rho.onsite[..., 1, 1]
        return np.stack([flip.real, flip.imag, 0.5 * (up - down).real], axis=-1)

    def _reach(self) -> float:
        # U/2 by the other spin; V by the charge of each neighbour and V/2 by exchange with it.
        return (
            super()._reach() + 0.5 * abs(self.hubbard) + 1.5 * self.lattice.neighbours().shape[1] * abs(self.repulsion)
        )
