"""`latticemd watch`: a running simulation in the terminal, read from the files it leaves.

trajectory.h5 is replaced as a whole at each checkpoint, so a reader sees every frame up to the last one and never disturbs the
run: it takes no lock and writes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.build import build_model
from latticemd.config import stored_input
from latticemd.errors import InputError
from latticemd.figures.reading import heading
from latticemd.figures.style import DIVERGING, largest_shown
from latticemd.output.directory import RunDirectory
from latticemd.output.frames import Frames
from latticemd.output.trajectory import read_trajectory

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

Array = NDArray[Any]

BARS = "▁▂▃▄▅▆▇█"
SERIES = {"free_energy": "free energy per site", "total_energy": "energy per site", "wall_fraction": "wall fraction"}


@dataclass(frozen=True)
class Glimpse:
    """What the files of a run say at one moment. `field` (rows, columns) is the last order field as it lies in the plane."""

    title: str
    step: int
    steps: int
    time: float
    finished: bool
    field: Array
    limit: float
    series: dict[str, Array]


def watch(directory: Path, interval: float = 2.0, console: Any = None) -> None:
    """Show a run until it is finished, looking at its files every so many seconds; a finished one is shown once.

    Raises InputError where there is no run, or nothing of it that can be shown.
    """
    from rich.console import Console
    from rich.live import Live

    console = console or Console()
    began, first_step = time.perf_counter(), None
    with Live(console=console, auto_refresh=False) as live:
        while True:
            glimpse = glimpse_of(Path(directory))
            first_step = glimpse.step if first_step is None else first_step
            seconds = time.perf_counter() - began
            speed = (glimpse.step - first_step) / seconds if glimpse.step > first_step else float("nan")
            width, height = console.width, max(4, console.height - 6)
            live.update(dashboard(glimpse, width, height, speed), refresh=True)
            if glimpse.finished:
                return
            time.sleep(interval)


def glimpse_of(directory: Path) -> Glimpse:
    """Read the last frame and the series of a run."""
    place = RunDirectory(directory)
    if not place.trajectory.is_file():
        raise InputError(f"{place.trajectory} does not exist: give the directory of a run that has begun")
    with read_trajectory(place.trajectory) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], place.trajectory)
        frames = Frames(trajectory, *build_model(run_input), most=1)
        if not frames.ordered:
            raise InputError(
                f"{place.trajectory}: no frames with an order field yet; they come with the first checkpoint"
            )
        last = frames.order_field(len(frames) - 1)[0]
        sites = frames.model.lattice.sites
        series = {}
        for name in SERIES:
            path = f"observables/{name}"
            if path in trajectory.elements():
                value = trajectory.value(path)[:]
                value = value.reshape(len(value), -1).mean(axis=1)
                series[name] = value / sites if name.endswith("energy") else value
        return Glimpse(
            "  ·  ".join(heading(run_input, frames.model)),
            int(frames.steps[-1]),
            run_input.dynamics.steps,
            float(frames.time[-1]),
            place.summary.is_file(),
            _in_the_plane(last, frames.model.lattice.shape, len(frames.model.lattice.cell.basis)),
            largest_shown(last),
            series,
        )


def dashboard(glimpse: Glimpse, width: int, height: int, speed: float = float("nan")) -> RenderableType:
    """The whole picture: title, progress, field as coloured blocks, and a line for each series."""
    from rich.console import Group
    from rich.text import Text

    state = "finished" if glimpse.finished else f"{glimpse.step / max(glimpse.steps, 1):.0%}"
    progress = f"step {glimpse.step} of {glimpse.steps}, t = {glimpse.time:.4g}, {state}"
    if np.isfinite(speed):
        progress += f", {speed:.3g} steps/s"
    lines = [Text(glimpse.title, style="bold"), Text(progress), blocks(glimpse.field, glimpse.limit, width, height)]
    if "free_energy" in glimpse.series and "total_energy" in glimpse.series:
        same = np.array_equal(glimpse.series["free_energy"], glimpse.series["total_energy"], equal_nan=True)
        left_out = "total_energy" if same else "free_energy"
    else:
        left_out = ""
    for name, label in SERIES.items():
        values = glimpse.series.get(name, np.zeros(0))
        if len(values) and name != left_out:
            drawn = sparkline(values, max(8, width - 36))
            lines.append(Text(f"{label:>21} {drawn} {values[-1]:.4g}"))
    return Group(*lines)


def blocks(field: Array, limit: float, width: int, height: int) -> Text:
    """A field (rows, columns), the first row at the top, as half blocks: two rows to a line of at most `width` letters.

    Where it does not fit, a block is the mean over a square of sites.
    """
    from rich.text import Text

    square = max(1, -(-field.shape[1] // width), -(-field.shape[0] // (2 * height)))
    rows, columns = field.shape[0] // square or 1, field.shape[1] // square or 1
    cut = field[: rows * square, : columns * square]
    means = cut.reshape(rows, -1, columns, cut.shape[1] // columns).mean(axis=(1, 3))
    if rows % 2:
        means = np.vstack([means, np.full(columns, np.nan)])
    text = Text()
    for upper, lower in zip(means[::2], means[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            ground = "" if np.isnan(below) else f" on {colour_of(below / limit)}"
            text.append("▀", style=colour_of(above / limit) + ground)
        text.append("\n")
    text.right_crop(1)
    return text


def colour_of(share: float) -> str:
    """The colour of a value between -1 and 1, as #rrggbb: that of the maps in figures."""
    stops = np.array([[int(colour[n : n + 2], 16) for n in (1, 3, 5)] for colour in DIVERGING])
    place = 0.5 * (min(max(share, -1.0), 1.0) + 1.0) * (len(stops) - 1)
    red, green, blue = (round(float(np.interp(place, np.arange(len(stops)), channel))) for channel in stops.T)
    return f"#{red:02x}{green:02x}{blue:02x}"


def sparkline(values: Array, width: int) -> str:
    """A series as bars of eight heights, from its lowest to its highest value; means where there are more values than room."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    means = np.array([part.mean() for part in np.array_split(known, min(width, len(known)))])
    low, high = float(means.min()), float(means.max())
    if high - low <= 1e-12 * max(abs(high), abs(low)):
        return BARS[0] * len(means)
    return "".join(BARS[int(n)] for n in np.rint((means - low) / (high - low) * (len(BARS) - 1)))


def _in_the_plane(field: Array, shape: tuple[int, ...], basis: int) -> Array:
    """The first layer of cells as rows from the top, x to the right; the sites of a cell side by side."""
    if len(shape) == 1:
        return field.reshape(shape[0], basis).T
    cells = field.reshape(*shape, basis)
    layer = cells[:, :, 0] if len(shape) == 3 else cells
    return np.asarray(layer.transpose(1, 0, 2).reshape(shape[1], -1)[::-1])
