"""Double exchange: electrons whose spin is tied to a classical spin on every site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from latticemd.backends import on_device, table_beside
from latticemd.errors import InputError
from latticemd.lattice import Symmetry
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model, Motion
from latticemd.models.symmetry import Internal, rotation
from latticemd.parameters import parameter

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])  # sigma_x, sigma_y, sigma_z
PAULI.setflags(write=False)
ALONG_Z = np.array([0.0, 0.0, 1.0])
ALONG_Z.setflags(write=False)


@dataclass(frozen=True)
class DoubleExchange(Model):
    """Electrons with spin coupled to one classical spin S of unit length per site (also s-d or Kondo lattice model).

    H = -t sum_<ij> sum_s (c+_is c_js + h.c.) - J sum_i S_i . c+_i sigma c_i + J_AF sum_<ij> S_i . S_j - h sum_i S_i^z

    F_i = J <c+_i sigma c_i> - J_AF sum_{j nn i} S_j + h z

    ======  ===============  =========  =======
    symbol  parameter        dimension  default
    ======  ===============  =========  =======
    t       hopping          energy     1
    J       coupling         energy     8
    J_AF    superexchange    energy     0
    h       field            energy     0
    ======  ===============  =========  =======

    The two orbitals are spin up and spin down. F = -dOmega/dS is the field in which S precesses, dS/dt = S x F, with spins
    of angular momentum 1. `order` says which order is meant by an ordered start and by the order parameter, the component
    of every spin along the mean magnetisation of its replica, or of staggered spins along the staggered magnetisation.

    Without field all rotations of the spins and, unless hops are complex, their reversal are exact symmetries; a field
    leaves the rotations about z and mirrors through it. Lattice operations move spins and do not turn them.
    For J much larger than t, electrons follow their site's spin and hop with t cos(theta/2) between spins at an angle theta.

    References: Zener, doi:10.1103/PhysRev.82.403; Anderson and Hasegawa, doi:10.1103/PhysRev.100.675;
    Yunoki et al., doi:10.1103/PhysRevLett.80.845.
    """

    hopping: float = parameter(1.0, doc="nearest-neighbour hopping t of both spins", dimension="energy", rampable=True)
    coupling: float = parameter(
        8.0, doc="coupling J of electron and classical spins", dimension="energy", rampable=True
    )
    superexchange: float = parameter(
        0.0, doc="exchange J_AF of neighbouring spins, antiferromagnetic if positive", dimension="energy", rampable=True
    )
    field: float = parameter(0.0, doc="field h on the classical spins, along z", dimension="energy", rampable=True)
    order: Literal["ferromagnet", "antiferromagnet"] = parameter(
        "ferromagnet", doc="the order of an ordered start and of the order parameter"
    )

    components: ClassVar[int] = 3
    orbitals: ClassVar[int] = 2
    motion: ClassVar[Motion] = Motion.SPIN
    title: ClassVar[str] = "Double-exchange model"
    symbol: ClassVar[str] = "S"
    order_symbol: ClassVar[str] = r"\sigma_i\,\mathbf{S}_i\cdot\mathbf{M}/|\mathbf{M}|"

    def hops(self) -> Hops:
        """-t on every nearest-neighbour bond, for both spins."""
        bonds = self.lattice.bonds()
        return Hops(bonds.i, bonds.j, -self.hopping * bonds.phase)

    def onsite(self, x: Array) -> Array:
        """-J S_i . sigma."""
        return -self.coupling * np.einsum("rnk,kac->rnac", x, table_beside(PAULI, x))

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """J <c+_i sigma c_i>."""
        out[...] = self.coupling * np.einsum("rnac,kca->rnk", rho.onsite, table_beside(PAULI, x)).real

    def classical_energy(self, x: Array) -> Array:
        """J_AF sum_<ij> S_i . S_j - h sum_i S_i^z."""
        energy: Array = -self.field * self.lattice.total(x[..., 2].copy())
        if self.superexchange:
            energy += 0.5 * self.superexchange * self.lattice.total(x * self._around(x))
        return energy

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Electronic force - J_AF sum_{j nn i} S_j + h z."""
        out[...] = electronic
        out[..., 2] += self.field
        if self.superexchange:
            out -= self.superexchange * self._around(x)

    def _around(self, x: Array) -> Array:
        """sum_{j nn i} S_j, (R, N, 3)."""
        if on_device(x):
            around = np.zeros_like(x)
            self.lattice.add_neighbours(x, around, 0.0, 1.0, around)
            return around
        adjacent = self.lattice.adjacency()
        return np.stack([adjacent @ one for one in x])

    @property
    def portable(self) -> bool:
        """Yes."""
        return True

    def harmonic_stiffness(self) -> float:
        """0: no spring holds a spin."""
        return 0.0

    def largest_stiffness(self) -> float:
        """z |J_AF|."""
        return self.lattice.neighbours().shape[1] * abs(self.superexchange)

    def admissible(self, x: Array) -> Array:
        """x / |x|. Raises InputError where x has no direction."""
        length = np.linalg.norm(x, axis=2, keepdims=True)
        if not (length > 0.0).all():
            replica, site = (int(n) for n in np.argwhere(~(length[..., 0] > 0.0))[0])
            raise InputError(
                f"the spin of replica {replica}, site {site} has length {length[replica, site, 0]:g} and so no direction; "
                "give the start an amplitude, a value or a width"
            )
        return x / length

    def ordered(self, amplitude: float) -> Array:
        """All spins along z or, for the antiferromagnet, along z and -z in turn."""
        return amplitude * self._signs[:, None] * ALONG_Z

    def order_field(self, x: Array, density: Array) -> Array:
        """The component of S_i, or of staggered spins, along their mean over the replica, (R, N); along z if that is zero."""
        spins = x if self.order == "ferromagnet" else x * table_beside(self.lattice.staggered, x)[:, None]
        mean = np.stack([self.lattice.total(spins[..., k].copy()) for k in range(3)], axis=1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        there = length > 0.0
        direction = np.where(there, mean / np.where(there, length, 1.0), table_beside(ALONG_Z, x))
        return np.einsum("rnk,rk->rn", spins, direction)

    def representation(self, operation: Symmetry) -> Array:
        """Spins keep their direction: no term couples it to that of bonds."""
        return np.eye(3)

    def internal_symmetries(self) -> list[Internal]:
        """Rotations of all spins and their reversal; with a field, rotations about z and a mirror through it."""
        if self.field:
            proper, improper = [("about z by 1", rotation([0, 0, 1], 1.0))], ("mirror", np.diag([1.0, -1.0, 1.0]))
        else:
            axes = {"about z by 1": ([0, 0, 1], 1.0), "about [1, 2, 3] by 2": ([1, 2, 3], 2.0)}
            proper, improper = [(name, rotation(*of)) for name, of in axes.items()], ("time reversal", -np.eye(3))
        found = [Internal(f"spin rotation {name}", matrix) for name, matrix in proper]
        if not np.iscomplexobj(self.hops().amplitude):  # whose conjugates are another Hamiltonian
            found.append(Internal(*improper))
        return found

    @property
    def _signs(self) -> Array:
        """What the order parameter multiplies spins by, (N,)."""
        return np.ones(self.lattice.sites) if self.order == "ferromagnet" else self.lattice.staggered
