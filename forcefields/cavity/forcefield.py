"""`cavity`: belief propagation for electrons, local and without anything to train."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from forcefields.blocks import extremes, unit
from forcefields.cavity.expansion import Expansion, expansion
from forcefields.cavity.graph import OnGraph
from forcefields.choice import Candidate, Sized
from forcefields.filling import chemical_potential
from forcefields.hopping import PATCH_BYTES, Graph, OfModel, Patches, has_bonds_of, square_hopping
from latticemd.backends import on_device
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model
from latticemd.parameters import parameter

if TYPE_CHECKING:
    from forcefields.cavity.square import OnSquare

RADIUS, POLE_TOLERANCE = 2, 1e-6  # unless the user says otherwise
RADII = (1, 2, 3, 4)  # to choose from: the samples hold patches no larger
BOXED = (
    "square",
    "cubic",
)  # on balls of L1 radius 2 of a cubic lattice errors are larger than at 1, on 3 x 3 x 3 sites smaller

_POLES_EXPECTED = 24  # in the estimate of memory, where the positions are not known yet
_BYTES_PER_SITE = 64  # of on-site energies, pole sums and what is made of them


@dataclass(frozen=True)
class Cavity(Sized):
    """Green's functions of a patch around each site, with the rest of the lattice taken for a tree.

    M_{y -> x} = 1 / (e_y - mu - i w_p - sum_{u != x} |t_yu|^2 M_{u -> y})         on every directed bond, in `sweeps` sweeps
    G_p        = [(H_patch - mu - i w_p - Sigma)^-1]_ii,   Sigma_x = sum_{y outside} |t_xy|^2 M_{y -> x}
    n_i        = 1/2 - sum_p c_p Re G_p                                        (and a term linear in e_i, see `expansion`)

    The i w_p are the poles of a rational Fermi function. Where the lattice is a tree (an open chain), the result is
    exact once the sweeps reach its ends. On a lattice, loops longer than the patch are what is missed; of those that
    run through its rim the shortest are added to Sigma (`forcefields.cavity.rim`), with care: in a metal they can do
    harm at radius 1. What is left:

    =========  ========  ========  ========  ========
    force MSE  radius 1  radius 2  radius 3  radius 4
    =========  ========  ========  ========  ========
    g = 3.5    5e-6      1.5e-7    4e-9      2e-11
    g = 1.5    4e-4      9e-5      2e-5      5e-6
    =========  ========  ========  ========  ========

    are means over random states at kT = 0.1, t = 1. At g = 3.5 a few sites with a level at mu make nearly all of it: the
    median over states is 4 to 1000 times smaller. Ordered states are far better. The force keeps all symmetries of the
    lattice and the particle-hole symmetry, but it is NOT the gradient of a function: the free energy it comes with is the
    sum of <i| omega(H) |i>, off by the error of the method and by 1e-4 kT per site, and motion conserves it only that well.

    With a `tolerance` and no radius, the smallest of radius 1 to 4 is taken whose error, measured on samples of the
    configuration, is small enough (`forcefields.choice`); the log says which, and how large the error is.

    On the square and the cubic lattice patches are (2 radius + 1)^d sites, and lattices with fewer than 2 radius + 2
    sites in a direction are refused. With one real hopping on a square lattice of 2 radius + 4 sites or more per
    direction kernels are compiled; all else is left to LAPACK, some hundred times slower. On any other graph patches
    are all sites within `radius` hops; one that covers the graph is exact. With several orbitals messages are matrices,
    M = (E - mu - i w - sum H M H^+)^-1. Where hops follow x, the density matrix between two sites is the mean of what
    their two patches say.

    In powers of the hopping, G is off by t^(2 radius + 6) on the square lattice and by t^(2 radius + 4) on a honeycomb, where
    a hexagon closes at radius 2, at the outer site that two rim sites share. In a metal the error goes up and down with the
    number of sweeps: on the square lattice 4 make it 1.2 to 2.3 times that of 3; 5 take a fifth to a third off it, for 25 %
    more time at radius 1 and 2 to 6 % at larger ones.

    The number of poles follows the farthest level from mu, in steps of 2^(1/4): the one thing about distant sites that can
    change a density, by less than twice the tolerance. At fixed filling, mu is a function of all sites: the force is then no
    longer local, and a call costs about fifteen.

    Cost: O(N). On one core 0.11, 0.95, 2.7 and 6 microseconds per site for radius 1 to 4, in single precision with eleven
    poles; 1.7 times that in double. Use `ed` or `poles` when the error must be small whatever the state, or the energy
    conserved to rounding.

    References: Abou-Chacra, Thouless and Anderson, J. Phys. C 6, 1734 (1973), doi:10.1088/0022-3719/6/10/009 (the
    self-consistent equation on the Bethe lattice); Rogers, Castillo, Kuehn and Takeda, arXiv:0803.1553 (the cavity
    equations of one given sparse matrix).
    """

    radius: int | None = parameter(
        None, doc="sites from the centre of a patch to its rim; what tolerance needs, 2 if neither is given", ge=1, le=6
    )
    sweeps: int = parameter(3, doc="sweeps of the messages; the force sees radius + sweeps sites far", ge=1, le=12)
    tolerance: float | None = parameter(
        None,
        doc="largest rms error of the density, sets radius and poles; with a radius, of the poles alone",
        gt=0,
        lt=0.1,
    )
    poles: int | None = parameter(None, doc="number of poles of the Fermi function, instead of tolerance", ge=1, le=40)
    precision: Literal["float64", "float32"] = parameter(
        "float64", doc="of the compiled kernels; float32 is up to twice as fast and keeps symmetries to 1e-6 only"
    )
    ladder: ClassVar[tuple[dict[str, Any], ...]] = tuple({"radius": radius} for radius in (1, 2, 3, 4))
    _square: OfModel[float | None] = field(
        init=False, default_factory=lambda: OfModel(square_hopping), repr=False, compare=False
    )
    _buffers: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def chooses(self) -> bool:
        """Whether the tolerance sets the radius."""
        return self.radius is None and self.tolerance is not None

    def rungs(self, model: Model, x: Array | None = None) -> list[Candidate]:
        """The radii to choose from for a tolerance."""
        fine = min(POLE_TOLERANCE, 0.1 * (self.tolerance or POLE_TOLERANCE))
        layers = self._layers(model)
        return [
            Candidate(f"radius {n}", dataclasses.replace(self, radius=n, tolerance=fine), cells=2 * n * layers + 1)
            for n in RADII
        ]

    def _capabilities(self, model: Model, replicas: int) -> Capabilities:
        sites, o = model.lattice.sites, model.orbitals
        if self._compiled(model) is None:
            graph, patches = self._cut(model)
            blocks = (sites + len(graph.source)) * o**2
            needed = 4 * PATCH_BYTES + patches.members.nbytes + 16 * blocks * (3 * (self.poles or _POLES_EXPECTED) + 8)
        else:
            from forcefields.cavity.square import working_bytes  # numba need not be loaded for other lattices

            needed = working_bytes()
        rim = self._layers(model) * (self._reach + self.sweeps + model.needs_bonds)
        return Capabilities(
            conservative=False,
            deterministic=True,
            energy=True,
            density=True,
            halo=rim if model.filling is None else None,
            bytes_needed=needed + _BYTES_PER_SITE * replicas * sites * o**2,
            single=self.precision == "float32" and self._square(model) is not None,
            rim=rim,
            free_rim=self._compiled(model) is not None,
            cuda=model.portable and model.filling is None and self._compiled(model) is not None,
        )

    def _prepare(self, model: Model) -> None:
        smallest = 2 * self._reach + 2
        if has_bonds_of(model.lattice, model.hops(), *BOXED) and min(model.lattice.shape) < smallest:
            raise InputError(
                f"forcefield cavity with radius {self._reach} needs at least {smallest} sites per direction, the lattice is "
                f"{'x'.join(map(str, model.lattice.shape))}; use a smaller radius, a larger lattice or forcefield ed"
            )

    def _evaluate(self, model: Model, x: Array, out: Electrons) -> None:
        if on_device(x):
            self._evaluate_on_device(model, x, out)
            return
        electrons, onsite, lattice = self._electrons(model, x), model.onsite(x), model.lattice
        lowest, highest = extremes(onsite)
        if model.filling is None:
            mu = model.mu or 0.0
            out.mu[:] = mu
            widths = np.maximum(lattice.highest(highest) - mu, mu + lattice.highest(-lowest)) + electrons.reach(lattice)
            made = [self._expansion(model, width) for width in widths]
            rho, energies = electrons.solve(onsite - mu * unit(onsite), made)
            out.energy[:] = lattice.total(energies)
        else:
            reach = electrons.reach(lattice) + 40.0 * model.electronic_temperature
            low = -float(lattice.highest(-lowest).max()) - reach
            high = float(lattice.highest(highest).max()) + reach
            # One interval for every mu of the search: other poles for another mu would make a step in the number of electrons.
            made = [self._expansion(model, high - low)]
            wanted = model.filling * lattice.whole.sites * model.orbitals

            def count(mu: float) -> float:
                return float(lattice.total(electrons.solve(onsite - mu * unit(onsite), made)[0].density)[0])

            # The rounding of single precision would keep the search busy to no end.
            resolution = 1e-8 * model.electronic_temperature if self.precision == "float32" else 0.0
            out.mu[:] = mu = chemical_potential(count, wanted, low, high, resolution)
            rho, energies = electrons.solve(onsite - mu * unit(onsite), made)
            out.energy[:] = lattice.total(energies) + mu * wanted
        out.density[:] = rho.density
        out.energy += model.electron_constant(x)
        model.electronic_force(rho, x, out.force)

    def _evaluate_on_device(self, model: Model, x: Array, out: Electrons) -> None:
        """At fixed mu on the plain square lattice; nothing comes back to the host."""
        from forcefields.cavity.device import OnDevice

        height, width = model.lattice.shape
        precision, tolerance, mu = getattr(np, self.precision), self.tolerance or POLE_TOLERANCE, model.mu or 0.0
        hopping = self._compiled(model)
        assert hopping is not None, "see capabilities"
        electrons = OnDevice((height, width), hopping, self._reach, self.sweeps, precision, tolerance, self.poles)
        electrons.solve(model.onsite(x), mu, model.electronic_temperature, out.density, out.energy)
        out.mu.fill(mu)
        out.energy += model.electron_constant(x)
        model.electronic_force(DensityMatrix(out.density), x, out.force)

    def _close(self) -> None:
        self._buffers.clear()

    @property
    def _reach(self) -> int:
        return self.radius or RADIUS

    def _compiled(self, model: Model) -> float | None:
        """The hopping for which kernels are compiled: the sides of a patch must not be neighbours around the lattice."""
        return self._square(model) if min(model.lattice.shape) >= 2 * self._reach + 4 else None

    def _layers(self, model: Model) -> int:
        return 1 if self._compiled(model) is not None else Graph.of_model(model).layers(model.lattice)

    def _expansion(self, model: Model, half_width: float) -> Expansion:
        return expansion(model.electronic_temperature, half_width, self.tolerance or POLE_TOLERANCE, self.poles)

    def _electrons(self, model: Model, x: Array) -> OnSquare | OnGraph:
        hopping = self._compiled(model)
        if hopping is not None:
            from forcefields.cavity.square import OnSquare  # other lattices need no numba

            height, width = model.lattice.shape
            return OnSquare(
                (height, width), hopping, self._reach, self.sweeps, getattr(np, self.precision), model.lattice.asked
            )
        if "cut" not in self._buffers:  # made here, because a ramp may take a model away from equal hops
            self._buffers["cut"] = self._cut(model)
        graph, patches = self._buffers["cut"]
        return OnGraph(graph.at(model, x), patches, self.sweeps, model.needs_bonds)

    def _cut(self, model: Model) -> tuple[Graph, Patches]:
        """Which sites are joined, and the patches, where no kernel is compiled."""
        graph = Graph.of_model(model)
        return graph, Patches.of(model, graph, self._reach, *BOXED)
