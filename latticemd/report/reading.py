"""What a report shows of one run, read from the files in its directory."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray

from latticemd.analysis.measuring import Measure, measure_frames, measured_by_the_run, measures_for
from latticemd.analysis.quantity import Quantity
from latticemd.analysis.shared import opened
from latticemd.config import RunInput
from latticemd.config.writing import flat
from latticemd.errors import InputError
from latticemd.figures.reading import chosen_frames, evenly_chosen, heading
from latticemd.models.particles import Particles
from latticemd.output.directory import RunDirectory
from latticemd.output.frames import Frames
from latticemd.output.provenance import PROVENANCE
from latticemd.report.clouds import cloud, cloud_frames, cloud_measures
from latticemd.report.fields import Shape, frames_allowed, quantised
from latticemd.report.verdicts import Verdict, verdicts_of

Array = NDArray[Any]

POINTS = 600  # of a curve over time
PER_SITE = ("free_energy", "kinetic_energy", "total_energy", "conserved_energy")
SHOWN = (
    "lattice",
    "model",
    "forcefield",
    "initial",
    "dynamics",
    "replicas",
    "backend",
)  # blocks of the input in the table
ABSOLUTE = re.compile(r"(?<![\w.~-])/(?:[^\s/'\",\]}]+/)+")  # the folders of a path, which belong to a machine
RECORDED = (*PROVENANCE, "ranks", "wall_seconds", "force_calls", "digest")


@dataclass(frozen=True)
class ReportedRun:
    """One run as the page shows it.

    ==============  ===================================================================================================
    field           meaning
    ==============  ===================================================================================================
    `name`          name of its directory
    `title`         title of the input or the model, and the lattice
    `time`, `step`  (K,) of the frames that are shown
    `label`         the order field as LaTeX, or what colours particles
    `field`         its bytes and how they lie in the plane, see `latticemd.report.fields`; of particles `latticemd.report.clouds`
    `curves`        name -> (x, y): (F,) over time, mean over replicas
    `profiles`      name -> (x (X,), y (K, X)) of every frame that is shown
    `facts`         name -> (K,) numbers of every frame
    `verdicts`      see `latticemd.report.verdicts`
    `settings`      the resolved input, key by key
    `provenance`    what was recorded of how it was made, without names of machine and user, without folders
    `input`         the text of the resolved input
    ==============  ===================================================================================================
    """

    name: str
    title: str
    replicas: int
    time: Array
    step: Array
    label: str
    field: dict[str, Any]
    curves: dict[str, tuple[Array, Array]]
    profiles: dict[str, tuple[Array, Array]]
    facts: dict[str, Array]
    verdicts: list[Verdict]
    settings: dict[str, str]
    provenance: dict[str, str]
    input: str


def read_reported(directory: Path, runs: int = 1, most: int = 100) -> ReportedRun:
    """Read a run for a page of so many runs, at most `most` of its frames, evenly in the logarithm of time.

    Cost: O(frames R N log N), memory that of the bytes shown and of one frame. Raises InputError where frames tell no order field,
    or no positions of particles.
    """
    place = RunDirectory(directory)
    with opened(directory) as (run_input, frames):
        particles = isinstance(frames.model, Particles)
        chosen, field, measures = (_moving_particles if particles else _ordering_lattice)(frames, runs, most)
        seen = measure_frames(frames, measures, chosen)
        measured = measured_by_the_run(frames.trajectory)
        return ReportedRun(
            name=Path(directory).resolve().name,
            title="  ·  ".join(heading(run_input, frames.model)),
            replicas=len(frames.groups),
            time=frames.time[chosen],
            step=frames.steps[chosen],
            label="q_i" if particles else frames.label,
            field=field,
            curves=_curves(measured, seen, frames.model.lattice.sites),
            profiles={
                name: (one.coordinate, one.values.mean(axis=1))
                for name, one in seen.items()
                if one.coordinate is not None
            },
            facts=_facts(seen),
            verdicts=verdicts_of(place, run_input, frames, measured),
            settings=_settings(run_input),
            provenance=_provenance(place, frames),
            input=without_folders(run_input.to_yaml()),
        )


def without_folders(text: str) -> str:
    """A text whose absolute paths are their last parts: what is shown to others shall not tell of the machine it came from."""
    return ABSOLUTE.sub("", text)


Picture = tuple[list[int], dict[str, Any], list[Measure]]  # frames that are shown, what is drawn of them and measured


def _ordering_lattice(frames: Frames, runs: int, most: int) -> Picture:
    if not frames.ordered:
        raise InputError(
            f"{frames.trajectory.path}: its frames tell no order field; the run needs output.fields displacement and density"
        )
    shape = Shape.of(frames.model.lattice)
    allowed = frames_allowed(shape.cells, f"the {frames.model.lattice.type} lattice", runs, most)
    if shape.kind == "stripes":  # a picture of all of the time, whose rows are evenly spaced
        chosen = evenly_chosen(len(frames), allowed)
    else:
        chosen = [len(frames) - 1] if allowed == 1 else chosen_frames(frames.time, allowed)
    return chosen, quantised(frames, chosen, shape), measures_for(frames)[0]


def _moving_particles(frames: Frames, runs: int, most: int) -> Picture:
    assert isinstance(frames.model, Particles), "of particles"
    chosen = cloud_frames(frames, runs, most)
    field = cloud(frames, chosen, frames.model)
    return chosen, field, cloud_measures(field["edge"])


def _curves(measured: dict[str, Quantity], seen: dict[str, Quantity], sites: int) -> dict[str, tuple[Array, Array]]:
    if (
        "free_energy" in measured and "total_energy" not in measured
    ):  # what equals another is not kept: there are no momenta
        measured = {**measured, "total_energy": measured["free_energy"]}
    curves = {}
    for name, quantity in {**seen, **measured}.items():
        if quantity.coordinate is None:
            rows = chosen_frames(quantity.time, POINTS)
            mean = quantity.values[rows].mean(axis=1) / (sites if name in PER_SITE else 1)
            curves[name] = quantity.time[rows], mean
    return curves


def _facts(seen: dict[str, Quantity]) -> dict[str, Array]:
    """Numbers below a map: those of the replica it shows."""
    names = ("wall_fraction", "order_parameter", "length_half", "length_walls", "gyration_radius", "nearest_distance")
    return {name: seen[name].values[:, 0] for name in names if name in seen}


def _settings(run_input: RunInput) -> dict[str, str]:
    plain = yaml.safe_load(run_input.to_yaml())
    return {
        key: _text(value) for key, value in flat({block: plain[block] for block in SHOWN if block in plain}).items()
    }


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return " × ".join(map(str, value))
    return without_folders(str(value))


def _provenance(place: RunDirectory, frames: Frames) -> dict[str, str]:
    attributes = frames.trajectory.attributes
    recorded = json.loads(place.summary.read_text(encoding="utf-8")) if place.summary.is_file() else {}
    known = {"version": attributes["version"], **{key: recorded[key] for key in RECORDED if key in recorded}}
    known |= {key: attributes[key] for key in ("precision", "backend") if key in attributes}
    known["frames"] = f"{len(frames)}, steps {frames.steps[0]} to {frames.steps[-1]}"
    return {key.replace("_", " "): _text(value) for key, value in known.items()}
