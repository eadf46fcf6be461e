"""What `latticemd analyze` does: directories of runs in, analysis.h5, tables and figures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latticemd.analysis.distributions import edges_for
from latticemd.analysis.ensembles import Comparison, Ensemble, compare
from latticemd.analysis.labels import labels_of, origin_of
from latticemd.analysis.measuring import (
    energy_budget,
    measure_frames,
    measured_by_the_run,
    measures_for,
    rare_measures_for,
)
from latticemd.analysis.quantity import Quantity, common_times, merged
from latticemd.build import build_model
from latticemd.config import RunInput, stored_input
from latticemd.errors import InputError
from latticemd.figures.reading import chosen_frames, heading
from latticemd.lattice import Lattice
from latticemd.output.directory import RunDirectory
from latticemd.output.frames import Frames
from latticemd.output.trajectory import read_trajectory
from latticemd.state import Array

DISTRIBUTIONS = 12  # frames whose histograms are taken, evenly in the logarithm of time


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
    start: float | None = None,
    end: float | None = None,
) -> tuple[Analysis, list[Path]]:
    """Measure every frame of the runs, group those that repeat each other, write results and figures; returns their paths.

    `by` is the input key whose value labels a run, see `labels_of`; `paired` compares samples with equal seeds one by one;
    `start` and `end` [time] bound the growth laws, the last decade unless given.
    Everything goes to `output`, which for one run is DIR/analysis unless given.
    Raises InputError where a directory holds no frames, or the runs of a group do not fit together.
    """
    from latticemd.analysis.figure import draw_analysis
    from latticemd.analysis.writing import write_analysis

    place = output or analysis_directory(directories)
    shared = Shared.by(directories)
    runs = [read_and_measure(directory, shared) for directory in directories]
    analysis = analyze_runs(runs, by=by, paired=paired, start=start, end=end)
    place.mkdir(parents=True, exist_ok=True)
    return analysis, [*write_analysis(analysis, place), *draw_analysis(analysis, place)]


def analysis_directory(directories: Sequence[Path]) -> Path:
    """Where the analysis of one run goes unless told otherwise: into its directory."""
    if len(directories) != 1:
        raise InputError(f"--output DIR is needed: where shall the analysis of {len(directories)} runs go?")
    return RunDirectory(directories[0]).analysis


@dataclass(frozen=True)
class Shared:
    """What runs must have in common for their distributions to be put together: a few times (T,), and the bins of x."""

    times: Array
    edges: Array

    @classmethod
    def by(cls, directories: Sequence[Path]) -> Shared:
        """Times evenly in their logarithm among those that all runs have, and bins that hold x at these times."""
        frame_times = []
        for directory in directories:
            with _opened(directory) as (_, frames):
                frame_times.append(Quantity(frames.time, np.zeros((len(frames), 1)), "1"))
        common = common_times(frame_times)
        times = common[chosen_frames(common, DISTRIBUTIONS)] if len(common) else common
        return cls(times, edges_for(cls(times, np.zeros(0)).largest(directory) for directory in directories))

    def frames_of(self, frames: Frames) -> list[int]:
        """The numbers of the frames at these times."""
        return [int(np.abs(frames.time - time).argmin()) for time in self.times]

    def largest(self, directory: Path) -> float:
        """The largest |x| of a run at these times; 0 where frames hold no x."""
        with _opened(directory) as (_, frames):
            if not frames.has("displacement"):
                return 0.0
            return max((float(np.abs(frames.displacement(one)).max()) for one in self.frames_of(frames)), default=0.0)


def read_and_measure(directory: Path, shared: Shared) -> MeasuredRun:
    """One pass over the frames of a run; its memory is that of one frame and of the results."""
    with _opened(directory) as (run_input, frames):
        if not frames.ordered:
            raise InputError(
                f"{frames.trajectory.path}: its frames tell no order field; the run needs output.fields displacement and density"
            )
        measures, notes = measures_for(frames)
        if frames.stand_in:
            notes.append(f"frames hold no density, so (-1)^i {frames.model.symbol}_i stands in for the order field")
        quantities = measure_frames(frames, measures, range(len(frames)))
        quantities |= measure_frames(frames, rare_measures_for(frames, shared.edges), shared.frames_of(frames))
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


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[RunInput, Frames]]:
    """The resolved input and the frames of the run in a directory."""
    path = Path(directory) / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the directory of a run")
    with read_trajectory(path) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], path)
        yield run_input, Frames(trajectory, *build_model(run_input))


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
    origins = [origin for run in runs for origin in run.origins]
    return Ensemble(
        label, [run.path for run in runs], origins, first.lattice, first.order_label, quantities, notes=notes
    )
