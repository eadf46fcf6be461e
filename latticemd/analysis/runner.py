"""What `latticemd analyze` does: directories of runs in, analysis.h5, tables and figures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latticemd.analysis.dynamics import (
    Spectrum,
    dynamical_structure,
    evenly_spaced,
    joined,
    wave_amplitudes,
    zone_path,
)
from latticemd.analysis.ensembles import Comparison, Ensemble, compare
from latticemd.analysis.growth import window_of
from latticemd.analysis.labels import labels_of, origin_of
from latticemd.analysis.measuring import (
    energy_budget,
    measure_frames,
    measured_by_the_run,
    measures_for,
    rare_measures_for,
)
from latticemd.analysis.quantity import Quantity, merged
from latticemd.analysis.shared import Shared, frames_at, opened
from latticemd.analysis.spectra import densities_of_states, spectral_forcefield
from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.figures.reading import heading
from latticemd.figures.style import LIGHT, Look
from latticemd.lattice import Lattice
from latticemd.output.directory import RunDirectory


@dataclass(frozen=True)
class Analysis:
    """Groups of runs, and how each of them differs from the first: label -> comparisons."""

    title: str
    groups: list[Ensemble]
    comparisons: dict[str, list[Comparison]]


@dataclass(frozen=True)
class MeasuredRun:
    """What one run tells, before it is grouped with others."""

    path: Path
    run_input: RunInput
    title: str
    lattice: Lattice
    order_label: str
    replicas: int
    quantities: dict[str, Quantity]
    notes: list[str]
    spectrum: Spectrum | None = None

    @property
    def origins(self) -> list[tuple[str, ...]]:
        """What each replica came from, see `origin_of`."""
        first = self.run_input.replicas.first
        return [(*origin_of(self.run_input), f"replica={first + r}") for r in range(self.replicas)]


def analyze(
    directories: Sequence[Path],
    output: Path | None = None,
    *,
    by: str | None = None,
    paired: bool = False,
    spectra: bool = False,
    dynamics: bool = False,
    start: float | None = None,
    end: float | None = None,
    look: Look = LIGHT,
) -> tuple[Analysis, list[Path]]:
    """Measure every frame of the runs, group those that repeat each other, write results and figures; returns their paths.

    `by` is the input key whose value labels a run, see `labels_of`; `paired` compares samples with equal seeds one by one;
    `spectra` asks for densities of states, `dynamics` for S(q, w);
    `start` and `end` [time] bound growth laws, averages and S(q, w): the last decade unless given.
    `look` is that of the figures.
    Everything goes to `output`, which for one run is DIR/analysis unless given.
    Raises InputError where a directory holds no frames, or the runs of a group do not fit together.
    """
    from latticemd.analysis.figure import draw_analysis
    from latticemd.analysis.writing import write_analysis

    place = output or analysis_directory(directories)
    shared = Shared.by(directories)
    runs = [read_and_measure(directory, shared, spectra) for directory in directories]
    if dynamics:
        runs = [replace(run, spectrum=spectrum_of(run.path, start, end)) for run in runs]
    analysis = analyze_runs(runs, by=by, paired=paired, start=start, end=end)
    place.mkdir(parents=True, exist_ok=True)
    return analysis, [*write_analysis(analysis, place), *draw_analysis(analysis, place, look)]


def analysis_directory(directories: Sequence[Path]) -> Path:
    """Where the analysis of one run goes unless told otherwise: into its directory."""
    if len(directories) != 1:
        raise InputError(f"--output DIR is needed: where shall the analysis of {len(directories)} runs go?")
    return RunDirectory(directories[0]).analysis


def read_and_measure(directory: Path, shared: Shared, spectra: bool = False) -> MeasuredRun:
    """One pass over the frames of a run; its memory is that of one frame and of the results."""
    with opened(directory) as (run_input, frames):
        if not frames.ordered:
            raise InputError(
                f"{frames.trajectory.path}: its frames tell no order field; the run needs output.fields displacement and density"
            )
        measures, notes = measures_for(frames)
        if frames.stand_in:
            notes.append(f"frames hold no density, so (-1)^i {frames.model.symbol}_i stands in for the order field")
        quantities = measure_frames(frames, measures, range(len(frames)))
        quantities |= measure_frames(frames, rare_measures_for(frames, shared.edges), frames_at(frames, shared.times))
        if spectra and shared.window is None:
            notes.append("no density of states: it needs frames with x, and electrons that do not interact")
        elif spectra and shared.window is not None:
            measure = densities_of_states(spectral_forcefield(), shared.window)
            quantities |= measure_frames(frames, [measure], frames_at(frames, shared.few_times))
        quantities |= measured_by_the_run(frames.trajectory)
        quantities |= energy_budget(quantities)
        return MeasuredRun(
            Path(directory),
            run_input,
            "  ·  ".join(heading(run_input, frames.model)),
            frames.model.lattice,
            frames.label,
            len(frames.groups),
            quantities,
            notes,
        )


def spectrum_of(directory: Path, start: float | None = None, end: float | None = None) -> Spectrum:
    """S(q, w) of a run between two times, all frames of which must be evenly spaced; a second pass over its frames."""
    with opened(directory) as (_, frames):
        if not frames.has("displacement"):
            raise InputError(f"{frames.trajectory.path}: its frames have no displacement, which S(q, w) is about")
        path = zone_path(frames.model.lattice)
        chosen, spacing = evenly_spaced(frames.time, *window_of(frames.time, start, end))
        return Spectrum(path, *dynamical_structure(wave_amplitudes(frames, chosen, path), spacing))


def analyze_runs(
    runs: Sequence[MeasuredRun],
    *,
    by: str | None = None,
    paired: bool = False,
    start: float | None = None,
    end: float | None = None,
) -> Analysis:
    """Group runs by their labels and compare every group with the first."""
    members: dict[str, list[MeasuredRun]] = {}
    for label, run in zip(labels_of([run.run_input for run in runs], by), runs, strict=True):
        members.setdefault(label, []).append(run)
    groups = [replace(_together(label, runs), start=start, end=end) for label, runs in members.items()]
    comparisons = {other.label: compare(groups[0], other, paired=paired) for other in groups[1:]}
    return Analysis(runs[0].title, groups, comparisons)


def _together(label: str, runs: list[MeasuredRun]) -> Ensemble:
    shared = [name for name in runs[0].quantities if all(name in run.quantities for run in runs)]
    quantities = {name: merged(name, [run.quantities[name] for run in runs]) for name in shared}
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    first = runs[0]
    return Ensemble(
        label,
        [run.path for run in runs],
        [origin for run in runs for origin in run.origins],
        first.lattice,
        first.order_label,
        quantities,
        joined([run.spectrum for run in runs if run.spectrum is not None]),
        notes=notes,
    )
