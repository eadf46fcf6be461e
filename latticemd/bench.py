"""Which force field suits an input: time, memory and error of those that are installed, on the input's own configuration."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from latticemd.build import build_first_replica, build_model, require_cpu
from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.forcefield import Array, Electrons, ForceField, require_interactions
from latticemd.models.model import Model
from latticemd.parameters import parameters_of
from latticemd.plugins import load_plugin, plugin_names

REFERENCE = "ed"
REFERENCE_SITES = 1600  # up to which the reference takes about a second
REPEATS = 3
AFTER_A_WHILE = 0.5  # second, after which a measurement need not be repeated


@dataclasses.dataclass(frozen=True)
class Row:
    """One force field with one choice of settings.

    ==================  =============================================================================
    field               meaning
    ==================  =============================================================================
    name, settings      what to write under `forcefield:`
    seconds             per call for one replica, nan where it was not run [second]
    sites_per_second    sites over seconds
    bytes_needed        working memory it announces [byte]
    density_error       root mean square of the error of n_i against the reference [1]
    force_error         of the force [energy/length]
    note                why numbers are missing
    ==================  =============================================================================
    """

    name: str
    settings: Mapping[str, Any]
    seconds: float = math.nan
    sites_per_second: float = math.nan
    bytes_needed: int = 0
    density_error: float = math.nan
    force_error: float = math.nan
    note: str = ""

    @property
    def title(self) -> str:
        """The name and the settings in one line."""
        return f"{self.name}  {', '.join(f'{key} {value}' for key, value in self.settings.items())}".rstrip()


@dataclasses.dataclass(frozen=True)
class Sample:
    """A model on a lattice with a configuration x (1, N, D)."""

    model: Model
    x: Array

    @property
    def sites(self) -> int:
        """N."""
        return self.model.lattice.sites

    def corner(self, largest: tuple[int, ...]) -> Sample:
        """The cells near the origin, at most `largest` of them per direction, closed periodically: what fits a reference."""
        lattice = self.model.lattice
        shape = tuple(min(n, most) for n, most in zip(lattice.shape, largest, strict=True))
        inside = (lattice.cells < np.array(shape)).all(axis=1)
        model = dataclasses.replace(self.model, lattice=lattice.resized(shape))
        return Sample(model, np.ascontiguousarray(self.x[:, inside]))


def bench(run_input: RunInput, patience: float = 30.0) -> Iterator[Row]:
    """One row per force field and setting for the input's first replica at step 0, those of the input first; see `compare`.

    A force field with an empty `ladder` chooses among the others, so it is left out.
    """
    require_cpu(run_input, "bench")
    model, _ = build_model(run_input)
    if not model.electronic:
        raise InputError(f"bench compares ways to the density of electrons, and {type(model).__name__} has none")
    whole = Sample(model, build_first_replica(run_input, model).x)
    chosen = (run_input.forcefield.name, _given(run_input.forcefield.name, run_input.forcefield.parameters))
    own = [chosen] if _ladder(run_input.forcefield.name) else []
    ladders = [(name, dict(settings)) for name in plugin_names("forcefield") for settings in _ladder(name)]
    return compare(whole, own + [candidate for candidate in ladders if candidate not in own], patience)


def compare(
    whole: Sample,
    candidates: Sequence[tuple[str, dict[str, Any]]],
    patience: float = 30.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Row]:
    """One row per candidate, a name of a force field and its settings, as they are measured.

    Errors are against exact diagonalisation, of a corner of the lattice where the whole has more than REFERENCE_SITES
    sites; for electrons that interact, within the mean field of the first candidate that has one. A call that would take
    more than `patience` [second], by its growth between two small lattices, is not made. What does not serve the model
    says why. `clock` tells the time: on a busy machine `time.process_time` compares what runs in one thread.
    """
    part = _comparable(whole)
    reference = _evaluated(_reference(whole.model, candidates), part)
    for name, settings in candidates:
        try:
            forcefield = load_plugin("forcefield", name)(**settings)
        except (TypeError, InputError) as error:
            yield Row(name, settings, note=str(error))
            continue
        yield _measured(name, settings, forcefield, whole, part, reference, patience, clock)


def recommended(rows: list[Row], tolerance: float) -> Row | None:
    """The fastest row whose density error is at most `tolerance`; None if there is none."""
    good = [row for row in rows if row.density_error <= tolerance and math.isfinite(row.seconds)]
    return min(good, key=lambda row: row.seconds, default=None)


def _reference(model: Model, candidates: Sequence[tuple[str, dict[str, Any]]]) -> ForceField:
    """Exact diagonalisation, or a mean field that is solved by it: which one of several solutions, its settings say."""
    if not model.interacting:
        exact: ForceField = load_plugin("forcefield", REFERENCE)()
        return exact
    settings = next((settings for name, settings in candidates if name == "mean_field"), {})
    settings = {**settings, "solver": REFERENCE, "solver_settings": None}
    mean_field: ForceField = load_plugin("forcefield", "mean_field")(**settings)
    return mean_field


def _given(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults of a force field."""
    defaults = {field.name: field.default for field, _ in parameters_of(load_plugin("forcefield", name))}
    return {key: value for key, value in settings.items() if value != defaults[key]}


