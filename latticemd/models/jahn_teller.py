"""The cooperative Jahn-Teller model: two e_g orbitals per site whose energies follow the shape of their surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice import Symmetry
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model
from latticemd.models.symmetry import Internal
from latticemd.parameters import parameter

TAU = np.array([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]]])  # tau_x, tau_z: what Q = (Qx, Qz) multiplies
SHAPES = np.array([np.diag([1.0, -1.0, 0.0]), np.diag([-1.0, -1.0, 2.0]) / np.sqrt(3.0)])  # of the orbitals, r.M.r


@dataclass(frozen=True)
class JahnTeller(Model):
    """Spinless electrons in the orbitals x^2-y^2 (tau_z = 1) and 3z^2-r^2 (tau_z = -1), and modes Q = (Qx, Qz) per site.

    H = -sum_<ij> (c+_i t_ij c_j + h.c.) - lam sum_i c+_i (Qx_i tau_x + Qz_i tau_z) c_i
        + sum_i [p_i^2/2m + k Q_i^2/2] + kappa sum_<ij> Q_i.Q_j

    F_i = lam <c+_i tau c_i> - k Q_i - kappa sum_{j nn i} Q_j

    t_x, t_y = t/4 [[3, -+sqrt(3)], [-+sqrt(3), 1]],     t_z = t [[0, 0], [0, 1]]

    Along each axis the orbital that points along it hops with t, and the one across it doesn't.

    ======  ===============  ===================  =======
    symbol  parameter        dimension            default
    ======  ===============  ===================  =======
    t       hopping          energy               1
    lam     coupling         energy/length        1
    k       stiffness        energy/length^2      1
    kappa   intersite        energy/length^2      0.1
    m       mass             mass                 1
    ======  ===============  ===================  =======

    Qx stands for x^2-y^2, one axis long and the other short, Qz for 3z^2-r^2. A rotation of the lattice turns orbitals and
    modes with it: on the square lattice Qz is A1 and Qx is B1, about a space diagonal of the cubic lattice (Qx, Qz) turns by
    120 degrees. kappa > 0 stands for corners that neighbours share: where one site is long, the next one is short.
    Bonds have to lie along the axes x, y and z; about others these two orbitals do not stay among themselves.

    At mu = 0 or filling 1/2, one electron per site, bipartite lattices have the particle-hole symmetry Q -> -Q.

    References: Kanamori, doi:10.1063/1.1984590 (modes and orbitals); Hotta, Malvezzi and Dagotto,
    doi:10.1103/PhysRevB.62.9432 (cooperative modes); arXiv:2405.14776 (quenches in two dimensions).
    """

    hopping: float = parameter(
        1.0, doc="hopping t of the orbital that points along a bond", dimension="energy", rampable=True
    )
    coupling: float = parameter(1.0, doc="electron-lattice coupling lam", dimension="energy/length", rampable=True)
    stiffness: float = parameter(1.0, doc="spring constant k", dimension="energy/length^2", gt=0, rampable=True)
    intersite: float = parameter(0.1, doc="coupling kappa of neighbours", dimension="energy/length^2", rampable=True)
    mass: float = parameter(1.0, doc="mass m of a mode", dimension="mass", gt=0, rampable=True)

    components: ClassVar[int] = 2
    orbitals: ClassVar[int] = 2
    title: ClassVar[str] = "Jahn-Teller model"
    symbol: ClassVar[str] = "Q"
    order_symbol: ClassVar[str] = r"Q^x_i\,(-1)^i"

    def __post_init__(self) -> None:
        super().__post_init__()
        along = np.abs(self.lattice.bond_vectors)
        if np.any(along.sum(axis=1) - along.max(axis=1) > 1e-9):
            raise InputError(
                f"model jahn_teller needs bonds along x, y and z, as e_g orbitals have them; "
                f"those of a {self.lattice.type} lattice have other directions: use chain, square or cubic"
            )

    def hops(self) -> Hops:
        """-t on the orbital that points along the bond."""
        bonds = self.lattice.bonds()
        axis = np.zeros((len(bonds.i), 3))
        axis[:, : self.lattice.dimensions] = bonds.vector / np.linalg.norm(bonds.vector, axis=1, keepdims=True)
        # The value of each orbital in the direction of the bond; together a unit vector.
        pointing = 0.5 * np.sqrt(3.0) * np.einsum("bx,axy,by->ba", axis, SHAPES, axis)
        return Hops(bonds.i, bonds.j, -self.hopping * np.einsum("b,ba,bc->bac", bonds.phase, pointing, pointing))

    def onsite(self, x: Array) -> Array:
        """-lam (Qx tau_x + Qz tau_z)."""
        return -self.coupling * np.einsum("rnk,kac->rnac", x, TAU)

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """lam <c+ tau c>."""
        out[..., 0] = 2.0 * rho.onsite[..., 0, 1].real
        out[..., 1] = rho.onsite[..., 0, 0].real - rho.onsite[..., 1, 1].real
        out *= self.coupling

    def springs(self) -> Any:
        """k on the diagonal, kappa between neighbours."""
        return self._springs

    @cached_property
    def _springs(self) -> Any:
        from scipy import sparse

        sites = self.stiffness * sparse.eye_array(self.lattice.sites) + self.intersite * self.lattice.adjacency()
        return sparse.kron(sites, sparse.eye_array(self.components), format="csr")

    def inertia(self) -> float:
        """The mass m."""
        return self.mass

    def ordered(self, amplitude: float) -> Array:
        """Qx_i = amplitude (-1)^(x+y), Qz = 0: orbitals that point along x and along y alternate."""
        return amplitude * np.outer(self.lattice.staggered, [1.0, 0.0])

    def order_field(self, x: Array, density: Array) -> Array:
        """Staggered Qx, (R, N) [length]."""
        return x[..., 0] * self.lattice.staggered

    def orbital_representation(self, operation: Symmetry) -> Array:
        """How x^2-y^2 and 3z^2-r^2 turn: as the quadratic forms of the same names."""
        rotation = np.eye(3)
        rotation[: len(operation.rotation), : len(operation.rotation)] = operation.rotation
        return 0.5 * np.einsum("axy,yu,cuv,xv->ac", SHAPES, rotation, SHAPES, rotation)

    def representation(self, operation: Symmetry) -> Array:
        """How Q turns so that Qx tau_x + Qz tau_z follows the orbitals."""
        turned = self.orbital_representation(operation)
        return 0.5 * np.einsum("kac,cd,lde,ae->kl", TAU, turned, TAU, turned)

    def internal_symmetries(self) -> list[Internal]:
        """Particle-hole symmetry, where mu = 0 or half filling meets a bipartite lattice."""
        half_filled = self.mu == 0.0 or self.filling == 0.5
        return [Internal("particle-hole", -np.eye(2))] if half_filled and self.lattice.bipartite else []
