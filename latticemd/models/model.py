"""The Model interface: a Hamiltonian of classical variables on lattice sites coupled to free electrons."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice, Symmetry
from latticemd.parameters import parameter

Array = NDArray[Any]


class Motion(enum.Enum):
    """How the classical variables of a model can move."""

    DISPLACEMENT = "displacement"  # x with a mass: second order, or overdamped


@dataclass(frozen=True)
class Hops:
    """The part of H_el that does not change with x: H[i, j] = amplitude, H[j, i] = conj(amplitude); all of shape (B,)."""

    i: Array
    j: Array
    amplitude: Array


@dataclass(frozen=True)
class Internal:
    """An internal symmetry: x -> factor * x maps the energy to itself and the force to factor * force."""

    name: str
    factor: float


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

    components: ClassVar[int]  # D, classical variables per site
    orbitals: ClassVar[int] = 1
    motion: ClassVar[Motion] = Motion.DISPLACEMENT
    symbol: ClassVar[str] = "x"  # the classical variable in figures

    def __post_init__(self) -> None:
        if self.mu is not None and self.filling is not None:
            raise InputError("give either mu (grand canonical) or filling (canonical), not both")
        if self.mu is None and self.filling is None:
            object.__setattr__(self, "mu", 0.0)

    @abstractmethod
    def hops(self) -> Hops:
        """Hopping amplitudes [energy]."""

    @abstractmethod
    def onsite(self, x: Array) -> Array:
        """On-site energies of the electrons, (R, N, D) -> (R, N) [energy]."""

    @abstractmethod
    def classical_energy(self, x: Array) -> Array:
        """V(x), (R, N, D) -> (R,) [energy]."""

    @abstractmethod
    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Write `electronic` - dV/dx to `out`, all (R, N, D) [energy/length]."""

    @abstractmethod
    def electron_constant(self, x: Array) -> Array:
        """C(x), the part of the electronic Hamiltonian that multiplies no electron operator, (R,) [energy]."""

    @abstractmethod
    def electronic_force(self, density: Array, x: Array, out: Array) -> None:
        """Hellmann-Feynman: write -dC/dx - Tr[rho dH_el/dx] to `out` (R, N, D), given the density (R, N)."""

    @abstractmethod
    def inertia(self) -> float:
        """Mass of a classical variable [mass]."""

    @abstractmethod
    def harmonic_stiffness(self) -> float:
        """k of the part k x^2/2 of V that is diagonal in sites, the one a rotation (letter R) integrates exactly."""

    @abstractmethod
    def largest_stiffness(self) -> float:
        """An upper bound on the curvature of V: with `inertia` it gives the stiffest frequency [energy/length^2]."""

    @abstractmethod
    def ordered(self, amplitude: float) -> Array:
        """The perfectly ordered pattern of x with this amplitude, (N, D) [length]."""

    def order_field(self, density: Array) -> Array:
        """Local order parameter (R, N) from the density: the staggered charge phi_i = (n_i - 1/2) (-1)^(x+y)."""
        return (density - 0.5) * self.lattice.staggered

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """The operations of the lattice that keep the hopping; with `translations` False, those about the origin only."""
        hops, sites = self.hops(), self.lattice.sites
        before = _canonical(hops.i, hops.j, hops.amplitude, sites)
        for operation in self.lattice.symmetries(translations):
            image = operation.permutation
            after = _canonical(image[hops.i], image[hops.j], hops.amplitude, sites)
            if all(np.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(before, after, strict=True)):
                yield operation

    def representation(self, operation: Symmetry) -> Array | None:
        """The matrix (D, D) that turns the components of x under an operation of the lattice; None if it is not known.

        A scalar stays as it is; a model of vectors in space returns `operation.rotation`.
        """
        return np.eye(1) if self.components == 1 else None

    def internal_symmetries(self) -> list[Internal]:
        """Symmetries beside the space group that hold exactly for these parameters."""
        return []

    def displaced(self, x: Array) -> Array:
        """Positions in three dimensions that show x to a viewer, (R, N, D) -> (R, N, 3): a scalar is drawn as a height."""
        shown = np.zeros((*x.shape[:2], 3))
        shown[..., : self.lattice.dimensions] = self.lattice.positions
        first = 2 if x.shape[2] == 1 else 0
        shown[..., first : first + x.shape[2]] += x
        return shown


def _canonical(i: Array, j: Array, amplitude: Array, sites: int) -> tuple[Array, Array]:
    """Hops in an order, and a direction, that depend on their sites alone: (key of the pair, amplitude)."""
    key = np.minimum(i, j) * sites + np.maximum(i, j)
    forwards = np.where(i <= j, amplitude, np.conj(amplitude))
    order = np.argsort(key, kind="stable")
    return key[order], forwards[order]
