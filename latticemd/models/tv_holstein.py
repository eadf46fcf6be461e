"""The extended t-V-Holstein model: spinless electrons that repel their neighbours and follow displacements."""

from __future__ import annotations

from dataclasses import dataclass

from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.holstein import Holstein
from latticemd.models.interaction import Fields, Interacting, hartree_fock, on_neighbours
from latticemd.parameters import parameter


@dataclass(frozen=True)
class TVHolstein(Holstein, Interacting):
    """Holstein's spinless electrons with a repulsion between neighbours, in mean field.

    H = H_Holstein + V sum_<ij> (n_i - 1/2)(n_j - 1/2)

    F_i = g (<n_i> - 1/2) - k Q_i - kappa sum_{j nn i} Q_j

    ======  ===============  ===================  =======
    symbol  parameter        dimension            default
    ======  ===============  ===================  =======
    V       repulsion        energy               1
    ======  ===============  ===================  =======

    and those of `Holstein`; nothing repels a vacancy. V > 0 drives the same charge order as g does, and its exchange widens
    the band: t + V <c+_j c_i> in place of t. With the symmetric form mu = 0 is half filling on bipartite lattices, and the
    particle-hole map holds. For electrons with a spin take `HubbardHolstein`.

    Needs the force field `mean_field`; H_el without it, in `hops` and `onsite`, is that of one electron alone.

    Reference: Hirsch and Fradkin, Phys. Rev. B 27, 4302 (1983), doi:10.1103/PhysRevB.27.4302 (spinless electrons and phonons).
    """

    repulsion: float = parameter(
        1.0, doc="repulsion V of electrons on neighbouring sites", dimension="energy", rampable=True
    )

    def mean_fields(self, rho: DensityMatrix) -> Fields:
        """Hartree V sum_j (n_j - 1/2) on sites, Fock -V rho_ij on bonds."""
        hops = self.hops()
        return hartree_fock(rho, hops, 0.0, on_neighbours(self.repulsion, hops, self.lattice))

    def _reach(self) -> float:
        # V/2 by the charge of each neighbour and V/2 by exchange with it.
        return super()._reach() + self.lattice.neighbours().shape[1] * abs(self.repulsion)
