"""The Falicov-Kimball model: electrons that hop among heavy ones, each of which sits on its site until it is exchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from latticemd.errors import InputError
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model, Motion
from latticemd.models.symmetry import Internal
from latticemd.parameters import parameter


@dataclass(frozen=True)
class FalicovKimball(Model):
    """Spinless electrons that repel heavy particles, of which every site holds none or one: n^f_i = 0, 1.

    H = -t sum_<ij> (c+_i c_j + h.c.) + U sum_i (n^f_i - 1/2)(n_i - 1/2) + V sum_<ij> (n^f_i - 1/2)(n^f_j - 1/2)

    -dOmega/dn^f_i = -U (<n_i> - 1/2) - V sum_{j nn i} (n^f_j - 1/2)

    ======  ===============  ==========  =======
    symbol  parameter        dimension   default
    ======  ===============  ==========  =======
    t       hopping          energy      1
    U       interaction      energy      4
    V       repulsion        energy      0
            heavy            1           1/2
    ======  ===============  ==========  =======

    `heavy` is the share of sites with a heavy particle: round(heavy N) of them, whatever moves. The force takes n^f for real
    numbers; it is the field that a heavy particle feels, while what moves it are differences of Omega between two
    arrangements.

    mu = 0 is half filling, where bipartite lattices have the particle-hole symmetry n^f -> 1 - n^f, n -> 1 - n. With 1/2
    subtracted everywhere, mu and the field on the heavy particles of the plain form U n^f n + V n^f n^f are shifted by
    constants.

    At equal temperatures of electrons and bath, exp(-Omega/kT) is the exact weight of an arrangement, not an adiabatic
    approximation: the n^f commute with H. Heavy particles that vibrate instead of hopping are the Holstein model.

    References: Falicov and Kimball, doi:10.1103/PhysRevLett.22.997; Kennedy and Lieb, doi:10.1016/0378-4371(86)90188-3
    (checkerboard order); Freericks and Zlatic, doi:10.1103/RevModPhys.75.1333 (review).
    """

    hopping: float = parameter(1.0, doc="nearest-neighbour hopping t", dimension="energy", rampable=True)
    interaction: float = parameter(
        4.0, doc="repulsion U of a heavy particle and an electron on one site", dimension="energy", rampable=True
    )
    repulsion: float = parameter(
        0.0, doc="repulsion V of heavy particles on neighbouring sites", dimension="energy", rampable=True
    )
    heavy: float = parameter(0.5, doc="share of sites with a heavy particle", ge=0, le=1)

    components: ClassVar[int] = 1
    motion: ClassVar[Motion] = Motion.OCCUPATION
    title: ClassVar[str] = "Falicov-Kimball model"
    symbol: ClassVar[str] = "n^f"
    order_symbol: ClassVar[str] = r"(n^f_i-1/2)\,(-1)^i"

    def hops(self) -> Hops:
        """-t on every nearest-neighbour bond."""
        bonds = self.lattice.bonds()
        return Hops(bonds.i, bonds.j, -self.hopping * bonds.phase)

    def onsite(self, x: Array) -> Array:
        """U (n^f_i - 1/2)."""
        return self.interaction * (x[..., 0] - 0.5)

    def electron_constant(self, x: Array) -> Array:
        """-U/2 sum_i (n^f_i - 1/2), from the 1/2 in n_i - 1/2."""
        return -0.5 * self.interaction * self.lattice.total(x - 0.5)

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """-U (<n_i> - 1/2)."""
        np.subtract(0.5, rho.onsite, out=out[..., 0])
        out *= self.interaction

    def springs(self) -> Any:
        """V between neighbours."""
        return self.repulsion * self.lattice.adjacency()

    def classical_energy(self, x: Array) -> Array:
        """V sum_<ij> (n^f_i - 1/2)(n^f_j - 1/2)."""
        return super().classical_energy(x - 0.5)

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Electronic force - V sum_{j nn i} (n^f_j - 1/2)."""
        super().total_force(x - 0.5, electronic, out)

    def exchange_energies(self, x: Array) -> Array:
        """What exchanging the heavy particles of the two sites of each bond would add to V, (R, N, 1) -> (R, B) [energy].

        An exchange swaps the levels of the two sites, which is all that the electrons notice.
        """
        bonds = self.lattice.bonds()
        field = np.zeros_like(x)  # -dV/dn^f
        self.total_force(x, field.copy(), field)
        moved = x[:, bonds.j, 0] - x[:, bonds.i, 0]
        energy: Array = moved * (field[:, bonds.j, 0] - field[:, bonds.i, 0]) - self.repulsion * moved**2
        return energy

    def admissible(self, x: Array) -> Array:
        """Heavy particles on those round(heavy N) sites where x is largest, of equal ones on those with the smallest numbers.

        Raises InputError for arrangements of zeros and ones that hold another number of them.
        """
        wanted = round(self.heavy * self.lattice.sites)
        for r, one in enumerate(x):
            held = int(np.count_nonzero(one == 1.0))
            if held != wanted and np.isin(one, (0.0, 1.0)).all():
                raise InputError(
                    f"the arrangement of replica {r} has {held} heavy particles on {self.lattice.sites} sites, but "
                    f"heavy: {self.heavy:g} asks for {wanted}; use heavy: {held / self.lattice.sites:g}"
                )
        largest = np.argsort(-x[..., 0], axis=1, kind="stable")[:, :wanted]
        occupied = np.zeros_like(x)
        np.put_along_axis(occupied[..., 0], largest, 1.0, axis=1)
        return occupied

    def ordered(self, amplitude: float) -> Array:
        """amplitude (-1)^i, which `admissible` turns into the checkerboard where `heavy` is 1/2."""
        return amplitude * self.lattice.staggered[:, None]

    def order_field(self, x: Array, density: Array) -> Array:
        """(n^f_i - 1/2) (-1)^i: 1/2 everywhere in one checkerboard, -1/2 in the other."""
        field: Array = (x[..., 0] - 0.5) * self.lattice.staggered
        return field

    def internal_symmetries(self) -> list[Internal]:
        """Particle-hole symmetry, where mu = 0 or half filling meets a bipartite lattice."""
        half_filled = self.mu == 0.0 or self.filling == 0.5
        return [Internal("particle-hole", -np.eye(1), 1.0)] if half_filled and self.lattice.bipartite else []