def _ladder(name: str) -> tuple[Mapping[str, Any], ...]:
    steps: tuple[Mapping[str, Any], ...] = getattr(load_plugin("forcefield", name), "ladder", ({},))
    return steps


def _comparable(whole: Sample) -> Sample:
    """The whole, or the largest corner with even extents that the reference can do."""
    lattice = whole.model.lattice
    if whole.sites <= REFERENCE_SITES:
        return whole
    extent = (REFERENCE_SITES / len(lattice.cell.basis)) ** (1.0 / lattice.directions)
    return whole.corner((int(extent) // 2 * 2,) * lattice.directions)


def _measured(
    name: str,
    settings: dict[str, Any],
    forcefield: ForceField,
    whole: Sample,
    part: Sample,
    reference: Electrons,
    patience: float,
    clock: Callable[[], float],
) -> Row:
    try:
        require_interactions(forcefield, whole.model)
        row = Row(name, settings, bytes_needed=forcefield.capabilities(whole.model, 1).bytes_needed)
        found = _evaluated(forcefield, part)
        row = dataclasses.replace(
            row,
            density_error=_rms(found.density - reference.density),
            force_error=_rms(found.force - reference.force),
        )
        expected = _expected_seconds(forcefield, whole, part, clock)
        if expected > patience:
            return dataclasses.replace(row, note=f"not run: about {expected:.3g} s per call")
        seconds = _seconds(forcefield, whole, clock)
    except (InputError, ArithmeticError) as error:
        return Row(name, settings, note=str(error))
    return dataclasses.replace(row, seconds=seconds, sites_per_second=whole.sites / seconds)


def _expected_seconds(forcefield: ForceField, whole: Sample, part: Sample, clock: Callable[[], float]) -> float:
    """Time per call on the whole lattice from its growth between a quarter of the part and the part [second]."""
    if whole.sites == part.sites:
        return 0.0
    small = part.corner(tuple(max(n // 2, 2 * part.model.lattice.cell.smallest) for n in part.model.lattice.shape))
    try:
        times = _seconds(forcefield, small, clock), _seconds(forcefield, part, clock)
    except InputError:  # the small one may be too small for it
        return _seconds(forcefield, part, clock) * whole.sites / part.sites
    growth = max(1.0, math.log(times[1] / times[0]) / math.log(part.sites / small.sites))
    return times[1] * (whole.sites / part.sites) ** growth


def _evaluated(forcefield: ForceField, sample: Sample) -> Electrons:
    electrons = Electrons.empty(1, sample.model)
    forcefield.prepare(sample.model, 1)
    try:
        forcefield.evaluate(sample.model, sample.x, 0, electrons)
    finally:
        forcefield.close()
    return electrons


def _seconds(forcefield: ForceField, sample: Sample, clock: Callable[[], float]) -> float:
    """Median time of a call after the first [second]."""
    electrons = Electrons.empty(1, sample.model)
    forcefield.prepare(sample.model, 1)
    times: list[float] = []
    try:
        forcefield.evaluate(sample.model, sample.x, 0, electrons)  # compiles and fills caches
        while len(times) < REPEATS and sum(times) < AFTER_A_WHILE:
            started = clock()
            forcefield.evaluate(sample.model, sample.x, 0, electrons)
            times.append(clock() - started)
    finally:
        forcefield.close()
    return statistics.median(times)


def _rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error))))
