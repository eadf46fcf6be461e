"""The Holstein model: spinless electrons whose on-site energy follows one displacement per site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from latticemd.backends import on_device, table_beside
from latticemd.models.disorder import neighbours_there, uniforms_on, vacancies_on
from latticemd.models.hamiltonian import DensityMatrix, Hops
from latticemd.models.model import Array, Model
from latticemd.models.symmetry import Internal
from latticemd.parameters import parameter
from latticemd.rng import Stream

# kT above all other levels at which a vacancy has its own: what it then holds is 1e-26 electrons
EMPTY = 60.0


@dataclass(frozen=True)
class Holstein(Model):
    """Spinless electrons coupled to one displacement Q per site.

    H = -sum_ij t_ij (c+_i c_j + h.c.) + sum_i [e_i n_i - g (n_i - 1/2) Q_i]
        + sum_i [p_i^2/2m + k Q_i^2/2] + kappa sum_<ij> Q_i Q_j

    F_i = g (<n_i> - 1/2) - k Q_i - kappa sum_{j nn i} Q_j

    ======  ===============  ===================  =======
    symbol  parameter        dimension            default
    ======  ===============  ===================  =======
    t       hopping          energy               1
    a       anisotropy       1                    0
    t'      next_hopping     energy               0
    g       coupling         energy/length        1.5
    k       stiffness        energy/length^2      1
    kappa   intersite        energy/length^2      0.18
    m       mass             mass                 1
    W       disorder         energy               0
    x       vacancies        1                    0
    ======  ===============  ===================  =======

    The hopping along a bond at the angle theta to the x axis is t (1 + a cos 2 theta): t (1 + a) along x and t (1 - a)
    along y on a square lattice; that to second neighbours is t'. The e_i are independent and uniform between -W/2 and W/2
    (Anderson's disorder). Of all N sites, round(x N) are vacant: no electron can go there, no neighbour feels their
    displacement, and that stays alone in its spring; a filling still counts electrons per site, vacant or not.
    `disorder_seed` says which e_i and which sites.

    On bipartite lattices without t' and W, at mu = 0 or filling 1/2, the particle-hole map Q -> -Q, n -> 1 - n takes F to -F.
    For distortions that modulate the hopping instead, `SSH` is the model of choice.

    References: Holstein, Ann. Phys. 8, 325 (1959), doi:10.1016/0003-4916(59)90002-8; Anderson, doi:10.1103/PhysRev.109.1492
    (disorder); arXiv:2601.04104.
    """

    hopping: float = parameter(1.0, doc="nearest-neighbour hopping t", dimension="energy", rampable=True)
    anisotropy: float = parameter(0.0, doc="anisotropy a of the hopping, t (1 +- a) along x and y", rampable=True)
    next_hopping: float = parameter(0.0, doc="hopping t' to second neighbours", dimension="energy")
    coupling: float = parameter(1.5, doc="electron-lattice coupling g", dimension="energy/length", rampable=True)
    stiffness: float = parameter(1.0, doc="spring constant k", dimension="energy/length^2", gt=0, rampable=True)
    intersite: float = parameter(0.18, doc="coupling kappa of neighbours", dimension="energy/length^2", rampable=True)
    mass: float = parameter(1.0, doc="mass m of a displacement", dimension="mass", gt=0, rampable=True)
    disorder: float = parameter(0.0, doc="width W of random on-site energies", dimension="energy", ge=0, rampable=True)
    vacancies: float = parameter(0.0, doc="share x of vacant sites", ge=0, lt=1)
    disorder_seed: int = parameter(0, doc="seed of disorder and vacancies", ge=0, lt=2**64)

    components: ClassVar[int] = 1
    title: ClassVar[str] = "Holstein model"
    symbol: ClassVar[str] = "Q"

    def hops(self) -> Hops:
        """-t (1 + a cos 2 theta) on every nearest-neighbour bond, and -t' between second neighbours; none to vacancies."""
        bonds = self.lattice.bonds()
        along = bonds.vector**2 / (bonds.vector**2).sum(axis=1, keepdims=True)
        cos_twice = along[:, 0] - (along[:, 1] if self.lattice.dimensions > 1 else 0.0)
        amplitude = -self.hopping * (1.0 + self.anisotropy * cos_twice)
        hops = Hops(bonds.i, bonds.j, amplitude * bonds.phase if self.lattice.twisted else amplitude)
        if self.next_hopping:
            second = self.lattice.bonds(2)
            amplitude = np.concatenate([hops.amplitude, -self.next_hopping * second.phase])
            hops = Hops(np.concatenate([hops.i, second.i]), np.concatenate([hops.j, second.j]), amplitude)
        if self.vacancies:
            kept = ~(self._vacant[hops.i] | self._vacant[hops.j])
            hops = Hops(hops.i[kept], hops.j[kept], hops.amplitude[kept])
        return hops

    def onsite(self, x: Array) -> Array:
        """e_i - g Q_i; of a vacancy, a level so high that it stays empty."""
        levels: Array = -self.coupling * x[..., 0]
        if self.disorder:
            drawn = table_beside(uniforms_on(self.disorder_seed, Stream.DISORDER, self.lattice), x)
            levels += self.disorder * (drawn - 0.5)
        if self.vacancies:
            vacant = self._vacant_beside(x)
            felt = np.where(vacant, -np.inf, levels)
            highest = np.maximum(self.lattice.highest(felt)[:, None], self.mu or 0.0)
            levels = np.where(vacant, highest + self._reach() + EMPTY * self.electronic_temperature, levels)
        return levels

    def electron_constant(self, x: Array) -> Array:
        """+g/2 sum_i Q_i, from the 1/2 in n_i - 1/2."""
        felt = np.where(self._vacant_beside(x)[:, None], 0.0, x) if self.vacancies else x
        return 0.5 * self.coupling * self.lattice.total(felt)

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """g (<n_i> - 1/2)."""
        np.subtract(rho.onsite, 0.5, out=out[..., 0])
        out *= self.coupling
        if self.vacancies:
            out[..., 0] = np.where(self._vacant_beside(x), 0.0, out[..., 0])

    def springs(self) -> Any:
        """k on the diagonal, kappa between neighbours that are both there."""
        from scipy.sparse import diags_array, eye_array

        between = self.lattice.adjacency()
        if self.vacancies:
            there = diags_array((~self._vacant).astype(float))
            between = there @ between @ there
        return (self.stiffness * eye_array(self.lattice.sites) + self.intersite * between).tocsr()

    def classical_energy(self, x: Array) -> Array:
        """k/2 sum_i Q_i^2 + kappa sum_<ij> Q_i Q_j."""
        if not self._same_everywhere and not on_device(x):
            return super().classical_energy(x)
        pull = np.zeros_like(x)
        self._add_pull(x, pull, self.stiffness, self.intersite, pull)
        return 0.5 * self.lattice.total(x * pull)

    def total_force(self, x: Array, electronic: Array, out: Array) -> None:
        """Electronic force - k Q_i - kappa sum_{j nn i} Q_j."""
        if self._same_everywhere or on_device(x):
            self._add_pull(x, electronic, -self.stiffness, -self.intersite, out)
        else:
            super().total_force(x, electronic, out)

    @property
    def portable(self) -> bool:
        """Yes: energies of sites, vacancies and lists of neighbours have copies on a GPU."""
        return True

    def inertia(self) -> float:
        """The mass m."""
        return self.mass

    def harmonic_stiffness(self) -> float:
        """The spring constant k."""
        return self.stiffness

    def largest_stiffness(self) -> float:
        """k + z |kappa|, the top of the phonon band."""
        return self.stiffness + self.lattice.neighbours().shape[1] * abs(self.intersite)

    def smallest_stiffness(self) -> float:
        """k - z |kappa|, the bottom of the phonon band where the lattice does not frustrate it."""
        return self.stiffness - self.lattice.neighbours().shape[1] * abs(self.intersite)

    def ordered(self, amplitude: float) -> Array:
        """The checkerboard Q_i = amplitude (-1)^i, with the sign of the sublattice."""
        return amplitude * self.lattice.staggered[:, None]

    def order_field(self, x: Array, density: Array) -> Array:
        """The staggered charge (n_i - 1/2) (-1)^i, (R, N); zero at vacancies."""
        field = super().order_field(x, density)
        return np.where(self._vacant_beside(field), 0.0, field) if self.vacancies else field

    def internal_symmetries(self) -> list[Internal]:
        """Particle-hole symmetry, where mu = 0 or half filling meets a bipartite lattice."""
        balanced = self.mu == 0.0 or (self.filling == 0.5 and not self.vacancies)
        if balanced and self.lattice.bipartite and not self.next_hopping and not self.disorder:
            return [Internal("particle-hole", -np.eye(1))]
        return []

    def _reach(self) -> float:
        """How far hops can raise an electron above the highest level [energy]."""
        second = self.lattice.neighbours(2).shape[1] * abs(self.next_hopping) if self.next_hopping else 0.0
        return self.lattice.neighbours().shape[1] * abs(self.hopping) * (1.0 + abs(self.anisotropy)) + second

    @property
    def _vacant(self) -> Array:
        """Which sites are vacant, (N,)."""
        return vacancies_on(self.disorder_seed, self.vacancies, self.lattice)

    def _vacant_beside(self, array: Array) -> Array:
        """The same, where `array` lives."""
        return table_beside(self._vacant, array)

    def _add_pull(self, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
        """out_i = base_i + own x_i + theirs sum of x_j over the neighbours j that are there."""
        there = neighbours_there(self.disorder_seed, self.vacancies, self.lattice) if self.vacancies else None
        self.lattice.add_neighbours(x, base, own, theirs, out, there)

    @property
    def _same_everywhere(self) -> bool:
        """Whether neighbours lie alike around every site, so that rows of the lattice can be summed along."""
        return not self.vacancies and all(self.lattice.periodic)
