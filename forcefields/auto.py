"""`auto`: the cheapest force field whose error, measured on the configuration itself, is small enough."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from forcefields.cavity import Cavity
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons, ForceField
from latticemd.lattice import Lattice
from latticemd.models.model import Model
from latticemd.parameters import parameter

EXACT_SITES = 4096  # up to which `poles` takes no longer than measuring the error of anything else
SAMPLE_CELLS = 20  # per direction of a sample: enough for the largest patch, and milliseconds for its exact solution
SAFETY = 2.0  # between the error of the samples and that of the lattice, since a few sites can make most of an error

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class Candidate:
    """A force field that might do, what it is called, and about how long it takes [second/site] on one core."""

    title: str
    forcefield: ForceField
    seconds_per_site: float


@dataclass(frozen=True)
class Auto:
    """`poles` where it is cheap, else the cheapest local force field that is good enough at these positions.

    Up to EXACT_SITES sites the answer is that of `poles`. Beyond, the error of candidates, from cheap to dear, is measured
    where it matters: samples of SAMPLE_CELLS cells per direction are cut out of the configuration at fixed places, closed
    periodically and solved exactly. The first candidate whose rms error of the density, times SAFETY, is at most `tolerance`
    serves the step; `poles`, which always is good enough, is among them at its place.

    The choice is a pure function of the positions of a replica: the same after a restart, alone and in a batch. It is
    written to the log, with the estimated error, whenever it changes. Where it changes, the force jumps by no more than the
    tolerance.

    Cost: that of the candidate, and some ten milliseconds for the samples. Name a force field yourself once you know
    which one suits (`latticemd bench`).
    """

    tolerance: float = parameter(1e-4, doc="largest root mean square error of the density", gt=0, lt=0.1)
    ladder: ClassVar[tuple[dict[str, Any], ...]] = ()  # to compare it with those it chooses from would be to ask twice
    _chosen: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Conservative as long as `poles` does everything; a choice depends on samples from everywhere."""
        exact = model.lattice.sites <= EXACT_SITES
        needs = [_needs(candidate, model) for candidate in self._candidates(model)[: 1 if exact else None]]
        return Capabilities(
            conservative=exact,
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=max(needs) + 64 * replicas * model.lattice.sites,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing yet: a candidate is prepared when it is first chosen. Raises InputError if `poles` cannot serve the model."""
        probe = PoleExpansion()
        probe.prepare(_samples(model, np.zeros((model.lattice.sites, model.components)))[0][0], 1)
        probe.close()

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D), each with its own choice."""
        for r in range(len(x)):
            candidate, error = self.choice(model, x[r])
            self._report(candidate, error)
            one = Electrons(*(getattr(out, f.name)[r : r + 1] for f in dataclasses.fields(Electrons)))
            self._ready(candidate, model).evaluate(model, x[r : r + 1], step, one)

    def close(self) -> None:
        """Release every force field that was chosen."""
        for forcefield in self._chosen.pop("ready", {}).values():
            forcefield.close()
        self._chosen.clear()

    def choice(self, model: Model, x: Array) -> tuple[Candidate, float]:
        """The candidate for positions x (N, D), and the estimate of its rms error of the density: at most `tolerance`."""
        exact, *_ = candidates = self._candidates(model)
        if model.lattice.sites <= EXACT_SITES:
            return exact, PoleExpansion.tolerance
        samples = _samples(model, x)
        references = [_density(exact.forcefield, *sample) for sample in samples]
        for candidate in sorted(candidates, key=lambda c: c.seconds_per_site):
            if candidate is exact:
                break
            error = _estimate(candidate.forcefield, samples, references)
            if error <= self.tolerance:
                return candidate, error
        return exact, PoleExpansion.tolerance

    def _candidates(self, model: Model) -> list[Candidate]:
        """`poles` first, then local force fields; times as tools/bench/comparison.py finds them, in double precision."""
        fine = min(1e-6, 0.1 * self.tolerance)  # of what must not add to the error of a patch
        return [
            Candidate("poles", PoleExpansion(), 1.6e-7 * model.lattice.sites**0.5),
            *(
                Candidate(f"cavity, radius {radius}", Cavity(radius=radius, tolerance=fine), seconds)
                for radius, seconds in ((1, 0.16e-6), (2, 1.6e-6), (3, 4.3e-6), (4, 10e-6))
            ),
            *(
                Candidate(f"window, width {width}", Window(width=width, tolerance=0.3 * self.tolerance), seconds)
                for width, seconds in ((17, 8e-6), (25, 15e-6))
            ),
        ]

    def _ready(self, candidate: Candidate, model: Model) -> ForceField:
        ready: dict[str, ForceField] = self._chosen.setdefault("ready", {})
        if candidate.title not in ready:
            candidate.forcefield.prepare(model, 1)
            ready[candidate.title] = candidate.forcefield
        return ready[candidate.title]

    def _report(self, candidate: Candidate, error: float) -> None:
        if self._chosen.get("reported") != candidate.title:
            self._chosen["reported"] = candidate.title
            log.info("force field auto takes %s: estimated rms error of the density %.1e, tolerance %g",
                     candidate.title, error, self.tolerance)  # fmt: skip


def _needs(candidate: Candidate, model: Model) -> int:
    return candidate.forcefield.capabilities(model, 1).bytes_needed


def _samples(model: Model, x: Array) -> list[tuple[Model, Array]]:
    """Parts of the lattice, each closed periodically with the positions it has, (1, n, D); at fixed, even distances."""
    lattice = model.lattice
    shape = tuple(min(n, SAMPLE_CELLS) for n in lattice.shape)
    small = Lattice(lattice.type, shape)
    basis = np.tile(np.arange(len(lattice.cell.basis)), small.sites // len(lattice.cell.basis))
    begins = ((0, n // 4 * 2) if n >= 2 * m else (0,) for n, m in zip(lattice.shape, shape, strict=True))
    part = dataclasses.replace(model, lattice=small)
    corners: Iterator[tuple[int, ...]] = itertools.product(*begins)
    return [(part, x[None, lattice.site(small.cells + np.array(corner), basis)]) for corner in corners]


def _density(forcefield: ForceField, model: Model, x: Array) -> Array:
    electrons = Electrons.empty(1, model)
    forcefield.prepare(model, 1)
    try:
        forcefield.evaluate(model, x, 0, electrons)
    finally:
        forcefield.close()
    return electrons.density[0]


def _estimate(forcefield: ForceField, samples: list[tuple[Model, Array]], references: list[Array]) -> float:
    """SAFETY times the rms error over all samples; infinity where the force field does not serve them."""
    try:
        errors = [_density(forcefield, *sample) - exact for sample, exact in zip(samples, references, strict=True)]
    except InputError:
        return float("inf")
    return SAFETY * float(np.sqrt(np.mean(np.square(errors))))
