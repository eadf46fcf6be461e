"""Figures of a run, drawn from the files it left: order in space, time series, structure factor, and a summary.

Works after the run and without its model: the charge order phi = (n - 1/2)(-1)^(x+y) is drawn from the stored density,
or (-1)^(x+y) times the displacement where no density was stored. Time series show all replicas, maps the first one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.observables import radial_structure_factor, structure_factor
from latticemd.output.trajectory import Trajectory, read_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

Array = NDArray[Any]

MAPS = 6  # configurations shown side by side
PROFILES = 16  # structure factors shown as lines
# Blue - paper - orange: apart for all common colour deficiencies, and ordered in lightness on both sides.
DIVERGING = ("#10365f", "#2a6fa8", "#8dbbdc", "#f6f3ee", "#f2b880", "#d2691e", "#7a3306")
BLUE, ORANGE, BLACK, GREY = "#1f5f99", "#c9641a", "#1b1b1b", "#8c8c8c"
ENERGIES = {
    "free_energy": ("free energy", BLUE, "-"),
    "kinetic_energy": ("kinetic", ORANGE, "-"),
    "total_energy": ("total", BLACK, "-"),
    "conserved_energy": ("conserved", GREY, "--"),
}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 13,
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 1.8,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}


def draw_run(directory: Path) -> list[Path]:
    """Draw every figure that the files in `directory` allow into DIR/figures and return the paths, the summary last.

    ======================  ==========================================================================
    order_parameter.png     the order field at up to six times
    time_series.png         energies, temperature, wall fraction and order against time
    structure_factor.png    S(q) at the first and last frame, and its profile around (pi, pi) over time
    summary.png, .pdf       all of it on one page
    ======================  ==========================================================================

    Reads DIR/trajectory.h5, of its frames only those that are drawn, and DIR/summary.json if there is one. Maps need a
    square lattice, structure factors a periodic one; others get the time series. Raises InputError or OutputError if there is
    no readable trajectory.
    """
    import matplotlib

    directory = Path(directory)
    run = read_run(directory)
    figures: dict[tuple[str, ...], Callable[[Run], Figure]] = {}
    if run.series:
        figures["time_series.png",] = _series_figure
    if len(run.fields):
        figures["order_parameter.png",] = _order_figure
        if all(run.lattice.periodic):
            figures["structure_factor.png",] = _structure_figure
        figures["summary.png", "summary.pdf"] = _summary_figure
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for names, draw in figures.items():
            figure = draw(run)
            for name in names:
                figure.savefig(folder / name, metadata={"CreationDate": None} if name.endswith("pdf") else None)
    return [folder / name for names in figures for name in names]


# what is drawn


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
    """Read what `draw_run` draws from the files in `directory`."""
    path = directory / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: figures are drawn from the trajectory of a run; give its directory")
    with read_trajectory(path) as trajectory:
        about = trajectory.attributes
        lattice, model = Lattice.from_dict(json.loads(about["lattice"])), json.loads(about["model"])
        time, fields, label = _read_fields(trajectory, lattice, model.get("symbol", "x"))
        series = _read_series(trajectory)
    title, parameters = _captions(directory, lattice, model.get("name", ""), about)
    return Run(lattice, title, parameters, label, time, fields, series)


def _read_fields(trajectory: Trajectory, lattice: Lattice, symbol: str) -> tuple[Array, Array, str]:
    """Times (K,), order fields (K, N) and their name, from the density if there is one, else from the displacement."""
    for name, mean, label in (("density", 0.5, "(n_i-1/2)"), ("displacement", 0.0, f"{symbol}_i")):
        stored = [path for path in trajectory.elements() if path.startswith("particles/") and path.endswith("/" + name)]
        if stored and lattice.type == "square":
            time = trajectory.times(stored[0])
            frames = chosen_frames(time, PROFILES)
            values = trajectory.value(stored[0])[frames].reshape(len(frames), lattice.sites, -1)[..., 0]
            return time[frames], (values - mean) * lattice.staggered, f"${label}\\,(-1)^{{x+y}}$"
    return np.zeros(0), np.zeros((0, lattice.sites)), ""


def _read_series(trajectory: Trajectory) -> dict[str, tuple[Array, Array]]:
    series = {}
    for name in PANELS:
        path = f"observables/{name}"
        if path in trajectory.elements() and np.isfinite(value := trajectory.value(path)[:]).any():
            series[name] = (trajectory.times(path), value.reshape(len(value), -1))
    return series


def _captions(directory: Path, lattice: Lattice, model: str, about: dict[str, Any]) -> tuple[str, str]:
    """A title, and one line with the numbers of the resolved input."""
    import yaml

    summary = directory / "summary.json"
    written = json.loads(summary.read_text()) if summary.is_file() else {}
    extent = " × ".join(map(str, lattice.shape))
    parts = [written.get("title") or f"{model.capitalize()} model", f"{lattice.type} lattice {extent}"]
    if about["replicas"] > 1:
        parts.append(f"{about['replicas']} replicas (maps: the first)")
    resolved = yaml.safe_load(about.get("input", "")) or {}
    numbers = dict(resolved.get("model", {}))
    numbers |= {key: resolved.get("dynamics", {}).get(key) for key in ("temperature", "friction", "dt")}
    given = [f"{key} {value:g}" for key, value in numbers.items() if isinstance(value, int | float)]
    return "  ·  ".join(parts), ",  ".join(given).replace("_", " ")


# preparation of the data


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


def picture(values: Array, lattice: Lattice) -> Array:
    """Site values (N,) as rows of pixels for imshow with origin "lower": x to the right, y up."""
    return values.reshape(lattice.shape).T


def centred_structure_factor(order_field: Array, lattice: Lattice) -> tuple[Array, tuple[float, float, float, float]]:
    """S(q) of the charge for q from 0 to 2 pi, the ordering vector (pi, pi) in the middle: (pixels, extent).

    `order_field` (N,) is staggered back to the charge. FFT order runs over [0, 2 pi); the first row and column are
    repeated at 2 pi, so the picture is symmetric.
    """
    structure = structure_factor((order_field * lattice.staggered)[None], lattice)[0]
    pixels = np.pad(structure, ((0, 1), (0, 1)), mode="wrap").T
    half = [np.pi / n for n in lattice.shape]
    return pixels, (-half[0], 2 * np.pi + half[0], -half[1], 2 * np.pi + half[1])


def columns_for(count: int, aspect: float, target: float) -> int:
    """Columns that arrange `count` panels of width/height `aspect` without gaps in a block of about aspect `target`."""
    full = [n for n in range(1, count + 1) if count % n == 0]
    return min(full, key=lambda n: abs(np.log(n * n * aspect / count / target)))


# figures


def _order_figure(run: Run) -> Figure:
    block = _Block.of(run, 1.5, 9.5, 6.5)
    page = _page(run, max(block.width, 6.0), block.height + 0.7)
    _draw_maps(run, page, block)
    return page


def _series_figure(run: Run) -> Figure:
    panels = _panels(run)
    rows = 1 if len(panels) < 4 else 2
    columns = len(panels) // rows
    page = _page(run, 5.0 * columns + 0.4, 3.6 * rows + 0.7)
    for axis, draw in zip(page.subplots(rows, columns, squeeze=False).ravel(), panels, strict=True):
        draw(run, axis)
    return page


def _structure_figure(run: Run) -> Figure:
    from matplotlib.colors import LogNorm

    frames = sorted({0, len(run.fields) - 1})
    page = _page(run, 5.4 + 4.3 * len(frames), 4.8)
    *maps, profile = page.subplots(1, len(frames) + 1, width_ratios=[*(1.0 for _ in frames), 1.25])
    pictures = [centred_structure_factor(run.fields[k], run.lattice) for k in frames]
    largest = max(1e-12, *(pixels.max() for pixels, _ in pictures))
    smallest = float(np.clip(np.median(pictures[-1][0]), 1e-6 * largest, 0.1 * largest))
    ticks = {"ticks": [0, np.pi, 2 * np.pi], "labels": ["0", "$\\pi$", "$2\\pi$"]}
    for axis, k, (pixels, extent) in zip(maps, frames, pictures, strict=True):
        image = axis.imshow(
            pixels.clip(smallest), norm=LogNorm(smallest, largest), cmap="magma",
            origin="lower", extent=extent, interpolation="nearest",
        )  # fmt: skip
        axis.set(title=_time_label(run.time[k]), xlabel="$q_x$", ylabel="$q_y$")
        axis.set_xticks(**ticks)
        axis.set_yticks(**ticks)
    page.colorbar(image, ax=maps, label="$S(q)$", shrink=0.9, aspect=25, extend="min").outline.set_visible(False)
    _draw_profiles(run, profile)
    return page


def _summary_figure(run: Run) -> Figure:
    block = _Block.of(run, 5.5, 13.0, 4.5)
    width, below = 14.5, 3.9
    page = _page(run, width, block.height + below + 0.7)
    grid = page.add_gridspec(2, 1, height_ratios=[block.height, below])
    beside = max(width - block.width, 0.0) / 2 + 1e-3
    middle = grid[0].subgridspec(1, 3, width_ratios=[beside, block.width, beside])
    _draw_maps(run, page.add_subfigure(middle[1]), block)
    panels = [draw for draw in _panels(run) if draw is not _draw_temperature]
    panels = [*panels[:2], _draw_profiles] if all(run.lattice.periodic) else panels[:3]
    axes = page.add_subfigure(grid[1]).subplots(1, len(panels), squeeze=False).ravel()
    for axis, draw in zip(axes, panels, strict=True):
        draw(run, axis)
    return page


def _page(run: Run, width: float, height: float) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    page = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    page.suptitle(run.title, fontsize=15, color=BLACK)
    if run.parameters:
        page.supxlabel(run.parameters, fontsize=10, color=GREY)
    return page


@dataclass(frozen=True)
class _Block:
    """How maps are arranged: frames, rows, columns, and the size of the block with titles and colour bar [inch]."""

    frames: list[int]
    rows: int
    columns: int
    width: float
    height: float

    @classmethod
    def of(cls, run: Run, target: float, wide: float, high: float) -> _Block:
        frames = chosen_frames(run.time, MAPS)
        aspect = run.lattice.shape[0] / run.lattice.shape[1]
        columns = columns_for(len(frames), aspect, target)
        rows = len(frames) // columns
        panel = min(wide / (columns * aspect), high / rows)
        width, height = columns * (panel * aspect + 0.16) + 1.3, rows * (panel + 0.45)
        return cls(frames, rows, columns, width, height)


# panels


def _draw_maps(run: Run, figure: Figure | SubFigure, block: _Block) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("order", DIVERGING)
    axes = figure.subplots(block.rows, block.columns, squeeze=False).ravel()
    limit = max(float(np.quantile(np.abs(run.fields[block.frames]), 0.995)), 1e-12)
    for axis, k in zip(axes, block.frames, strict=True):
        image: AxesImage = axis.imshow(
            picture(run.fields[k], run.lattice),
            origin="lower", interpolation="nearest", cmap=colours, vmin=-limit, vmax=limit,
        )  # fmt: skip
        axis.set(title=_time_label(run.time[k]), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=list(axes), label=run.label, aspect=20, pad=0.012).outline.set_visible(False)


def _draw_energy(run: Run, axis: Axes) -> None:
    drawn: list[Array] = []
    for name, (label, colour, dashes) in ENERGIES.items():
        time, value = run.series.get(name, (np.zeros(0), np.zeros((0, 1))))
        # Without momenta the total energy is the free energy once more, and the kinetic energy is zero.
        if value.any() and not any(np.array_equal(value, other, equal_nan=True) for other in drawn):
            _draw_replicas(axis, time, value / run.lattice.sites, colour, label, dashes)
            drawn.append(value)
    axis.set(xlabel="time", ylabel="energy per site")
    axis.legend()


def _draw_temperature(run: Run, axis: Axes) -> None:
    _draw_replicas(axis, *run.series["temperature"], ORANGE, "temperature")
    axis.set(xlabel="time", ylabel="kinetic temperature")


def _draw_walls(run: Run, axis: Axes) -> None:
    time, value = run.series["wall_fraction"]
    _draw_replicas(axis, time, value, BLUE, "wall fraction")
    axis.set(xlabel="time", ylabel="wall fraction")
    mean = value.mean(axis=1)
    positive = (time > 0) & (mean > 0)
    if positive.sum() < 4 or time[positive][-1] < 10 * time[positive][0] or mean[positive][-1] > 0.5 * mean[0]:
        axis.set_ylim(bottom=0)
        return
    axis.set(xscale="log", yscale="log")
    late = time >= 0.1 * time[-1]
    guide = 1.3 * np.max(mean[late] * np.sqrt(time[late])) / np.sqrt(time[late])
    axis.plot(time[late], guide, color=GREY, lw=1.2, ls="--")
    middle = np.abs(time[late] - 0.3 * time[-1]).argmin()
    axis.annotate("$t^{-1/2}$", (time[late][middle], guide[middle]), (3, 3), textcoords="offset points", color=GREY)
    _plain_ticks(axis)


def _draw_order(run: Run, axis: Axes) -> None:
    _draw_replicas(axis, *run.series["order_parameter"], BLUE, "order")
    axis.set(xlabel="time", ylabel="order parameter  $|\\langle\\phi\\rangle|$")
    axis.set_ylim(bottom=0)


def _draw_profiles(run: Run, axis: Axes) -> None:
    import matplotlib

    structure = structure_factor(run.fields, run.lattice)
    k, profiles = radial_structure_factor(structure, run.lattice)
    profiles = profiles.clip(max(1e-10 * profiles.max(), 1e-30))  # below are rounding errors of an ordered field
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.92, len(profiles))[::-1])
    labelled = {round(n) for n in np.linspace(0, len(profiles) - 1, 4)}
    for n, (profile, shade) in enumerate(zip(profiles, shades, strict=True)):
        label = _time_label(run.time[n]) if n in labelled else None
        axis.plot(k[1:], profile[1:], color=shade, label=label, lw=1.8 if label else 1.0)
    axis.set(xscale="log", yscale="log", xlabel="$|q - (\\pi, \\pi)|$", ylabel="$S(q)$, ring average")
    _plain_ticks(axis)
    axis.legend()


PANELS: dict[str, Callable[[Run, Any], None]] = {
    **dict.fromkeys(ENERGIES, _draw_energy),
    "wall_fraction": _draw_walls,
    "order_parameter": _draw_order,
    "temperature": _draw_temperature,
}


def _panels(run: Run) -> list[Callable[[Run, Any], None]]:
    """The panels that the run has data for, each once."""
    return list(dict.fromkeys(draw for name, draw in PANELS.items() if name in run.series))


def _draw_replicas(axis: Axes, time: Array, value: Array, colour: str, label: str, dashes: str = "-") -> None:
    """The mean over replicas, over thin lines of each; a point where there is one time only."""
    if value.shape[1] > 1:
        axis.plot(time, value, color=colour, lw=0.7, alpha=0.35, ls=dashes)
    axis.plot(time, value.mean(axis=1), color=colour, label=label, ls=dashes, marker="o" if len(time) == 1 else "")
    if len(time) == 1:
        axis.set_xticks(time)


def _plain_ticks(axes: Axes) -> None:
    """Ticks such as 0.05 rather than 5 x 10^-2 on logarithmic axes, where they span few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if high < 3000 * low:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 150 * low else (1.0,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def _time_label(time: float) -> str:
    return f"$t$ = {time:.4g}"
