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

from forcefields.poles import PoleExpansion
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons, ForceField
from latticemd.models.model import Model

SAMPLE_CELLS = 20  # per direction of a sample: enough for the largest patch, and milliseconds for its exact solution
SAFETY = 2.0  # between the error of the samples and that of the lattice

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class Candidate:
    """A force field that might do, what it is called, and whether its error is known to be small whatever the state."""

    title: str
    forcefield: ForceField
    exact: bool = False


class Chooser:
    """Serves each replica with the first candidate whose rms error of the density is at most `tolerance`.

    Two errors are measured, and the larger one counts:

    - samples of SAMPLE_CELLS cells per direction are cut out of the configuration at fixed places, closed periodically and
      solved exactly: they show errors that are everywhere, such as those of a gapless state;
    - the rms difference of the density to that of the candidate before, on all sites: it is about the error of the latter,
      and shows the rare sites, with a level at mu, that samples miss and that can make nearly all of a mean square.

    If no candidate is good enough the last one serves, and the log says so. The choice is a pure function of the model and the
    positions of a replica: the same after a restart, alone and in a batch. It is logged, with the estimate, whenever it
    changes. Where it changes, the force jumps by no more than the tolerance. `candidates` lists them for a model from cheap to
    dear; the first one is only compared with.
    """

    def __init__(self, name: str, tolerance: float, candidates: Callable[[Model], Sequence[Candidate]]) -> None:
        self.name = name
        self.tolerance = tolerance
        self.candidates = candidates
        self._ready: dict[str, ForceField] = {}
        self._reported = ""

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """What holds for all candidates; a choice depends on samples from everywhere."""
        each = [candidate.forcefield.capabilities(model, 1) for candidate in self.candidates(model)]
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
        for candidate in self.candidates(model):
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
            self.serve(model, x[r : r + 1], step, _replica(out, r))

    def close(self) -> None:
        """Release every candidate that was chosen."""
        for forcefield in self._ready.values():
            forcefield.close()
        self._ready.clear()
        self._reported = ""

    def serve(self, model: Model, x: Array, step: int, out: Electrons) -> tuple[Candidate, float]:
        """Evaluate one replica, x (1, N, D), with the candidate it needs; returns this and its estimated rms error."""
        candidates = self.candidates(model)
        last = len(candidates) - 1
        samples = [] if candidates[0].exact else _solved_samples(model, x[0])
        before: Array | None = None
        for k, candidate in enumerate(candidates):
            if candidate.exact:
                self._prepared(candidate, model).evaluate(model, x, step, out)
                estimate = 0.0
                break
            estimate = _estimate(candidate.forcefield, samples)
            if k < last and (k == 0 or estimate > self.tolerance):
                continue  # the first one has nothing to be compared with
            if k > 0 and before is None:
                self._prepared(candidates[k - 1], model).evaluate(model, x, step, out)
                before = out.density.copy()
            self._prepared(candidate, model).evaluate(model, x, step, out)
            if before is not None:
                estimate = max(estimate, _rms(out.density - before))
            if estimate <= self.tolerance:
                break
            before = out.density.copy()
        self._report(candidate, estimate)
        return candidate, estimate

    def _prepared(self, candidate: Candidate, model: Model) -> ForceField:
        if candidate.title not in self._ready:
            candidate.forcefield.prepare(model, 1)
            self._ready[candidate.title] = candidate.forcefield
        return self._ready[candidate.title]

    def _report(self, candidate: Candidate, error: float) -> None:
        if self._reported == candidate.title:
            return
        self._reported = candidate.title
        level, verdict = (logging.INFO, "within") if error <= self.tolerance else (logging.WARNING, "ABOVE")
        log.log(level, "force field %s takes %s: estimated rms error of the density %.1e, %s the tolerance %g",
                self.name, candidate.title, error, verdict, self.tolerance)  # fmt: skip


@dataclass(frozen=True)
class Sized(ABC):
    """A local force field of a size, the radius of a patch or the width of a window, which a tolerance can set.

    Subclasses say what one size does, in `_capabilities`, `_prepare`, `_evaluate` and `_close`, and list in `rungs` the sizes
    to choose from, or none where the user has chosen.
    """

    tolerance: float | None

    @abstractmethod
    def rungs(self) -> list[Candidate]:
        """Force fields of this kind from small to large; empty if there is nothing to choose."""

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
        if self.tolerance is None or not self.rungs():
            return None
        # New ones for each choice: those that serve stay prepared for the lattice while others are tried on samples.
        return Chooser(type(self).__name__.lower(), self.tolerance, lambda model: self.rungs())

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Local unless mu follows a filling or the size the state, deterministic, with an energy that is no exact potential."""
        if self._chooser:
            return self._chooser.capabilities(model, replicas)
        return self._capabilities(model, replicas)

    def prepare(self, model: Model, replicas: int) -> None:
        """Raises InputError for models it cannot serve."""
        if self._chooser:
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
                self._evaluate(model, x[r : r + 1], _replica(out, r))

    def close(self) -> None:
        """Drop what was prepared or chosen."""
        if self._chooser:
            self._chooser.close()
        self._close()


def _solved_samples(model: Model, x: Array) -> list[tuple[Model, Array, Array]]:
    """Parts of the lattice, each closed periodically with the positions it has, (1, n, D), and their exact density (n,).

    They lie at fixed, even distances.
    """
    lattice = model.lattice
    shape = tuple(min(n, SAMPLE_CELLS) for n in lattice.shape)
    small = lattice.resized(shape)
    basis = np.tile(np.arange(len(lattice.cell.basis)), small.sites // len(lattice.cell.basis))
    begins = ((0, n // 4 * 2) if n >= 2 * m else (0,) for n, m in zip(lattice.shape, shape, strict=True))
    part = dataclasses.replace(model, lattice=small)
    corners: Iterator[tuple[int, ...]] = itertools.product(*begins)
    cut = [x[None, lattice.site(small.cells + np.array(corner), basis)] for corner in corners]
    return [(part, positions, _density(PoleExpansion(), part, positions)) for positions in cut]


def _density(forcefield: ForceField, model: Model, x: Array) -> Array:
    electrons = Electrons.empty(1, model)
    forcefield.prepare(model, 1)
    try:
        forcefield.evaluate(model, x, 0, electrons)
    finally:
        forcefield.close()
    return electrons.density[0]


def _estimate(forcefield: ForceField, samples: list[tuple[Model, Array, Array]]) -> float:
    """SAFETY times the rms error over all samples; infinity where the force field does not serve them."""
    try:
        errors = [_density(forcefield, part, x) - exact for part, x, exact in samples]
    except InputError:
        return float("inf")
    return SAFETY * _rms(np.array(errors))


def _replica(electrons: Electrons, r: int) -> Electrons:
    """Views of one replica."""
    one = slice(r, r + 1)
    return Electrons(electrons.force[one], electrons.energy[one], electrons.density[one], electrons.mu[one])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
