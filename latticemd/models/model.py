"""The Model interface: a Hamiltonian of classical variables on lattice sites coupled to free electrons."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import table_beside
from latticemd.errors import InputError
from latticemd.lattice import Lattice, Symmetry
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.symmetry import Internal, Undistorted
from latticemd.parameters import parameter

Array = NDArray[Any]


class Motion(enum.Enum):
    """How the classical variables of a model can move; an integrator says which one it is for."""

    DISPLACEMENT = "displacement"  # x with a mass: second order, or overdamped
    SPIN = "spin"  # unit vectors that precess, D = 3
    OCCUPATION = "occupation"  # 0 or 1 on every site, exchanged between neighbours


def require_displacements(model: Model, what: str) -> None:
    """Raise InputError, saying that `what` is for displacements, unless the model moves them."""
    if model.motion is not Motion.DISPLACEMENT:
        raise InputError(
            f"{what} is for displacements, but the variables of {type(model).__name__} are {model.motion.value}s"
        )


@dataclass(frozen=True)
class Model(ABC):
    """A Hamiltonian on a lattice. Subclasses are frozen dataclasses whose `parameter` fields are the keys of `model:`.

    The free energy whose gradient moves x is

        Omega(x) = V(x) + C(x) - kT_el sum_n log(1 + exp(-(e_n - mu)/kT_el)),     H_el(x) |n> = e_n |n>

    with V `classical_energy` and C `electron_constant`; at fixed filling, Omega + mu N_el.
    """

    lattice: Lattice
    _: KW_ONLY
    electronic_temperature: float = parameter(
        0.1, doc="temperature of the electrons; the bath's unless given", dimension="energy", gt=0, rampable=True
    )
    mu: float | None = parameter(
        None, doc="chemical potential (grand canonical, the default: 0)", dimension="energy", rampable=True
    )
    filling: float | None = parameter(
        None, doc="electrons per orbital (canonical); excludes mu", gt=0, lt=1, rampable=True
    )

    orbitals: ClassVar[int] = 1  # o
    motion: ClassVar[Motion] = Motion.DISPLACEMENT
    needs_bonds: ClassVar[bool] = False  # whether hops follow x, so that forces need rho between sites
    interacting: ClassVar[bool] = False  # whether electrons repel each other, see `latticemd.models.interaction`
    electronic: ClassVar[bool] = True  # whether there are electrons at all; if not, the force field has the whole force
    title: ClassVar[str] = ""  # of figures; made from the name of the plug-in where it is empty
    symbol: ClassVar[str] = "x"  # the classical variable in figures
    order_symbol: ClassVar[str] = r"(n_i-1/2)\,(-1)^i"  # what `order_field` returns, as LaTeX, in figures

    def __post_init__(self) -> None:
        if self.mu is not None and self.filling is not None:
            raise InputError("give either mu (grand canonical) or filling (canonical), not both")
        if self.mu is None and self.filling is None:
            object.__setattr__(self, "mu", 0.0)

    @property
    @abstractmethod
    def components(self) -> int:
        """D, classical variables per site: a number in the class, or a property where the lattice decides."""

    # electrons

    @abstractmethod
    def hops(self) -> Hops:
        """Hopping amplitudes at x = 0 [energy]. Which sites they join never depends on parameters that ramp."""

    def amplitudes(self, x: Array) -> Array:
        """The amplitudes of `hops` at x [energy]: the same array, or one with R in front where hops follow x (`needs_bonds`)."""
        return self.hops().amplitude

    @abstractmethod
    def onsite(self, x: Array) -> Array:
        """On-site part of H_el, (R, N, D) -> (R, N), or Hermitian matrices (R, N, o, o) for several orbitals [energy]."""

    def electron_constant(self, x: Array) -> Array:
        """C(x), the part of the electronic Hamiltonian that multiplies no electron operator, (R,) [energy]; 0 by default."""
        zero: Array = np.zeros_like(x[:, 0, 0])
        return zero

    @abstractmethod
    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """Hellmann-Feynman: write -dC/dx - Tr[rho dH_el/dx] to `out` (R, N, D)."""

    # classical variables

    def springs(self) -> Any:
        """K of the quadratic part x.K.x/2 of V, a SciPy sparse matrix (N D, N D) with index i D + component [energy/length^2].

        The next five methods follow from it; models with other terms, or with faster ways to sum them, override those.
        """
        raise NotImplementedError(
            f"{type(self).__name__} defines neither springs() nor its own classical energy and force"
        )

    def classical_energy(self, x: Array) -> Array:
        """V(x), (R, N, D) -> (R,) [energy]."""
        springs = self.springs()
        return 0.5 * self.lattice.total(np.stack([one * (springs @ one.ravel()).reshape(one.shape) for one in x]))

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Write `electronic` - dV/dx to `out`, all (R, N, D) [energy/length]."""
        springs = self.springs()
        for r, one in enumerate(x):
            np.subtract(electronic[r], (springs @ one.ravel()).reshape(one.shape), out=out[r])

    def inertia(self) -> float:
        """Mass of a classical variable [mass]; 1 unless the model says otherwise."""
        return 1.0

    def site_masses(self) -> float | Array:
        """`inertia`, or in a model without springs the mass of each site, (N, 1), whose smallest is `inertia` [mass]."""
        return self.inertia()

    def harmonic_stiffness(self) -> float:
        """k of the part k x^2/2 of V that is diagonal in sites, the one a rotation (letter R) integrates exactly."""
        return float(self.springs().diagonal().min())

    def largest_stiffness(self) -> float:
        """An upper bound on the curvature of V: with `inertia` it gives the stiffest frequency [energy/length^2]."""
        return float(abs(self.springs()).sum(axis=1).max())

    def smallest_stiffness(self) -> float:
        """The lowest curvature of V, where the model knows it [energy/length^2]: below zero, V does not confine x."""
        return 0.0

    def admissible(self, x: Array) -> Array:
        """The allowed configuration that a start x (R, N, D) stands for: unit vectors for spins, 0 and 1 for occupations."""
        return x

    @property
    def reach(self) -> int:
        """Layers of cells around the cell of a site that its classical force and its order depend on."""
        return self.lattice.layers(1)

    @property
    def portable(self) -> bool:
        """Whether all functions of x compute where x lives, on a GPU too, without anything from the host."""
        return False

    # order and symmetry

    @abstractmethod
    def ordered(self, amplitude: float) -> Array:
        """The perfectly ordered pattern of x with this amplitude, (N, D) [length]."""

    def order_field(self, x: Array, density: Array) -> Array:
        """Local order parameter (R, N); here the staggered charge (n_i - o/2) (-1)^i, from the density (R, N).

        (-1)^i is `Lattice.staggered`, the sign of the sublattice.
        """
        return (density - 0.5 * self.orbitals) * table_beside(self.lattice.staggered, density)

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """The operations of the lattice that keep H_el at x = 0; with `translations` False, those about the origin only."""
        undistorted = Undistorted(self)
        for operation in self.lattice.symmetries(translations):
            if undistorted.kept_by(operation, self.orbital_representation(operation)):
                yield operation

    def representation(self, operation: Symmetry) -> Array | None:
        """The matrix (D, D) that turns the components of x under an operation of the lattice; None if it is not known.

        A scalar stays as it is; a model of vectors in space returns `operation.rotation`.
        """
        return np.eye(1) if self.components == 1 else None

    def orbital_representation(self, operation: Symmetry) -> Array:
        """The unitary matrix (o, o) that turns the orbitals of a site under an operation of the lattice."""
        return np.eye(self.orbitals)

    def internal_symmetries(self) -> list[Internal]:
        """Symmetries beside the space group that hold exactly for these parameters."""
        return []

    @property
    def axes(self) -> tuple[int, ...]:
        """The directions of space (0, 1, 2) along which viewers see the components of x; a scalar is drawn as a height."""
        return (2,) if self.components == 1 else tuple(range(self.components))

    def displaced(self, x: Array) -> Array:
        """Positions in three dimensions that show x to a viewer, (R, N, D) -> (R, N, 3)."""
        shown = np.zeros((*x.shape[:2], 3))
        shown[..., : self.lattice.dimensions] = self.lattice.positions
        shown[..., list(self.axes)] += x
        return shown
