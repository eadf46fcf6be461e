"""`kpm`: the kernel polynomial method, global and with a few vectors for all sites."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from forcefields.choice import Report, replica_of
from forcefields.filling import chemical_potential
from forcefields.hopping import Graph, OfModel, has_bonds_of, plain_matrix, square_hopping, uniform_hopping
from forcefields.kpm.chebyshev import MOST_MOMENTS, Interval, Series, fermi_series, intervals
from forcefields.kpm.colouring import colours_of_orbitals, graph_colours, square_colours
from forcefields.kpm.distance import DISTANCES, Colouring, finest_needed
from forcefields.kpm.probing import BLOCK_BYTES, Coloured, OnGraph, Probed, Random
from forcefields.kpm.states import density_from, mean_moments, moments_for
from forcefields.memory import require_memory
from latticemd.backends import kernels_for, on_device
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.lattice.block import Block
from latticemd.models.hamiltonian import DensityMatrix, Hamiltonian
from latticemd.models.model import Model
from latticemd.parameters import parameter
from latticemd.rng import Stream

if TYPE_CHECKING:
    from forcefields.kpm.block import OnBlock
    from forcefields.kpm.square import OnSquare

COLOURS, POLYNOMIAL = (
    8,
    1e-5,
)  # the distance of equal colours, and the error of the polynomial, unless the user says otherwise

_MOMENTS_EXPECTED = 2**13  # in the estimate of memory, where the positions are not known yet
_BYTES_PER_ORBITAL = 256  # of on-site energies, densities, and the search for the interval
_BYTES_PER_PAIR = 200  # of the list of pairs, the sparse matrix, and what is probed of the density matrix
_BYTES_PER_NEIGHBOUR = 64  # while sites within c hops are coloured, some c^2 of them in two dimensions

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class KernelPolynomial:
    """A Chebyshev polynomial of H, applied to vectors that ask for many sites at once.

    f(H) v = sum_k c_k T_k(h) v,   T_{k+1} = 2 h T_k - T_{k-1},   h = (H - centre) / half_width,   k < M
    n_i    = (f(H) v)_i                            with v = 1 on the sites of i's colour and 0 on all others
    Omega  = sum_k d_k sum_v <v| T_k(h) |v>        with d_k those of -kT log(1 + exp(-(e - mu)/kT)); plus mu N_el at fixed filling

    The interval holds all levels of any field. Two errors are made. That of the polynomial is bounded, whatever the state, and M
    grows as half_width/kT: 260 at g = 1.5, 2900 on random states at g = 3.5 (kT = 0.1, tolerance 1e-6). That of the colouring
    is the sum of f_ij over the other sites j of i's colour. Nothing bounds it beforehand: rms errors of the density at t = 1,
    kT = 0.1, hardly smaller or larger at kT = 0.02 where there is a gap, and the same on 24 x 24 and 96 x 96 sites, are

    ==============================  ======  ======  ======  ======
    state                           c = 4   6       8       12
    ==============================  ======  ======  ======  ======
    charge order, g = 1.5           9e-4    3e-5    2e-6    2e-8
    charge order, gap 2 t           3e-3    1e-3    1e-4    2e-6
    charge order, gap 0.8 t         1e-2    6e-3    2e-3    2e-4
    random, g = 3.5                 4e-4    1e-5    1e-6    < 1e-7
    random, g = 1.5                 3e-2    1e-2    4e-3    1e-3
    random, g = 1.5, kT = 0.02      4e-2    2e-2    8e-3    3e-3
    nearly free, g = 0.15           2e-2    1e-2    7e-3    3e-3
    ==============================  ======  ======  ======  ======

    With a `tolerance` and no colours, c is the first of 4, 6, 8, 12, ... 48 whose error is small enough. It is measured on the
    configuration itself: random signs on all sites change what a colouring gives by an independent error of the same size, or a
    larger one (`forcefields.kpm.distance`). That costs once more what the answer costs, and a little for the colourings that are
    passed over. The choice is a function of the positions alone; where it changes, the force jumps by no more than the tolerance.

    The force is NOT the gradient of this Omega; motion conserves it only to the error of the colouring. Where both extents
    divide by c, every operation of the square lattice maps colours on colours and the force keeps the space group to rounding;
    otherwise colours repeat unevenly and symmetries are broken at the error of the colouring. A direction that cannot hold two
    stretches of c sites gets a colour for every position. Particle-hole symmetry is exact, in single precision too.

    `vectors: random` takes R vectors of random signs instead, drawn anew for each step and alike for all replicas. The force is
    a pure function of x and the step, and unbiased, but noisy: a density by up to 0.5/sqrt(R). That heats the lattice, breaks all
    symmetries and makes motion irreversible; it is here because others do it, and for traces.

    The square lattice with one real hopping is compiled; all else goes through sparse matrices, ten times slower. On other
    lattices equal colours are c hops apart, in any direction: fewer vectors than c x c, and larger errors. Each orbital of a
    site has vectors of its own, and f_ij within sites and along hops is probed where the force asks for it.

    Cost: O(N M c^2), of global reach. A step costs 0.4 ns per site and vector on one core in float64, 0.23 in float32: a force with
    the defaults 7 and 4 microseconds per site at g = 1.5, twice that at fixed filling, where a first pass counts the electrons.
    Memory is O(N). Use `cavity` where a local force will do, `poles` or `ed` where the error must be small whatever the state.

    References: Weisse, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006), doi:10.1103/RevModPhys.78.275 (kernel
    polynomials); Tang and Saad, doi:10.1002/nla.779 (probing); Barros and Kato, Phys. Rev. B 88, 235101 (2013),
    doi:10.1103/PhysRevB.88.235101, and Wang, Chern, Batista and Barros, doi:10.1063/1.5017741 (lattice dynamics with it).
    """

    colours: int | None = parameter(
        None,
        doc="c: c x c colours; sites of one colour are c apart (even); what tolerance needs, 8 if neither is given",
        ge=2,
        le=256,
    )
    moments: int | None = parameter(
        None, doc="number M of Chebyshev moments, instead of tolerance", ge=2, le=MOST_MOMENTS
    )
    tolerance: float | None = parameter(
        None,
        doc="largest rms error of the density, sets colours and moments; with colours, of the moments alone (1e-5)",
        ge=1e-11,
        lt=0.1,
    )
    damping: Literal["none", "jackson"] = parameter(
        "none", doc="jackson: occupations stay within 0 and 1, errors fall as 1/M only; needs moments"
    )
    vectors: Literal["coloured", "random"] = parameter(
        "coloured", doc="coloured: one for each colour; random: of random signs, new in each step, the force is noisy"
    )
    random_vectors: int = parameter(64, doc="number R of random vectors", ge=1, le=65536)
    seed: int = parameter(0, doc="seed of random vectors, and of the signs that measure errors", ge=0, lt=2**64)
    precision: Literal["float64", "float32"] = parameter(
        "float64",
        doc="of the vectors in compiled kernels; float32 is nearly twice as fast, with errors of 1e-6 and more",
    )
    ladder: ClassVar[tuple[dict[str, Any], ...]] = tuple({"colours": colours} for colours in (4, 8, 12))
    _square: OfModel[float | None] = field(
        init=False, default_factory=lambda: OfModel(square_hopping), repr=False, compare=False
    )
    _uniform: OfModel[float | None] = field(
        init=False, default_factory=lambda: OfModel(uniform_hopping), repr=False, compare=False
    )
    _prepared: dict[int, Array] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Global and deterministic; its free energy is not the one that its force conserves."""
        orbitals, moments = model.lattice.sites * model.orbitals, self.moments or _MOMENTS_EXPECTED
        random, farthest = self._random, DISTANCES[-1] if self._chooses else self._distance
        needed = replicas * (orbitals * _BYTES_PER_ORBITAL + 8 * moments) + 8 * self.random_vectors * orbitals * random
        if self._square(model) is not None:
            from forcefields.kpm.square import working_bytes  # numba need not be loaded for other lattices

            height, width = model.lattice.shape
            count = self.random_vectors if random else int(self._colours(model, farthest).max()) + 1
            needed += working_bytes((height, width), self.precision) + 8 * replicas * count * (
                moments + orbitals * random
            )
        else:
            hops = model.hops()
            needed += 6 * max(BLOCK_BYTES, 16 * orbitals)
            needed += _BYTES_PER_PAIR * replicas * model.orbitals**2 * (len(hops.i) + model.lattice.sites)
            if not has_bonds_of(model.lattice, hops, "square"):
                needed += _BYTES_PER_NEIGHBOUR * min(model.lattice.sites, farthest**model.lattice.directions)
        return Capabilities(
            conservative=False,
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=needed,
            single=self.precision == "float32" and self._square(model) is not None,
            cuda=self._has_kernels(model),
            rim=self._rim(model),
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Colour lattices without compiled kernels. Raises InputError for models it cannot serve and too little memory."""
        self.close()
        if self.colours is not None and self.colours % 2:
            raise InputError(f"colours: expected an even number, got {self.colours}; use {self.colours + 1}")
        if self.damping == "jackson" and self.moments is None:
            raise InputError("damping jackson needs moments: it misses any tolerance; moments: 1000 is a start")
        if self._chooses and self.moments is not None:
            raise InputError("tolerance sets colours and moments; give colours with moments, or leave moments out")
        require_memory(
            self.capabilities(model, replicas).bytes_needed,
            f"forcefield kpm with {model.lattice.sites} sites and {replicas} replica(s)",
            "use a smaller lattice, fewer replicas or fewer random vectors",
        )
        if not self._random and not self._chooses:
            self._colours(model, self._distance)
        if self._random:
            log.warning(
                "forcefield kpm with %d random vectors: forces are noisy, densities by up to %.2g, and heat the lattice",
                self.random_vectors, 0.5 / np.sqrt(self.random_vectors),
            )  # fmt: skip

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Densities, free energies and forces of all replicas at x (R, N, D)."""
        if on_device(x):
            self._evaluate_on_device(model, x, out)
            return
        if self._chooses:
            for r in range(len(x)):
                self.serve(model, x[r : r + 1], replica_of(out, r))
            return
        hamiltonian = Hamiltonian.of(model, x)
        mu, seen = self._seen(model, hamiltonian, self._electrons(model, step), hamiltonian.wants_pairs)
        _write(model, x, hamiltonian, mu, seen, out)

    def serve(self, model: Model, x: Array, out: Electrons) -> tuple[int, float]:
        """Evaluate one replica, x (1, N, D), with the colours that its tolerance needs; returns c and the estimated rms error."""
        hamiltonian = Hamiltonian.of(model, x)
        bounds, pairs = intervals(hamiltonian, model.lattice), hamiltonian.wants_pairs
        orbitals = model.lattice.sites * model.orbitals
        # mu is found with the fewest colours, for all others to be compared at the same one.
        _, rough = self._series(model, hamiltonian, bounds, self._electrons(model, 0, DISTANCES[0]))

        def see(distance: int) -> Callable[[Array | None, Array | None], Probed]:
            return lambda signs, asked: self._electrons(model, 0, distance, signs, asked).propagate(
                hamiltonian, bounds, rough, pairs
            )

        colourings = [
            Colouring(distance, functools.partial(self._colours_of_orbitals, model, distance), see(distance))
            for distance in DISTANCES
        ]
        signs = self._signs(1, orbitals, 0)[0]
        chosen, seen, error = finest_needed(colourings, signs, (self.tolerance or 0.0) - self._fine)
        self._report.say(f"{chosen.distance} colours", error + self._fine)
        mu = np.full(1, model.mu or 0.0)
        if model.filling is not None:
            mu, seen = self._seen(model, hamiltonian, self._electrons(model, 0, chosen.distance), pairs)
        _write(model, x, hamiltonian, mu, seen, out)
        return chosen.distance, error + self._fine

    def _evaluate_on_device(self, model: Model, x: Array, out: Electrons) -> None:
        """At fixed mu; two numbers of each replica come back to the host, for the interval and the number of moments."""
        from forcefields.kpm.device import AlongRows, OnDevice, colours_on_device, listed

        uniform, mu, precision = self._uniform(model), model.mu or 0.0, getattr(np, self.precision)
        colours, count = colours_on_device(model.lattice, self._distance, functools.partial(self._colours, model))
        hopping = listed(model, precision) if uniform is None else AlongRows(model.lattice, uniform)
        vectors = OnDevice(hopping, colours, count, precision)
        levels = model.onsite(x)
        bounds = vectors.intervals(levels)
        whole = [fermi_series(interval, mu, model.electronic_temperature) for interval in bounds]
        series = [self._cut(one, self._moments(one)) for one in whole]
        out.energy[...] = vectors.solve(levels, bounds, series, out.density)
        out.mu.fill(mu)
        out.energy += model.electron_constant(x)
        model.electronic_force(DensityMatrix(out.density), x, out.force)

    def _has_kernels(self, model: Model) -> bool:
        """Whether there are kernels for GPUs: for coloured vectors and real hops."""
        real = plain_matrix(model) and not np.iscomplexobj(model.hops().amplitude)
        return real and not self._random and not self._chooses

    def bonds(self, model: Model, x: Array, step: int = 0) -> Array:
        """<c+_j c_i> for the pairs of orbitals (i, j) of the Hamiltonian at x (R, N, D), (R, P): of one orbital, the hops.

        Never with the compiled kernels. Sites of the same colour as j are as near to i as c - 1 hops, so that errors are larger
        than those of densities.
        """
        vectors = OnGraph(self._probes(model, step))
        seen = self._seen(model, Hamiltonian.of(model, x), vectors, pairs=True)[1]
        assert seen.pairs is not None
        return seen.pairs

    def density_of_states(
        self, model: Model, x: Array, energies: Array, width: float, sites: Array | None = None
    ) -> Array:
        """The density of states (R, E) at `energies` (E,) per orbital, mean over `sites` (R, N) or all; see `states`.

        Levels appear `width` wide. Up to `random_vectors` orbitals are seen one by one, more through so many random vectors,
        which are the same in each call.
        """
        hamiltonian = Hamiltonian.of(model, x)
        chosen = np.ones(hamiltonian.levels.shape, bool) if sites is None else np.repeat(sites, model.orbitals, axis=1)
        signs = self._signs(self.random_vectors, hamiltonian.size, 0)
        found = np.full((len(x), len(energies)), np.nan)
        for r, interval in enumerate(intervals(hamiltonian, model.lattice)):
            seen = np.flatnonzero(chosen[r])
            vectors = np.zeros((hamiltonian.size, min(len(seen), self.random_vectors)))
            if len(seen) <= self.random_vectors:
                vectors[seen, np.arange(len(seen))] = 1.0
            else:
                vectors[seen] = signs[:, seen].T
            if len(seen):
                one = mean_moments(hamiltonian.replica(r), interval, vectors, moments_for(width, interval))
                found[r] = density_from(one, interval, energies)
        return found

    def close(self) -> None:
        """Drop the colours."""
        self._prepared.clear()
        self._report.forget()

    @cached_property
    def _report(self) -> Report:
        return Report("kpm", self.tolerance or POLYNOMIAL)

    def _rim(self, model: Model) -> int | None:
        """Coloured vectors with kernels can be cut into blocks; a choice of colours and a search for mu see all of them."""
        if self._square(model) is None or self._random or self._chooses or model.filling is not None:
            return None
        from forcefields.kpm.block import RIM  # numba need not be loaded for other lattices

        return RIM

    @property
    def _chooses(self) -> bool:
        """Whether the tolerance sets the colours."""
        return self.colours is None and self.tolerance is not None and self.vectors == "coloured"

    @property
    def _distance(self) -> int:
        return self.colours or COLOURS

    @property
    def _fine(self) -> float:
        """Largest error of the polynomial."""
        return 0.1 * (self.tolerance or POLYNOMIAL) if self._chooses else self.tolerance or POLYNOMIAL

    def _seen(
        self, model: Model, hamiltonian: Hamiltonian, electrons: OnSquare | OnBlock | OnGraph, pairs: bool
    ) -> tuple[Array, Probed]:
        """mu (R,), and what is seen of f(H) with the series at it."""
        bounds = intervals(hamiltonian, model.lattice)
        mu, series = self._series(model, hamiltonian, bounds, electrons)
        return mu, electrons.propagate(hamiltonian, bounds, series, pairs)

    def _series(
        self, model: Model, hamiltonian: Hamiltonian, bounds: list[Interval], electrons: OnSquare | OnBlock | OnGraph
    ) -> tuple[Array, list[Series]]:
        """mu (R,) and the series of each replica."""
        temperature = model.electronic_temperature
        if model.filling is None:
            whole = [fermi_series(interval, model.mu or 0.0, temperature) for interval in bounds]
            return np.full(len(whole), model.mu or 0.0), [self._cut(one, self._moments(one)) for one in whole]
        # In the middle of the interval a Fermi edge needs most moments, so they suffice for any mu.
        counts = [self._moments(fermi_series(interval, interval.centre, temperature)) for interval in bounds]
        traces = electrons.propagate(
            hamiltonian, bounds, [Series(np.zeros(count), np.zeros(count)) for count in counts]
        ).traces
        wanted = model.filling * hamiltonian.size
        mu = np.array([self._mu_of(wanted, temperature, *one) for one in zip(bounds, traces, strict=True)])
        each = zip(bounds, mu.tolist(), counts, strict=True)
        return mu, [self._cut(fermi_series(one, level, temperature), count) for one, level, count in each]

    def _mu_of(self, wanted: float, temperature: float, interval: Interval, trace: Array) -> float:
        """The mu at which the series adds up to the wanted number of electrons, given the traces of T_k (M,)."""

        def count(mu: float) -> float:
            return float((self._cut(fermi_series(interval, mu, temperature), len(trace)).density * trace).sum())

        reach = interval.half_width + 40.0 * temperature
        return chemical_potential(count, wanted, interval.centre - reach, interval.centre + reach)

    def _moments(self, series: Series) -> int:
        return min(self.moments or series.enough(self._fine), series.moments)

    def _cut(self, series: Series, moments: int) -> Series:
        cut = series.cut(moments)
        return cut.damped() if self.damping == "jackson" else cut

    def _electrons(
        self, model: Model, step: int, distance: int = 0, signs: Array | None = None, asked: Array | None = None
    ) -> OnSquare | OnBlock | OnGraph:
        """The vectors of a step; of colours at another distance, with signs, or some of them alone, if such are given."""
        hopping = self._square(model)
        if hopping is None:
            return OnGraph(self._probes(model, step, distance, signs, asked))
        precision = getattr(np, self.precision)
        if isinstance(model.lattice, Block):
            from forcefields.kpm.block import OnBlock

            return OnBlock(model.lattice, hopping, self._distance, precision)
        from forcefields.kpm.square import OnSquare  # other lattices need no numba

        height, width = model.lattice.shape
        random = Random(self._signs(self.random_vectors, model.lattice.sites, step)) if self._random else None
        return OnSquare((height, width), hopping, distance or self._distance, random, precision, signs, asked)

    def _probes(
        self, model: Model, step: int, distance: int = 0, signs: Array | None = None, asked: Array | None = None
    ) -> Coloured | Random:
        if self._random:
            return Random(self._signs(self.random_vectors, model.lattice.sites * model.orbitals, step))
        return Coloured(self._colours_of_orbitals(model, distance or self._distance), signs, asked)

    @property
    def _random(self) -> bool:
        return self.vectors == "random"

    def _colours_of_orbitals(self, model: Model, distance: int) -> Array:
        """(N o,)."""
        return colours_of_orbitals(self._colours(model, distance), model.orbitals)

    def _colours(self, model: Model, distance: int) -> Array:
        """The colours of the sites, (N,), where equal ones are so far apart."""
        if distance not in self._prepared:
            square = has_bonds_of(model.lattice, model.hops(), "square")
            self._prepared[distance] = (
                square_colours(model.lattice.shape, distance)
                if square
                else graph_colours(Graph.of_model(model), distance)
            )
        return self._prepared[distance]

    def _signs(self, count: int, orbitals: int, step: int) -> Array:
        """Random signs of a step (count, n), the same for all replicas, so that a replica does not notice the others."""
        normals = np.empty((count, orbitals, 1))
        kernels_for(normals).normals(self.seed, int(Stream.PROBING), 0, step, 0, normals)
        return np.where(normals[..., 0] < 0.0, -1, 1).astype(np.int8)


def _write(model: Model, x: Array, hamiltonian: Hamiltonian, mu: Array, seen: Probed, out: Electrons) -> None:
    """Everything that follows from what was seen."""
    out.mu[:] = mu
    out.energy[:] = model.lattice.total(seen.energy)
    if model.filling is not None:
        out.energy += out.mu * model.filling * hamiltonian.size
    out.energy += model.electron_constant(x)
    rho = hamiltonian.density_matrix(seen.diagonal, seen.pairs)
    out.density[:] = rho.density
    model.electronic_force(rho, x, out.force)
