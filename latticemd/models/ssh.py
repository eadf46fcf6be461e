"""The Su-Schrieffer-Heeger (Peierls) model: electrons whose hops follow the lengths of the bonds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice import Lattice, Symmetry
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model
from latticemd.models.symmetry import Internal
from latticemd.parameters import parameter


@dataclass(frozen=True)
class SSH(Model):
    """Spinless electrons on sites that move in space: u_i has as many components as the lattice has dimensions.

    H = -sum_<ij> [t - alpha s_ij] (c+_i c_j + h.c.) + sum_i [p_i^2/2m + k u_i^2/2]
        + K/2 sum_<ij> s_ij^2 + K'/2 sum_<<ij>> s_ij^2,           s_ij = (u_j - u_i).e_ij

    F_j = sum_{i nn j} [-2 alpha Re <c+_i c_j> - K s_ij] e_ij - K' sum_{i nnn j} s_ij e_ij - k u_j

    s_ij is the stretch of the bond along e_ij, which points from i to j. A bond that becomes longer hops less.

    ======  ===============  ===================  =======
    symbol  parameter        dimension            default
    ======  ===============  ===================  =======
    t       hopping          energy               1
    alpha   coupling         energy/length        1
    K       stiffness        energy/length^2      1
    K'      next_stiffness   energy/length^2      0
    k       pinning          energy/length^2      0
    m       mass             mass                 1
    ======  ===============  ===================  =======

    Without pinning nothing holds the lattice as a whole: it drifts, sound waves have no gap, and the letter R, which
    rotates with k alone, is a drift as A is. On the square lattice K lets rows slide along themselves, which costs
    electrons nothing either; K' > 0 ties them together. Springs between sites make many patterns compete there
    (arXiv:cond-mat/0104423), while pinning, which weighs all wave vectors alike, prefers (pi, pi).

    Electrons count once; those with spin weigh twice as much, which is the same as K/2, K'/2, k/2 and m/2 here.
    For distortions that shift the levels of sites instead, Holstein is the model of choice.

    References: Su, Schrieffer and Heeger, doi:10.1103/PhysRevLett.42.1698 and doi:10.1103/PhysRevB.22.2099;
    arXiv:2510.20659 (quenches in two dimensions).
    """

    hopping: float = parameter(1.0, doc="hopping t of a bond at rest", dimension="energy", rampable=True)
    coupling: float = parameter(
        1.0, doc="change alpha of the hopping with the bond's length", dimension="energy/length", rampable=True
    )
    stiffness: float = parameter(
        1.0, doc="spring constant K along bonds", dimension="energy/length^2", ge=0, rampable=True
    )
    next_stiffness: float = parameter(
        0.0, doc="spring constant K' along lines to second neighbours", dimension="energy/length^2", ge=0
    )
    pinning: float = parameter(
        0.0, doc="spring constant k that holds a site at its place", dimension="energy/length^2", ge=0, rampable=True
    )
    mass: float = parameter(1.0, doc="mass m of a site", dimension="mass", gt=0, rampable=True)

    needs_bonds: ClassVar[bool] = True
    title: ClassVar[str] = "SSH model"
    symbol: ClassVar[str] = "u"
    order_symbol: ClassVar[str] = r"u_i\,(-1)^i"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stiffness + self.pinning <= 0.0:
            raise InputError(
                f"no spring holds the bonds: stiffness {self.stiffness:g} and pinning {self.pinning:g}; "
                "one of them has to be > 0"
            )
        if self.next_stiffness > 0.0:
            self.lattice.require_cells(2)

    @property
    def components(self) -> int:
        """D, the dimensions of space."""
        return self.lattice.dimensions

    def hops(self) -> Hops:
        """-t on every nearest-neighbour bond."""
        bonds = self.lattice.bonds()
        return Hops(bonds.i, bonds.j, -self.hopping * bonds.phase)

    def amplitudes(self, x: Array) -> Array:
        """-(t - alpha s) on every bond, (R, B)."""
        stretch = np.stack([stretches(self.lattice) @ one.ravel() for one in x])
        return (self.coupling * stretch - self.hopping) * self.lattice.bonds().phase

    def onsite(self, x: Array) -> Array:
        """Zero: levels do not depend on where sites are."""
        return np.zeros(x.shape[:2])

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """-2 alpha Re <c+_i c_j> along each bond on its end j, and the opposite on i."""
        assert rho.bonds is not None
        back = stretches(self.lattice).T
        for r, between in enumerate((rho.bonds.conj() * self.lattice.bonds().phase).real):
            out[r] = (back @ (-2.0 * self.coupling * between)).reshape(out[r].shape)

    def springs(self) -> Any:
        """k + K along bonds + K' along lines to second neighbours."""
        return self._springs

    @cached_property
    def _springs(self) -> Any:
        from scipy import sparse

        total = self.pinning * sparse.eye_array(self.lattice.sites * self.components, format="csr")
        total = total + self.stiffness * spring_matrix(self.lattice)
        if self.next_stiffness > 0.0:
            total = total + self.next_stiffness * spring_matrix(self.lattice, 2)
        return total

    def inertia(self) -> float:
        """The mass m."""
        return self.mass

    @property
    def reach(self) -> int:
        """That of springs to second neighbours, where there are any."""
        return max(self.lattice.layers(shell) for shell in ((1, 2) if self.next_stiffness else (1,)))

    def harmonic_stiffness(self) -> float:
        """The pinning k: springs between sites leave a lattice that moves as a whole alone, and so must the letter R."""
        return self.pinning

    def ordered(self, amplitude: float) -> Array:
        """u_i = amplitude (-1)^(x+y) along the first direction of the grid: along it long and short bonds alternate."""
        along = self.lattice.vectors[0]
        return amplitude * np.outer(self.lattice.staggered, along / np.abs(along).max())

    def order_field(self, x: Array, density: Array) -> Array:
        """Dimerisation (R, N) [length]: the amplitude in the ordered pattern, blind to shifts of the whole lattice.

        phi_i = (-1)^(x+y) s.(sum_{j nn i} [(u_i - u_j).e_ij] e_ij)/4 on a chain, square or cubic lattice; the 4 is another
        number elsewhere. s is the sum of the unit vectors along the grid, so that dimers along each direction count alike,
        and the sign of phi tells the two domains of each apart.
        """
        field = dimerisation(self)
        return np.stack([field @ one.ravel() for one in x])

    def representation(self, operation: Symmetry) -> Array:
        """That of a vector in space."""
        return operation.rotation

    def internal_symmetries(self) -> list[Internal]:
        """Shifts of the whole lattice, where nothing pins it."""
        return [Internal("uniform shift", np.eye(self.components), 0.5)] if self.pinning == 0.0 else []

    @property
    def axes(self) -> tuple[int, ...]:
        """Where the sites move, also on a chain."""
        return tuple(range(self.components))


