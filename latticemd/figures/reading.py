"""What a run's figures show, read from the files in its directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.build import build_model
from latticemd.config import RunInput, stored_input
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Model
from latticemd.output.trajectory import Trajectory, read_trajectory

Array = NDArray[Any]

PROFILES = 16  # structure factors shown as lines
STRIPES = 400  # times shown of a lattice with one direction
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


def read_run(directory: Path) -> Run:
    """Read what `draw_run` draws. Raises InputError where there is no trajectory.h5, or no plug-in of its model."""
    path = directory / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: figures are drawn from the trajectory of a run; give its directory")
    with read_trajectory(path) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], path)
        model, _ = build_model(run_input)
        time, fields, label = _read_fields(trajectory, model)
        series = _read_series(trajectory)
        replicas = trajectory.attributes["replicas"]
    title, parameters = _captions(directory, run_input, model.lattice, replicas)
    return Run(model.lattice, title, parameters, label, time, fields, series)


def _read_fields(trajectory: Trajectory, model: Model) -> tuple[Array, Array, str]:
    """Times (K,), order fields (K, N) of the first replica and their name.

    Where the order field needs a density that was not stored, (-1)^i times a scalar x is shown in its place.
    """
    found = {name: _stored(trajectory, name) for name in ("displacement", "density")}
    known = [path for path in found.values() if path]
    if not known:
        return np.zeros(0), np.zeros((0, model.lattice.sites)), ""
    time = trajectory.times(known[0])
    if model.lattice.directions == 1:
        frames = np.unique(np.linspace(0, len(time) - 1, STRIPES).round().astype(int)).tolist()
    else:
        frames = chosen_frames(time, PROFILES)
    shape = (len(frames), model.lattice.sites)

    def values(name: str, components: int) -> Array:
        path = found[name]
        read = trajectory.value(path)[frames] if path else np.nan
        return np.broadcast_to(np.reshape(read, (len(frames), -1, components)) if path else read, (*shape, components))

    x, density = values("displacement", model.components), values("density", 1)[..., 0]
    fields = model.order_field(x, density)
    if np.isnan(fields).any() and model.components == 1:
        return time[frames], x[..., 0] * model.lattice.staggered, f"${model.symbol}_i\\,(-1)^i$"
    if np.isnan(fields).any():
        return np.zeros(0), np.zeros((0, model.lattice.sites)), ""
    return time[frames], fields, f"${model.order_symbol}$"


def _stored(trajectory: Trajectory, name: str) -> str | None:
    """Where a field of the first replica is, if frames hold it."""
    paths = (path for path in trajectory.elements() if path.startswith("particles/") and path.endswith("/" + name))
    return min(paths, key=lambda path: (len(path), path), default=None)


def _read_series(trajectory: Trajectory) -> dict[str, tuple[Array, Array]]:
    series = {}
    for name in SERIES:
        path = f"observables/{name}"
        if path in trajectory.elements() and np.isfinite(value := trajectory.value(path)[:]).any():
            series[name] = (trajectory.times(path), value.reshape(len(value), -1))
    return series


def _captions(directory: Path, run_input: RunInput, lattice: Lattice, replicas: int) -> tuple[str, str]:
    """A title, and one line with the numbers of the resolved input that are not zero."""
    summary = directory / "summary.json"
    written = json.loads(summary.read_text()) if summary.is_file() else {}
    extent = " × ".join(map(str, lattice.shape))
    name = run_input.model.name.replace("_", " ").capitalize()
    parts = [written.get("title") or f"{name} model", f"{lattice.type} lattice {extent}"]
    if replicas > 1:
        parts.append(f"{replicas} replicas (maps: the first)")
    numbers: dict[str, Any] = dict(run_input.model.parameters)
    numbers |= {key: getattr(run_input.dynamics, key) for key in ("temperature", "friction", "dt")}
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
