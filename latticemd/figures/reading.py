"""What a run's figures show, read from the files in its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.build import build_model
from latticemd.config import RunInput, stored_input
from latticemd.errors import InputError
from latticemd.figures.particles import Cloud
from latticemd.lattice import Lattice
from latticemd.models.model import Model
from latticemd.models.particles import Particles
from latticemd.output.frames import Frames
from latticemd.output.trajectory import Trajectory, read_trajectory

Array = NDArray[Any]

PROFILES = 16  # structure factors shown as lines
STRIPES = 400  # times shown of a lattice with one direction
CLOUDS = 1000  # times shown of particles
ENERGIES = ("free_energy", "kinetic_energy", "total_energy", "conserved_energy")
SERIES = (*ENERGIES, "wall_fraction", "order_parameter", "temperature")


@dataclass(frozen=True)
class Run:
    """The part of a run that is drawn: K order fields of the first replica, and the time series of all R.

    `series` maps a name to (time (F,), value (F, R)); entries that are nowhere finite are left out.
    """

    lattice: Lattice
    title: str
    parameters: str
    label: str
    time: Array  # (K,)
    fields: Array  # (K, N)
    series: dict[str, tuple[Array, Array]]
    cloud: Cloud | None = None  # particles at all K times, if it is particles that move


def read_run(directory: Path) -> Run:
    """Read what `draw_run` draws. Raises InputError where there is no trajectory.h5, or no plug-in of its model."""
    path = directory / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: figures are drawn from the trajectory of a run; give its directory")
    with read_trajectory(path) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], path)
        model, _ = build_model(run_input)
        time, fields, label = _read_fields(trajectory, model)
        cloud = None
        if isinstance(model, Particles):
            time, cloud = read_cloud(Frames(trajectory, model, most=1))
        series = _read_series(trajectory)
        replicas = trajectory.attributes["replicas"]
    title, parameters = _captions(run_input, model, replicas)
    return Run(model.lattice, title, parameters, label, time, fields, series, cloud)


def heading(run_input: RunInput, model: Model) -> list[str]:
    """What stands above a figure: the title of the input or else of the model, and the lattice."""
    named = model.title or f"{run_input.model.name.replace('_', ' ').capitalize()} model"
    if isinstance(model, Particles):
        return [run_input.title or f"{model.lattice.sites} particles", run_input.forcefield.name.replace("_", " ")]
    extent = " × ".join(map(str, model.lattice.shape))
    return [run_input.title or named, f"{model.lattice.type} lattice {extent}"]


def _read_fields(trajectory: Trajectory, model: Model) -> tuple[Array, Array, str]:
    """Times (K,), order fields (K, N) of the first replica, or what stands in for them, and their name."""
    frames = Frames(trajectory, model, most=1)
    if not frames.ordered:
        return np.zeros(0), np.zeros((0, model.lattice.sites)), ""
    one = model.lattice.directions == 1
    chosen = evenly_chosen(len(frames), STRIPES) if one else chosen_frames(frames.time, PROFILES)
    return frames.time[chosen], np.stack([frames.order_field(frame)[0] for frame in chosen]), f"${frames.label}$"


def read_cloud(frames: Frames) -> tuple[Array, Cloud | None]:
    """Times (K,) and positions of the particles of the first replica at no more than CLOUDS times; None where frames lack x."""
    assert isinstance(frames.model, Particles), "of particles"
    if not frames.has("displacement"):
        return np.zeros(0), None
    chosen = evenly_chosen(len(frames), CLOUDS)
    x = np.stack([frames.displacement(frame)[0] for frame in chosen])
    return frames.time[chosen], Cloud.of(x, frames.model)


def _read_series(trajectory: Trajectory) -> dict[str, tuple[Array, Array]]:
    series = {}
    for name in SERIES:
        path = f"observables/{name}"
        if path in trajectory.elements() and np.isfinite(value := trajectory.value(path)[:]).any():
            series[name] = (trajectory.times(path), value.reshape(len(value), -1))
    return series


def _captions(run_input: RunInput, model: Model, replicas: int) -> tuple[str, str]:
    """A title, and one line with the numbers of the resolved input that are not zero."""
    parts = heading(run_input, model)
    if replicas > 1:
        parts.append(f"{replicas} replicas (maps: the first)")
    numbers: dict[str, Any] = dict(run_input.model.parameters)
    # A propagator has no friction.
    numbers |= {key: getattr(run_input.dynamics, key, 0.0) for key in ("temperature", "friction", "dt")}
    # What is zero is not there, and a seed says nothing.
    told = {key: value for key, value in numbers.items() if isinstance(value, int | float) and "seed" not in key}
    given = [f"{key} {value:g}" for key, value in told.items() if value]
    return "  ·  ".join(parts), ",  ".join(given).replace("_", " ")


def chosen_frames(time: Array, count: int) -> list[int]:
    """Indices of at most `count` distinct frames: first and last, between them evenly in the logarithm of time.

    Ordering after a quench slows down as a power of time, so equal ratios of time show equal shares of the growth.
    """
    last = len(time) - 1
    if last < count:
        return list(range(last + 1))
    elapsed = np.asarray(time) - time[0]
    chosen = [0]
    for k, target in enumerate(np.geomspace(elapsed[last], elapsed[1], count - 1)[::-1]):
        nearest = int(np.abs(elapsed - target).argmin())
        chosen.append(min(max(nearest, chosen[-1] + 1), last - (count - 2 - k)))
    return chosen


def evenly_chosen(frames: int, count: int) -> list[int]:
    """Indices of at most `count` of so many frames, evenly in time from the last to the first."""
    return np.unique(np.linspace(frames - 1, 0, count).round().astype(int)).tolist()