@lru_cache(maxsize=8)
def stretches(lattice: Lattice, shell: int = 1) -> Any:
    """The sparse matrix (B, N D) that takes u to the stretch (u_j - u_i).e_ij of every line to a neighbour of a shell."""
    from scipy import sparse

    bonds = lattice.bonds(shell)
    along = bonds.vector / np.linalg.norm(bonds.vector, axis=1, keepdims=True)
    count, space = along.shape
    row = np.repeat(np.arange(count), space)
    ends = [(space * site[:, None] + np.arange(space)).ravel() for site in (bonds.i, bonds.j)]
    entries = np.concatenate([-along.ravel(), along.ravel()]), (np.tile(row, 2), np.concatenate(ends))
    return sparse.coo_array(entries, shape=(count, lattice.sites * space)).tocsr()


@lru_cache(maxsize=8)
def spring_matrix(lattice: Lattice, shell: int = 1) -> Any:
    """The sparse matrix (N D, N D) of springs of unit strength along the lines to the neighbours of a shell."""
    matrix = stretches(lattice, shell)
    return (matrix.T @ matrix).tocsr()


def dimerisation(model: SSH) -> Any:
    """The sparse matrix (N, N D) that takes u to the order field of `model`."""
    from scipy import sparse

    lattice = model.lattice
    unit = lattice.vectors / np.linalg.norm(lattice.vectors, axis=1, keepdims=True)
    across = sparse.kron(sparse.diags_array(lattice.staggered), unit.sum(axis=0)[None, :], format="csr")
    field = across @ spring_matrix(lattice)
    of_order = (field @ model.ordered(1.0).ravel())[None]
    return field / (lattice.total(of_order)[0] / lattice.whole.sites)
