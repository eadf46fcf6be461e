"""`coulomb`, `springs`, `gravity`, `lennard_jones`: forces between pairs of particles in space."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import njit

from cuda_kernels import pairs
from latticemd.backends.cpu.compiling import jit
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.model import Model
from latticemd.models.particles import Particles
from latticemd.parameters import parameter

Pair = Callable[[float, float, float, float], tuple[float, float]]


class Pairs(ABC):
    """Forces along the lines between particles, from an energy U = sum_{i<j} u(r_ij).

    F_i = -sum_j u'(r_ij) (x_i - x_j)/r_ij, so that the sum of all forces and of all torques vanishes.

    Cost: O(N^2) per replica, some ten nanoseconds per pair; there is no cutoff and no list of neighbours, so up to some
    thousand particles. For electrons on a lattice, choose `ed` or any of the others.
    """

    ladder: ClassVar[tuple[Any, ...]] = ()  # nothing that `bench` could compare
    pair: ClassVar[Pair]

    @property
    def conservative(self) -> bool:
        """Whether the forces are gradients of the energy everywhere."""
        return True

    @abstractmethod
    def law(self) -> tuple[float, float]:
        """The two numbers of the force law that `pair` takes."""

    @abstractmethod
    def typical_stiffness(self, model: Model) -> float:
        """The curvature of the energy near rest, or at the distance 1 [energy/length^2]."""

    def carried(self, model: Particles) -> Array:
        """What each particle brings to the product w of a pair, (N,)."""
        return np.ones(model.lattice.sites)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """The whole force of particles, exact; no electrons, so no density."""
        return Capabilities(
            conservative=self.conservative,
            deterministic=True,
            energy=True,
            density=False,
            halo=None,
            bytes_needed=0,
            electrons=False,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing to allocate. Raises InputError unless the model is one of particles."""
        if not isinstance(model, Particles):
            raise InputError(
                f"force field {type(self).__name__} is the force between particles, but {type(model).__name__} has none"
            )

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Forces and energies of all replicas at x (R, N, 3). Raises ArithmeticError where two particles are at one place."""
        assert isinstance(model, Particles), "prepare has refused other models"
        sweep_of(type(self).pair)(x, self.carried(model)[None], *self.law(), out.force, out.energy)
        if not np.isfinite(out.energy).all():
            raise ArithmeticError("two particles are at the same place, where the force has no direction")

    def close(self) -> None:
        """Nothing to release."""
        return


@dataclass(frozen=True)
class Coulomb(Pairs):
    """U = k sum_{i<j} q_i q_j / r_ij: charges of one sign repel.

    With `clip`, every component of the total force on a particle is cut to [-clip, clip], the choice of the charged-particle
    benchmark of equivariant networks (arXiv:2102.09844, after arXiv:1802.04687), where opposite charges meet closely. Cut
    forces are no gradients and change with rotations; what is reported as energy stays that of the formula, and is
    conserved only while nothing is cut.
    """

    strength: float = parameter(1.0, doc="k of k q_i q_j / r", dimension="energy length/charge^2")
    clip: float | None = parameter(
        None, doc="largest component of the force on a particle; none unless given", dimension="energy/length", gt=0
    )
    pair: ClassVar[Pair] = staticmethod(pairs.coulomb)

    @property
    def conservative(self) -> bool:
        """Only where nothing is cut."""
        return self.clip is None

    def law(self) -> tuple[float, float]:
        """The strength."""
        return self.strength, 0.0

    def typical_stiffness(self, model: Model) -> float:
        """2 k q^2 / 1^3 of the largest charge, and 1 without charges."""
        assert isinstance(model, Particles)
        return 2.0 * abs(self.strength) * float(np.abs(model.q).max()) ** 2 or 1.0

    def carried(self, model: Particles) -> Array:
        """The charges."""
        return model.q

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """See `Pairs.evaluate`; then cut."""
        super().evaluate(model, x, step, out)
        if self.clip is not None:
            np.clip(out.force, -self.clip, self.clip, out=out.force)


@dataclass(frozen=True)
class Springs(Pairs):
    """U = k/2 sum_{i<j} (r_ij - l)^2: every two particles are tied to each other."""

    stiffness: float = parameter(1.0, doc="spring constant k of each pair", dimension="energy/length^2", ge=0)
    length: float = parameter(0.0, doc="length l of a spring at rest", dimension="length", ge=0)
    pair: ClassVar[Pair] = staticmethod(pairs.spring)

    def law(self) -> tuple[float, float]:
        """Stiffness and length."""
        return self.stiffness, self.length

    def typical_stiffness(self, model: Model) -> float:
        """N k: what all springs of a particle are together."""
        return model.lattice.sites * self.stiffness


@dataclass(frozen=True)
class Gravity(Pairs):
    """U = -G sum_{i<j} m_i m_j / sqrt(r_ij^2 + s^2): the softening s keeps the force finite where particles meet.

    Reference: Aarseth, doi:10.1093/mnras/126.3.223 (softened N-body simulations).
    """

    strength: float = parameter(1.0, doc="G of G m_i m_j / r", dimension="energy length/mass^2")
    softening: float = parameter(0.0, doc="softening length s", dimension="length", ge=0)
    pair: ClassVar[Pair] = staticmethod(pairs.gravity)

    def law(self) -> tuple[float, float]:
        """Strength and softening."""
        return self.strength, self.softening

    def typical_stiffness(self, model: Model) -> float:
        """N G m M / s^3, with M the largest mass, and 1 for s where nothing softens."""
        assert isinstance(model, Particles)
        heaviest = float(model.m.max())
        return model.lattice.sites * abs(self.strength) * model.inertia() * heaviest / (self.softening or 1.0) ** 3

    def carried(self, model: Particles) -> Array:
        """The mass of each particle."""
        return model.m


@dataclass(frozen=True)
class LennardJones(Pairs):
    """U = 4 epsilon sum_{i<j} [(sigma/r_ij)^12 - (sigma/r_ij)^6], without cutoff.

    The pair is at rest at r = 2^(1/6) sigma, with energy -epsilon.

    Reference: Lennard-Jones, doi:10.1088/0959-5309/43/5/301.
    """

    depth: float = parameter(1.0, doc="depth epsilon of the well", dimension="energy", ge=0)
    diameter: float = parameter(1.0, doc="distance sigma at which U vanishes", dimension="length", gt=0)
    pair: ClassVar[Pair] = staticmethod(pairs.lennard_jones)

    def law(self) -> tuple[float, float]:
        """Depth and diameter."""
        return self.depth, self.diameter

    def typical_stiffness(self, model: Model) -> float:
        """Twice u''(r) = 72 epsilon / (2^(1/3) sigma^2) at the bottom of the well: neighbours on two sides."""
        return 144.0 * self.depth / (2.0 ** (1.0 / 3.0) * self.diameter**2)


@functools.cache
def sweep_of(pair: Pair) -> Callable[..., None]:
    """The compiled sum over all pairs (x, carried, a, b, force, energy) of a force law, in one order for any batch.

    `carried` is (R, N), or (1, N) where it is the same in all replicas.
    """
    law = njit(error_model="numpy")(pair)

    @jit
    def sweep(x: Array, carried: Array, a: float, b: float, force: Array, energy: Array) -> None:
        for r in range(x.shape[0]):
            total = 0.0
            force[r] = 0.0
            mine = carried[r % carried.shape[0]]
            for i in range(x.shape[1]):
                for j in range(i):
                    dx, dy, dz = x[r, i, 0] - x[r, j, 0], x[r, i, 1] - x[r, j, 1], x[r, i, 2] - x[r, j, 2]
                    u, push = law(dx * dx + dy * dy + dz * dz, mine[i] * mine[j], a, b)
                    total += u
                    force[r, i, 0] += push * dx
                    force[r, i, 1] += push * dy
                    force[r, i, 2] += push * dz
                    force[r, j, 0] -= push * dx
                    force[r, j, 1] -= push * dy
                    force[r, j, 2] -= push * dz
            energy[r] = total

    swept: Callable[..., None] = sweep
    return swept
