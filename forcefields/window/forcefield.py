"""`window`: the density of a site from an open window around it, in Chebyshev polynomials."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from forcefields.blocks import extremes, unit
from forcefields.choice import Candidate, Sized
from forcefields.filling import chemical_potential
from forcefields.hopping import PATCH_BYTES, Graph, OfModel, Patches, has_bonds_of, square_hopping
from forcefields.window.expansion import Expansion, expansion, half_width, order_for, rungs
from forcefields.window.graph import OnGraph
from latticemd.backends import on_device
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model
from latticemd.parameters import parameter

if TYPE_CHECKING:
    from forcefields.window.square import OnSquare

WIDTH, MOMENT_TOLERANCE = 13, 1e-4  # unless the user says otherwise
WIDTHS = (5, 9, 13, 17)  # to choose from: the samples hold no larger ones

_BYTES_PER_SITE = 128  # of levels, their bounds and their order
_BOUND_REACH = 3  # hops beyond a window that the bound on its spectrum looks at
_TYPICAL_ORDER = 2048  # for the announcement of memory only: what will be needed is not known before positions are


@dataclass(frozen=True)
class Window(Sized):
    """Chebyshev moments of each site in an open window of width x width sites that is cut out around it.

    mu_k    = <i| T_k((H_window - e_0)/a) |i>,     T_k+1(h) = 2 h T_k(h) - T_k-1(h)
    n_i     = sum_k c_k mu_k,                      f(e) = sum_k c_k T_k((e - e_0)/a)
    Omega_i = sum_k w_k mu_k,                      -kT log(1 + exp(-(e - mu)/kT)) = sum_k w_k T_k((e - e_0)/a)

    One step of the recursion gives two moments, as 2 T_k T_l = T_k+l + T_k-l. The interval of half width a is that of the
    window, not of the lattice, so a force depends on nothing but what is near. e_0 = mu; at fixed filling, e_0 is the middle
    of all levels.

    With a `tolerance` and no width, the smallest of a few widths is taken whose error, measured on the configuration, is small
    enough (`forcefields.choice`); the log says which. With a width, `tolerance` bounds the error of the expansion alone; that of
    the window depends on the state more than on anything else: rms errors of the density on 32 x 32 sites at t = 1 are

    ===================================  =====  =====  =====  ======  ======
    width                                5      9      13     17      21
    ===================================  =====  =====  =====  ======  ======
    ordered, g = 1.5, kT = 0.1 or 0.02   1e-4   4e-6   3e-8   5e-10   2e-11
    wide walls, g = 1.5, kT = 0.1        5e-3   6e-4   6e-5   9e-6    1e-6
    random, g = 3.5, kT = 0.1            4e-3   1e-5   1e-7   8e-11
    random, g = 1.5, kT = 0.1            2e-2   4e-3   8e-4   2e-4    5e-5
    random, g = 1.5, kT = 0.02           3e-2   1e-2   5e-3   3e-3    1e-3
    nearly free electrons, kT = 0.1      4e-2   1e-2   3e-3   1e-3    6e-4
    nearly free electrons, kT = 0.02     7e-2   3e-2   1e-2   8e-3    5e-3
    ===================================  =====  =====  =====  ======  ======

    The force keeps all symmetries of the lattice and the particle-hole symmetry, but it is NOT the gradient of a function: the
    free energy it comes with is the sum of the Omega_i, and motion conserves it as well as the window holds the density matrix.
    Half widths come from a ladder with sixteen rungs per octave; a window that changes rungs changes its density by less than
    twice the tolerance.

    On the square lattice with one real hopping kernels are compiled, a few seconds for each width and precision the first time.
    All else is left to NumPy, some hundred times slower; on other lattices the window is all sites within width // 2 hops. With
    several orbitals e_0 is propagated for each orbital of the centre. Where hops follow x, the density matrix between two
    sites is the mean of what their two windows say.

    Cost: O(N). Eleven operations for each site of the window and each second moment, at about half of the speed of matrix
    products: on one core 1.3, 2.3 and 4.2 microseconds per site for width 9, 13 and 21 with 120 moments in single precision,
    and twice that in double; widths 4 n + 1 suit the kernels best. Moments follow a/kT: about 160 at g = 1.5, kT = 0.1 and
    1700 on hot states at g = 3.5. At fixed filling everything is done twice, and the force is no longer local. Use `cavity`
    where its error will do, and `ed` or `poles` when the error must be small whatever the state.

    References: Weisse, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006), doi:10.1103/RevModPhys.78.275 (the
    expansion and the doubling of moments); Goedecker and Colombo, Phys. Rev. Lett. 73, 122 (1994),
    doi:10.1103/PhysRevLett.73.122 (the Fermi operator in localisation regions).
    """

    width: int | None = parameter(
        None, doc="sites along a side of the window, odd; what tolerance needs, 13 if neither is given", ge=3, le=63
    )
    tolerance: float | None = parameter(
        None,
        doc="largest rms error of the density, sets width and moments; with a width, of the moments alone",
        gt=0,
        lt=0.1,
    )
    moments: int | None = parameter(
        None, doc="highest moment, instead of tolerance; rounded up to even", ge=2, le=16384
    )
    precision: Literal["float64", "float32"] = parameter(
        "float64", doc="of the compiled kernels; float32 is twice as fast and keeps symmetries to 1e-6 only"
    )
    ladder: ClassVar[tuple[dict[str, Any], ...]] = tuple({"width": width} for width in (9, 13, 17, 21))
    _square: OfModel[float | None] = field(
        init=False, default_factory=lambda: OfModel(square_hopping), repr=False, compare=False
    )
    _buffers: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def chooses(self) -> bool:
        """Whether the tolerance sets the width."""
        return self.width is None and self.tolerance is not None

    def mean_order(self, model: Model, x: Array) -> float:
        """The highest moment at x (R, N, D), averaged over sites: what the cost is proportional to. At fixed mu."""
        onsite = model.onsite(x)
        rung = rungs(
            self._electrons(model, x).reach(onsite - (model.mu or 0.0) * unit(onsite)), model.electronic_temperature
        )
        names, counts = np.unique(rung, return_counts=True)
        return float(counts @ [self._expansion(model, name, 0.0).order for name in names.tolist()] / rung.size)

    def rungs(self, model: Model, x: Array | None = None) -> list[Candidate]:
        """The widths to choose from for a tolerance."""
        fine = 0.3 * (self.tolerance or MOMENT_TOLERANCE)
        layers = self._layers(model)
        return [
            Candidate(f"width {n}", dataclasses.replace(self, width=n, tolerance=fine), cells=(n - 1) * layers + 1)
            for n in WIDTHS
        ]

    def _capabilities(self, model: Model, replicas: int) -> Capabilities:
        sites, o = model.lattice.sites, model.orbitals
        if self._square(model) is None:
            graph, windows = self._cut(model)
            blocks = (sites + len(graph.source)) * o**2
            needed = 4 * PATCH_BYTES + windows.members.nbytes + 16 * 8 * blocks
        else:
            from forcefields.window.square import working_bytes  # numba need not be loaded for other lattices

            needed = replicas * working_bytes(self._side, self.moments or _TYPICAL_ORDER, sites)
        rim = self._layers(model) * (self._side // 2 + _BOUND_REACH + model.needs_bonds)
        return Capabilities(
            conservative=False,
            deterministic=True,
            energy=True,
            density=True,
            halo=rim if model.filling is None else None,
            rim=rim if model.filling is None or self._square(model) is not None else None,
            bytes_needed=needed + _BYTES_PER_SITE * replicas * sites * o**2,
            single=self.precision == "float32" and self._square(model) is not None,
            free_rim=self._square(model) is not None,
            cuda=model.portable and model.filling is None and self._square(model) is not None,
        )

    def _prepare(self, model: Model) -> None:
        if self._side % 2 == 0:
            raise InputError(
                f"forcefield window with width {self._side} has no site in the middle; use width: {self._side + 1}"
            )
        # In a window as wide as the lattice, opposite rims are neighbours.
        if has_bonds_of(model.lattice, model.hops(), "square") and self._side >= min(model.lattice.shape):
            raise InputError(
                f"forcefield window with width {self._side} needs at least {self._side + 1} sites per direction, the lattice is "
                f"{'x'.join(map(str, model.lattice.shape))}; use a smaller width, a larger lattice or forcefield ed"
            )

    def _evaluate(self, model: Model, x: Array, out: Electrons) -> None:
        if on_device(x):
            self._evaluate_on_device(model, x, out)
            return
        electrons, onsite, lattice = self._electrons(model, x), model.onsite(x), model.lattice
        middle = model.mu or 0.0
        if model.filling is not None:
            lowest, highest = extremes(onsite)
            middle = 0.5 * float(lattice.highest(highest).max() - lattice.highest(-lowest).max())
        levels = onsite - middle * unit(onsite)
        rung = rungs(electrons.reach(levels), model.electronic_temperature)
        names = np.unique(rung).tolist()
        if (
            model.filling is not None and lattice.whole is not lattice
        ):  # ranks that add up moments must agree about which there are
            names = list(range(-int(lattice.highest(-rung).max()), int(lattice.highest(rung).max()) + 1))
        made = {name: self._expansion(model, name, 0.0) for name in names}
        rho, energies, sums = electrons.solve(levels, rung, made)
        out.mu[:] = middle
        if model.filling is not None:
            wanted = model.filling * lattice.whole.sites * model.orbitals
            reach = half_width(names[-1]) + 40.0 * model.electronic_temperature
            moments = electrons.unit * lattice.counted(sums[0])
            mu = self._chemical_potential(model, moments, names, wanted, reach)
            made = {name: self._expansion(model, name, mu) for name in names}
            rho, energies, _ = electrons.solve(levels, rung, made)
            out.mu += mu
        out.energy[:] = lattice.total(energies)
        if model.filling is not None:
            out.energy += out.mu * wanted
        out.density[:] = rho.density
        out.energy += model.electron_constant(x)
        model.electronic_force(rho, x, out.force)

    def _evaluate_on_device(self, model: Model, x: Array, out: Electrons) -> None:
        """At fixed mu on the plain square lattice; nothing comes back to the host."""
        from forcefields.window.device import OnDevice

        hopping = self._square(model)
        assert hopping is not None, "see capabilities"
        height, width = model.lattice.shape
        precision, tolerance, mu = getattr(np, self.precision), self.tolerance or MOMENT_TOLERANCE, model.mu or 0.0
        electrons = OnDevice((height, width), hopping, self._side, precision, tolerance, self.moments)
        electrons.solve(model.onsite(x), mu, model.electronic_temperature, out.density, out.energy)
        out.mu.fill(mu)
        out.energy += model.electron_constant(x)
        model.electronic_force(DensityMatrix(out.density), x, out.force)

    def _close(self) -> None:
        self._buffers.clear()

    @property
    def _side(self) -> int:
        return self.width or WIDTH

    def _chemical_potential(self, model: Model, sums: Array, names: list[int], wanted: float, reach: float) -> float:
        """mu of one replica from the middle of its levels; moments don't depend on it, so nothing is propagated again."""

        def count(mu: float) -> float:
            series = (self._expansion(model, name, mu).density for name in names)
            return sum(float(c @ total[: len(c)]) for c, total in zip(series, sums, strict=True))

        return chemical_potential(count, wanted, -reach, reach)

    def _layers(self, model: Model) -> int:
        return 1 if self._square(model) is not None else Graph.of_model(model).layers(model.lattice)

    def _expansion(self, model: Model, rung: int, mu: float) -> Expansion:
        a, temperature = half_width(rung), model.electronic_temperature
        if self.moments is None:
            order = order_for(temperature / a, self.tolerance or MOMENT_TOLERANCE)
        else:
            order = self.moments + self.moments % 2
        return expansion(temperature, a, mu, order)

    def _electrons(self, model: Model, x: Array) -> OnSquare | OnGraph:
        hopping = self._square(model)
        if hopping is not None:
            from forcefields.window.square import OnSquare  # other lattices need no numba

            height, width = model.lattice.shape
            return OnSquare(
                (height, width),
                hopping,
                self._side,
                getattr(np, self.precision),
                model.lattice.sites_asked,
                model.lattice.whole.sites,
            )
        if "cut" not in self._buffers:  # made here, because a ramp may take a model away from equal hops
            self._buffers["cut"] = self._cut(model)
        graph, windows = self._buffers["cut"]
        return OnGraph(graph.at(model, x), windows, model.needs_bonds)

    def _cut(self, model: Model) -> tuple[Graph, Patches]:
        """Which sites are joined, and the windows, where no kernel is compiled."""
        graph = Graph.of_model(model)
        return graph, Patches.of(model, graph, self._side // 2, "square")
