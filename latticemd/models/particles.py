"""Particles in space: no lattice and no electrons, only positions, charges and masses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice import Points, Symmetry
from latticemd.models.disorder import uniforms
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model
from latticemd.models.symmetry import Internal, rotation
from latticemd.parameters import parameter
from latticemd.rng import Stream


@dataclass(frozen=True)
class Particles(Model):
    """N particles at x_i in open space with charges q_i and masses m_i; the force field says how they attract and repel.

    H = sum_i p_i^2/2m_i + U(x_1, ..., x_N; q_1, ..., q_N)

    ======  ===============  ===================  ==========
    symbol  parameter        dimension            default
    ======  ===============  ===================  ==========
    |q_i|   charge           charge               1
            charges                               random
    m_i     mass             mass                 1
            masses           mass                 none
    ======  ===============  ===================  ==========

    Charges are +-|q|: signs are drawn with `charge_seed` for each particle, alternate, or are all positive; or `charges` lists
    them all, [1, -1, 2]. Particles have one `mass`, or `masses` lists that of each. U comes from a
    force field for particles, such as `coulomb`, `springs`, `gravity` or `lennard_jones`; those for electrons refuse. It
    depends on distances alone, so that shifts, rotations and reflections of space are exact symmetries, and particles of
    the same charge and mass may change places.

    For fields on the sites of a lattice, choose one of the other models.
    """

    charge: float = parameter(1.0, doc="magnitude |q| of the charges", dimension="charge", ge=0)
    charges: Literal["random", "alternating", "positive"] | tuple[float, ...] = parameter(
        "random", doc="'random', 'alternating' or 'positive' signs, or the list of all charges"
    )
    charge_seed: int = parameter(0, doc="seed of random signs", ge=0, lt=2**64)
    mass: float = parameter(1.0, doc="mass m of a particle", dimension="mass", gt=0)
    masses: tuple[float, ...] | None = parameter(
        None, doc="a list of the masses of all particles, instead of mass", dimension="mass"
    )
    # There are no electrons whose temperature and number could be chosen.
    electronic_temperature: float = field(default=0.0, init=False)
    mu: float | None = field(default=None, init=False)
    filling: float | None = field(default=None, init=False)

    components: ClassVar[int] = 3
    electronic: ClassVar[bool] = False
    title: ClassVar[str] = "Particles"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.lattice, Points):
            raise InputError(
                f"particles are points in space, not sites of a {self.lattice.type} lattice; use lattice: {{type: points, "
                "shape: [N]}"
            )
        if not isinstance(self.charges, str):
            object.__setattr__(self, "charges", self._one_each("charges", self.charges))
        if self.masses is not None:
            object.__setattr__(self, "masses", self._one_each("masses", self.masses))
            if min(self.masses) <= 0.0:
                raise InputError(f"masses have to be > 0, and the smallest is {min(self.masses):g}")
            if self.mass != 1.0:
                raise InputError(f"give either mass or masses, not both; mass is {self.mass:g}")

    @cached_property
    def q(self) -> Array:
        """q_i, (N,) [charge]."""
        n = self.lattice.sites
        if not isinstance(self.charges, str):
            return np.array(self.charges)
        if self.charges == "random":
            signs = np.where(uniforms(self.charge_seed, Stream.DISORDER, n) < 0.5, -1.0, 1.0)
        else:
            signs = 1.0 - 2.0 * (np.arange(n) % 2) if self.charges == "alternating" else np.ones(n)
        return self.charge * signs

    def hops(self) -> Hops:
        """None."""
        none = np.zeros(0, dtype=np.int64)
        return Hops(none, none, np.zeros(0))

    def onsite(self, x: Array) -> Array:
        """Zero."""
        return np.zeros(x.shape[:2])

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """Zero."""
        out[...] = 0.0

    def classical_energy(self, x: Array) -> Array:
        """Zero: the force field has the whole energy, (R,)."""
        return np.zeros(len(x))

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """That of the force field."""
        out[...] = electronic

    @cached_property
    def m(self) -> Array:
        """m_i, (N,) [mass]."""
        return np.full(self.lattice.sites, self.mass) if self.masses is None else np.array(self.masses)

    def inertia(self) -> float:
        """The mass m, the smallest of all: it limits time steps."""
        return self.mass if self.masses is None else min(self.masses)

    def site_masses(self) -> float | Array:
        """m, or m_i (N, 1)."""
        return self.mass if self.masses is None else self.m[:, None]

    def harmonic_stiffness(self) -> float:
        """0: nothing ties a particle to a place."""
        return 0.0

    def largest_stiffness(self) -> float:
        """0: the stiffness is that of the force field, which grows without bound as particles meet."""
        return 0.0

    def ordered(self, amplitude: float) -> Array:
        """A cube of a simple cubic crystal about the origin, `amplitude` [length] from neighbour to neighbour, (N, 3)."""
        n = self.lattice.sites
        edge = int(np.ceil(n ** (1 / 3) - 1e-9))
        crystal = np.indices((edge,) * 3).reshape(3, -1).T[:n]
        return amplitude * (crystal - crystal.mean(axis=0))

    def order_field(self, x: Array, density: Array) -> Array:
        """NaN: there is no order parameter, (R, N)."""
        return np.full(x.shape[:2], np.nan)

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """Exchanges of particles next in number that have the same charge and mass: of these all permutations of them are made."""
        yield Symmetry("identity", np.arange(self.lattice.sites), np.eye(3))
        for charge, mass in np.unique(np.stack([self.q, self.m], axis=1), axis=0):
            alike = np.flatnonzero((self.q == charge) & (self.m == mass))
            for one, other in itertools.pairwise(alike):
                exchanged = np.arange(self.lattice.sites)
                exchanged[[one, other]] = other, one
                yield Symmetry(f"exchange of {one} and {other}", exchanged, np.eye(3))

    def representation(self, operation: Symmetry) -> Array:
        """That of a vector in space."""
        return operation.rotation

    def internal_symmetries(self) -> list[Internal]:
        """Shifts, rotations and reflections of space."""
        return [
            Internal("shift", np.eye(3), 0.5),
            Internal("rotation about z by 1", rotation([0, 0, 1], 1.0)),
            Internal("rotation about [1, 2, 3] by 2", rotation([1, 2, 3], 2.0)),
            Internal("inversion", -np.eye(3)),
        ]

    def _one_each(self, name: str, values: Iterable[float]) -> tuple[float, ...]:
        """Numbers as floats, one for each particle. Raises InputError for any other count."""
        numbers = tuple(float(value) for value in values)
        if len(numbers) != self.lattice.sites:
            raise InputError(f"{name} lists {len(numbers)} numbers for {self.lattice.sites} particles")
        return numbers

    def springs(self) -> Any:
        """None, (3N, 3N)."""
        from scipy.sparse import csr_array

        return csr_array((self.lattice.sites * 3,) * 2)
