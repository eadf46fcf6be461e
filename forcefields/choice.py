"""The error of a force field, measured on samples of the configuration it is asked about, and choices that follow from it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from forcefields.blocks import hermitian, norms
from forcefields.hopping import Graph, square_hopping
from forcefields.poles import PoleExpansion
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons, ForceField
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model

SAMPLE_CELLS = {
    1: 200,
    2: 20,
    3: 10,
}  # along each direction of a sample: milliseconds for its exact solution in 2 dimensions
SAFETY = 2.0  # between the error of the samples and that of the lattice

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class Candidate:
    """A force field that might do.

    `exact` says whether its error is known to be small whatever the state, `cells` how many a patch of it covers along a
    direction: on a sample that is smaller than the lattice and holds no such patch, its error is not seen.
    """

    title: str
    forcefield: ForceField
    exact: bool = False
    cells: int = 1


Listing = Callable[[Model, Array | None], Sequence[Candidate]]


class Report:
    """Writes to the log what serves, and how good it is, whenever that changes."""

    def __init__(self, name: str, tolerance: float) -> None:
        self.name = name
        self.tolerance = tolerance
        self._reported = ""

    def say(self, title: str, error: float) -> None:
        """`title` serves with this estimated error; a warning if that is above the tolerance."""
        if self._reported == title:
            return
        self._reported = title
        level, verdict = (logging.INFO, "within") if error <= self.tolerance else (logging.WARNING, "ABOVE")
        log.log(level, "force field %s takes %s: estimated rms error of the density %.1e, %s the tolerance %g",
                self.name, title, error, verdict, self.tolerance)  # fmt: skip

    def forget(self) -> None:
        """The next one is said in any case."""
        self._reported = ""


class Chooser:
    """Serves each replica with the first candidate whose rms error of the density is at most `tolerance`.

    Two errors are measured, and the larger one counts:

    - samples of SAMPLE_CELLS cells are cut out of the configuration at fixed places, closed as the lattice is and solved
      exactly: they show errors that are everywhere, such as those of a gapless state;
    - the rms difference of the density to that of the candidate before, on all sites: it is about the error of the latter,
      and shows the rare sites, with a level at mu, that samples miss and that can make nearly all of a mean square.

    Where forces need more of rho than the density (several orbitals, hops that follow x), the error of the force counts too, in
    units of the force that entries of rho of size 1 exert: see `response`.

    If no candidate is good enough the last one serves, and the log says so. The choice is a pure function of the model and the
    positions of a replica: the same after a restart, alone and in a batch. It is logged, with the estimate, whenever it
    changes. Where it changes, the force jumps by no more than the tolerance. `candidates` lists them for a model from cheap to
    dear, as far as that is known at positions x (1, N, D) or, with None, before there are any; the first one is only compared
    with.
    """

    def __init__(self, name: str, tolerance: float, candidates: Listing) -> None:
        self.name = name
        self.tolerance = tolerance
        self.candidates = candidates
        self._ready: dict[str, ForceField] = {}
        self._report = Report(name, tolerance)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """What holds for all candidates; a choice depends on samples from everywhere."""
        each = [candidate.forcefield.capabilities(model, 1) for candidate in self.candidates(model, None)]
        return Capabilities(
            conservative=len(each) == 1 and each[0].conservative,
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=max(one.bytes_needed for one in each) + 64 * replicas * model.lattice.sites,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Candidates are prepared when they are first chosen. Raises InputError if none of them serves the model."""
        refused = []
        for candidate in self.candidates(model, None):
            try:
                candidate.forcefield.prepare(model, 1)
            except InputError as error:
                refused.append(error)
                continue
            candidate.forcefield.close()
            return
        raise refused[0]

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D), each with its own choice."""
        for r in range(len(x)):
            self.serve(model, x[r : r + 1], step, replica_of(out, r))

    def close(self) -> None:
        """Release every candidate that was chosen."""
        for forcefield in self._ready.values():
            forcefield.close()
        self._ready.clear()
        self._report.forget()

    def serve(self, model: Model, x: Array, step: int, out: Electrons) -> tuple[Candidate, float]:
        """Evaluate one replica, x (1, N, D), with the candidate it needs; returns this and its estimated rms error."""
        candidates = self.candidates(model, x)
        last, scale = len(candidates) - 1, response(model, x)
        samples = [] if candidates[0].exact else _solved_samples(model, x[0])
        before: Electrons | None = None
        for k, candidate in enumerate(candidates):
            if candidate.exact:
                self._prepared(candidate, model).evaluate(model, x, step, out)
                estimate = 0.0
                break
            estimate = _estimate(candidate, model, samples, scale)
            if k < last and (k == 0 or estimate > self.tolerance):
                continue  # the first one has nothing to be compared with
            if k > 0 and before is None:
                self._prepared(candidates[k - 1], model).evaluate(model, x, step, out)
                before = _copy(out)
            self._prepared(candidate, model).evaluate(model, x, step, out)
            if before is not None:
                estimate = max(estimate, deviation([(out, before)], scale))
            if estimate <= self.tolerance:
                break
            before = _copy(out)
        self._report.say(candidate.title, estimate)
        return candidate, estimate

    def _prepared(self, candidate: Candidate, model: Model) -> ForceField:
        if candidate.title not in self._ready:
            candidate.forcefield.prepare(model, 1)
            self._ready[candidate.title] = candidate.forcefield
        return self._ready[candidate.title]


@dataclass(frozen=True)
class Sized(ABC):
    """A local force field of a size, the radius of a patch or the width of a window, which a tolerance can set.

    Subclasses say what one size does, in `_capabilities`, `_prepare`, `_evaluate` and `_close`, and list in `rungs` the sizes
    to choose from, or none where the user has chosen.
    """

    tolerance: float | None

    @abstractmethod
    def rungs(self, model: Model, x: Array | None = None) -> list[Candidate]:
        """Force fields of this kind from small to large, whatever x is; empty if there is nothing to choose."""

    @property
    @abstractmethod
    def chooses(self) -> bool:
        """Whether a tolerance is to set the size."""

    @abstractmethod
    def _capabilities(self, model: Model, replicas: int) -> Capabilities: ...

    @abstractmethod
    def _prepare(self, model: Model) -> None: ...

    @abstractmethod
    def _evaluate(self, model: Model, x: Array, out: Electrons) -> None:
        """Of replicas that share mu and hops, otherwise of one."""

    @abstractmethod
    def _close(self) -> None: ...

    @cached_property
    def _chooser(self) -> Chooser | None:
        if self.tolerance is None or not self.chooses:
            return None
        # New ones for each choice: those that serve stay prepared for the lattice while others are tried on samples.
        return Chooser(type(self).__name__.lower(), self.tolerance, self.rungs)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Local unless mu follows a filling or the size the state, deterministic, with an energy that is no exact potential."""
        if self._chooser:
            return self._chooser.capabilities(model, replicas)
        return self._capabilities(model, replicas)

    def prepare(self, model: Model, replicas: int) -> None:
        """Raises InputError for models it cannot serve."""
        if self._chooser:
            if not alike_everywhere(model):
                raise InputError(
                    f"forcefield {self._chooser.name} measures its error on samples of the lattice, which must be alike "
                    "everywhere: without open ends, disorder or vacancies; give a size instead of a tolerance alone, or use poles"
                )
            self._chooser.prepare(model, replicas)
        else:
            self._prepare(model)

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Densities, free energies and forces of all replicas at x (R, N, D)."""
        if self._chooser:
            self._chooser.evaluate(model, x, step, out)
        elif model.filling is None and not model.needs_bonds:
            self._evaluate(model, x, out)
        else:  # mu and hops are those of a replica
            for r in range(len(x)):
                self._evaluate(model, x[r : r + 1], replica_of(out, r))

    def close(self) -> None:
        """Drop what was prepared or chosen."""
        if self._chooser:
            self._chooser.close()
        self._close()


def alike_everywhere(model: Model) -> bool:
    """Whether a part of the lattice, closed as the whole is, obeys the same Hamiltonian: no ends, no disorder, no vacancies.

    All cells are compared where x is the same everywhere; phases are left aside, as a twist has no place. Cost: O(N).
    """
    lattice = model.lattice
    if not all(lattice.periodic):
        return False
    basis, x = len(lattice.cell.basis), np.full((1, lattice.sites, model.components), 0.7)
    onsite = model.onsite(x).reshape(lattice.sites // basis, -1)
    if not np.allclose(onsite, onsite[0], rtol=1e-12, atol=1e-12):
        return False
    if square_hopping(model) is not None:
        return True
    graph = Graph.of_model(model).at(model, x)
    size = sparse.csr_array((norms(graph.amplitude), graph.source, graph.first), shape=(lattice.sites,) * 2)
    kind = np.arange(lattice.sites) % basis
    for step in np.eye(lattice.directions, dtype=int):
        image = lattice.site(lattice.cells + step, kind)
        if abs(size[image][:, image] - size).max() > 1e-12 * size.max():
            return False
    return True


def response(model: Model, x: Array) -> float | None:
    """The rms force that a random matrix with entries of size 1 in the place of rho exerts at x; None where all is density."""
    if model.orbitals == 1 and not model.needs_bonds:
        return None
    shape, bonds, o = (len(x), model.lattice.sites), (len(x), len(model.hops().i)), model.orbitals
    blocks = () if o == 1 else (o, o)
    random = np.random.default_rng(0)
    onsite, between = random.normal(size=(*shape, *blocks)), random.normal(size=(*bonds, *blocks))
    with_rho, without = np.empty_like(x), np.empty_like(x)
    model.electronic_force(DensityMatrix(hermitian(onsite), between), x, with_rho)
    model.electronic_force(DensityMatrix(0.0 * onsite, 0.0 * between), x, without)
    return _rms(with_rho - without)


def deviation(pairs: Sequence[tuple[Electrons, Electrons]], scale: float | None) -> float:
    """The rms difference of the density, or that of the force in units of `scale` if there is one and it is larger."""
    error = _rms(np.concatenate([(one.density - other.density).ravel() for one, other in pairs]))
    if scale:
        error = max(error, _rms(np.concatenate([(one.force - other.force).ravel() for one, other in pairs])) / scale)
    return error


def _solved_samples(model: Model, x: Array) -> list[tuple[Model, Array, Electrons]]:
    """Parts of the lattice, each closed as the whole is with the positions it has, (1, n, D), and their exact electrons.

    They lie at fixed, even distances, at most four of them.
    """
    lattice = model.lattice
    shape = tuple(min(n, SAMPLE_CELLS[lattice.directions]) for n in lattice.shape)
    small = lattice.resized(shape)
    basis = np.tile(np.arange(len(lattice.cell.basis)), small.sites // len(lattice.cell.basis))
    begins = [(0, n // 4 * 2) if n >= 2 * m else (0,) for n, m in zip(lattice.shape, shape, strict=True)]
    part = dataclasses.replace(model, lattice=small)
    corners: Iterator[tuple[int, ...]] = itertools.product(*begins[:2], *((0,) for _ in begins[2:]))
    cut = [x[None, lattice.site(small.cells + np.array(corner), basis)] for corner in corners]
    return [(part, positions, _solved(PoleExpansion(), part, positions)) for positions in cut]


def _solved(forcefield: ForceField, model: Model, x: Array) -> Electrons:
    electrons = Electrons.empty(1, model)
    forcefield.prepare(model, 1)
    try:
        forcefield.evaluate(model, x, 0, electrons)
    finally:
        forcefield.close()
    return electrons


def _estimate(
    candidate: Candidate, model: Model, samples: list[tuple[Model, Array, Electrons]], scale: float | None
) -> float:
    """SAFETY times the rms error over all samples; infinity where the force field does not serve them, or fills them."""
    for cells, whole in zip(samples[0][0].lattice.shape, model.lattice.shape, strict=True):
        if cells < min(candidate.cells, whole):
            return float("inf")
    try:
        return SAFETY * deviation(
            [(_solved(candidate.forcefield, part, x), exact) for part, x, exact in samples], scale
        )
    except InputError:
        return float("inf")


def _copy(electrons: Electrons) -> Electrons:
    return Electrons(electrons.force.copy(), electrons.energy.copy(), electrons.density.copy(), electrons.mu.copy())


def replica_of(electrons: Electrons, r: int) -> Electrons:
    """Views of one replica."""
    one = slice(r, r + 1)
    return Electrons(electrons.force[one], electrons.energy[one], electrons.density[one], electrons.mu[one])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
