"""The Holstein model: spinless electrons whose on-site energy follows one displacement per site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from latticemd.backends import kernels_for
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model
from latticemd.models.symmetry import Internal
from latticemd.parameters import parameter


@dataclass(frozen=True)
class Holstein(Model):
    """Spinless electrons coupled to one displacement Q per site.

    H = -t sum_<ij> (c+_i c_j + h.c.) - g sum_i (n_i - 1/2) Q_i
        + sum_i [p_i^2/2m + k Q_i^2/2] + kappa sum_<ij> Q_i Q_j

    F_i = g (<n_i> - 1/2) - k Q_i - kappa sum_{j nn i} Q_j

    ======  ===============  ===================  =======
    symbol  parameter        dimension            default
    ======  ===============  ===================  =======
    t       hopping          energy               1
    a       anisotropy       1                    0
    g       coupling         energy/length        1.5
    k       stiffness        energy/length^2      1
    kappa   intersite        energy/length^2      0.18
    m       mass             mass                 1
    ======  ===============  ===================  =======

    The hopping along a bond at the angle theta to the x axis is t (1 + a cos 2 theta): t (1 + a) along x and t (1 - a)
    along y on a square lattice.

    On bipartite lattices at mu = 0 or filling 1/2 the particle-hole map Q -> -Q, n -> 1 - n takes F to -F.
    For distortions that modulate the hopping instead, SSH is the model of choice.

    References: Holstein, Ann. Phys. 8, 325 (1959), doi:10.1016/0003-4916(59)90002-8; arXiv:2601.04104.
    """

    hopping: float = parameter(1.0, doc="nearest-neighbour hopping t", dimension="energy", rampable=True)
    anisotropy: float = parameter(0.0, doc="anisotropy a of the hopping, t (1 +- a) along x and y", rampable=True)
    coupling: float = parameter(1.5, doc="electron-lattice coupling g", dimension="energy/length", rampable=True)
    stiffness: float = parameter(1.0, doc="spring constant k", dimension="energy/length^2", gt=0, rampable=True)
    intersite: float = parameter(0.18, doc="coupling kappa of neighbours", dimension="energy/length^2", rampable=True)
    mass: float = parameter(1.0, doc="mass m of a displacement", dimension="mass", gt=0, rampable=True)

    components: ClassVar[int] = 1
    symbol: ClassVar[str] = "Q"

    def hops(self) -> Hops:
        """-t (1 + a cos 2 theta) on every nearest-neighbour bond."""
        bonds = self.lattice.bonds()
        along = bonds.vector**2 / (bonds.vector**2).sum(axis=1, keepdims=True)
        cos_twice = along[:, 0] - (along[:, 1] if self.lattice.dimensions > 1 else 0.0)
        return Hops(bonds.i, bonds.j, -self.hopping * (1.0 + self.anisotropy * cos_twice))

    def onsite(self, x: Array) -> Array:
        """-g Q_i."""
        return -self.coupling * x[..., 0]

    def electron_constant(self, x: Array) -> Array:
        """+g/2 sum_i Q_i, from the 1/2 in n_i - 1/2."""
        return 0.5 * self.coupling * x.sum(axis=(1, 2))

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """g (<n_i> - 1/2)."""
        np.subtract(rho.onsite, 0.5, out=out[..., 0])
        out *= self.coupling

    def classical_energy(self, x: Array) -> Array:
        """k/2 sum_i Q_i^2 + kappa sum_<ij> Q_i Q_j."""
        springs = 0.5 * self.stiffness * np.einsum("rnd,rnd->r", x, x)
        around = np.zeros_like(x)
        kernels_for(x).neighbour_sum(self.lattice.stencil(), x, around, 0.0, 1.0, around)
        return springs + 0.5 * self.intersite * np.einsum("rnd,rnd->r", x, around)

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Electronic force - k Q_i - kappa sum_{j nn i} Q_j."""
        kernels_for(x).neighbour_sum(self.lattice.stencil(), x, electronic, -self.stiffness, -self.intersite, out)

    def inertia(self) -> float:
        """The mass m."""
        return self.mass

    def harmonic_stiffness(self) -> float:
        """The spring constant k."""
        return self.stiffness

    def largest_stiffness(self) -> float:
        """k + z |kappa|, the top of the phonon band."""
        return self.stiffness + self.lattice.neighbours().shape[1] * abs(self.intersite)

    def ordered(self, amplitude: float) -> Array:
        """The checkerboard Q_i = amplitude (-1)^(x+y)."""
        return amplitude * self.lattice.staggered[:, None]

    def internal_symmetries(self) -> list[Internal]:
        """Particle-hole symmetry, where mu = 0 or half filling meets a bipartite lattice."""
        half_filled = self.mu == 0.0 or self.filling == 0.5
        return [Internal("particle-hole", -np.eye(1))] if half_filled and self.lattice.bipartite else []
