"""Figures of a run, drawn from the files it left: order in space, time series, structure factor, and a summary.

Reads DIR/trajectory.h5 and DIR/summary.json and writes DIR/figures/. Works after the run and without its model: the
charge order phi = (n - 1/2)(-1)^(x+y) is drawn from the stored density, or (-1)^(x+y) times the displacement where no
density was stored. The replicas share the time series; maps show the first one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.observables import radial_structure_factor, structure_factor

if TYPE_CHECKING:
    import h5py
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

Array = NDArray[Any]

MAPS = 6  # configurations shown side by side
PROFILES = 16  # structure factors shown as lines
ENERGIES = {
    "conserved_energy": ("conserved", "#8c8c8c"),
    "total_energy": ("total", "#1b1b1b"),
    "kinetic_energy": ("kinetic", "#d9822b"),
    "free_energy": ("free energy $\\Omega$", "#1f5f99"),
}
# Blue - paper - orange: distinct for all common colour deficiencies and ordered in lightness on both sides.
DIVERGING = ("#0b2c4d", "#1f5f99", "#7fb2d9", "#f6f3ee", "#f0b27a", "#c9641a", "#5c2505")
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.8,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}


def draw_run(directory: Path) -> list[Path]:
    """Draw every figure that the files in `directory` allow and return the paths written, the summary last.

    ======================  ==========================================================================
    order_parameter.png     the order field at up to six times
    time_series.png         energies, temperature, wall fraction and order against time
    structure_factor.png    S(q) at the first and last frame, and its profile around (pi, pi) over time
    summary.png, .pdf       all of it on one page
    ======================  ==========================================================================

    Maps need a square lattice; others get the time series. Only the frames that are drawn are read.
    """
    import matplotlib

    run = read_run(Path(directory))
    folder = Path(directory) / "figures"
    folder.mkdir(exist_ok=True)
    figures: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        if len(run.fields):
            figures["order_parameter.png"] = _order_figure(run)
        if run.series:
            figures["time_series.png"] = _series_figure(run)
        if len(run.fields):
            figures["structure_factor.png"] = _structure_figure(run)
            figures["summary.png"] = figures["summary.pdf"] = _summary_figure(run)
        for name, figure in figures.items():
            undated = {"CreationDate": None} if name.endswith(".pdf") else {}
            figure.savefig(folder / name, metadata=undated)
    return [folder / name for name in figures]


# what is drawn


@dataclass(frozen=True)
class Run:
    """The part of a run that is drawn: K order fields of the first replica, and the time series of all R.

    `series` maps a name to (time (F,), value (F, R)); entries that are nowhere finite are left out.
    """

    lattice: Lattice
    title: str
    replicas: int
    label: str
    time: Array  # (K,)
    fields: Array  # (K, N)
    series: dict[str, tuple[Array, Array]]


def read_run(directory: Path) -> Run:
    """Read what `draw_run` draws from the H5MD trajectory in `directory`."""
    import h5py

    path = directory / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: figures are drawn from the trajectory of a run with output")
    with h5py.File(path, "r") as file:
        about = file["parameters/lattice"].attrs
        lattice = Lattice(_text(about["type"]), tuple(int(n) for n in about["shape"]))
        symbol = _text(file["parameters/model"].attrs.get("symbol", "x"))
        particles = file.get("particles", {})
        series = _read_series(file)
        replicas = max([len(particles), *(value.shape[1] for _, value in series.values())])
        time, fields, label = np.zeros(0), np.zeros((0, lattice.sites)), ""
        if len(particles) and lattice.type == "square":
            time, fields, label = _read_fields(particles[sorted(particles)[0]], lattice, symbol)
        title = _title(file, directory, lattice, replicas)
    return Run(lattice, title, replicas, label, time, fields, series)


def _read_fields(group: h5py.Group, lattice: Lattice, symbol: str) -> tuple[Array, Array, str]:
    name = "density" if "density" in group else "displacement"
    time = group[name]["time"][:]
    frames = chosen_frames(time, PROFILES)
    values = group[name]["value"][frames]
    if name == "density":
        return time[frames], (values - 0.5) * lattice.staggered, "$(n_i - 1/2)\\,(-1)^{x+y}$"
    return time[frames], values[..., 0] * lattice.staggered, f"${symbol}_i\\,(-1)^{{x+y}}$"


def _read_series(file: h5py.File) -> dict[str, tuple[Array, Array]]:
    series = {}
    for name, group in file.get("observables", {}).items():
        value = group["value"][:].astype(float)
        if value.ndim == 1:
            value = value[:, None]
        if value.ndim == 2 and np.isfinite(value).any():
            series[name] = (group["time"][:], value)
    return series


def _title(file: h5py.File, directory: Path, lattice: Lattice, replicas: int) -> str:
    parts = [f"{_text(file['parameters/model'].attrs.get('name', 'model')).capitalize()} model",
             f"{lattice.type} lattice {' × '.join(map(str, lattice.shape))}"]  # fmt: skip
    summary = directory / "summary.json"
    written = json.loads(summary.read_text()) if summary.is_file() else {}
    if isinstance(written.get("steps"), int):
        parts.append(f"{written['steps']:,} steps".replace(",", "\u2009"))
    if replicas > 1:
        parts.append(f"{replicas} replicas (maps: the first)")
    return "  ·  ".join(parts)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


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
    for k, target in enumerate(np.geomspace(elapsed[1], elapsed[last], count - 1)):
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
    """Columns that arrange `count` panels of width/height `aspect` in a block nearest to the aspect ratio `target`."""
    return min(range(1, count + 1), key=lambda n: abs(np.log(n * aspect / -(-count // n) / target)))


# figures


def _order_figure(run: Run) -> Figure:
    from matplotlib.figure import Figure

    frames = chosen_frames(run.time, MAPS)
    aspect = run.lattice.shape[0] / run.lattice.shape[1]
    columns = columns_for(len(frames), aspect, 1.5)
    rows = -(-len(frames) // columns)
    width, height = _panel_size(aspect, columns, rows, 9.0, 6.6)
    figure = Figure(figsize=(columns * width + 1.6, rows * (height + 0.35) + 0.6), layout="constrained")
    figure.suptitle(run.title, fontsize=12, color="#333333")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    image = _draw_maps(run, frames, axes)
    figure.colorbar(image, ax=list(axes), label=run.label, shrink=0.8, aspect=30, pad=0.02).outline.set_visible(False)
    return figure


def _series_figure(run: Run) -> Figure:
    from matplotlib.figure import Figure

    panels = [draw for names, draw in PANELS.items() if any(name in run.series for name in names)]
    columns = min(len(panels), 2)
    rows = -(-len(panels) // max(columns, 1))
    figure = Figure(figsize=(5.0 * columns, 3.3 * rows + 0.4), layout="constrained")
    figure.suptitle(run.title, fontsize=12, color="#333333")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, draw in zip(axes, panels, strict=False):
        draw(run, axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def _structure_figure(run: Run) -> Figure:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.4), layout="constrained")
    figure.suptitle(run.title, fontsize=12, color="#333333")
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    maps = [centred_structure_factor(run.fields[k], run.lattice) for k in (0, -1)]
    largest = max(pixels.max() for pixels, _ in maps)
    smallest = np.median(maps[1][0])
    norm = LogNorm(max(smallest, 1e-6 * largest, 1e-300), max(largest, 1e-299))
    for axis, (pixels, extent), time in zip(axes, maps, run.time[[0, -1]], strict=False):
        image = axis.imshow(pixels.clip(norm.vmin), norm=norm, cmap="magma", origin="lower", extent=extent)
        axis.set(title=_time_label(time), xlabel="$q_x$", ylabel="$q_y$", aspect="equal")
        ticks = [0, np.pi, 2 * np.pi]
        axis.set_xticks(ticks, ["0", "$\\pi$", "$2\\pi$"])
        axis.set_yticks(ticks, ["0", "$\\pi$", "$2\\pi$"])
    figure.colorbar(image, ax=list(axes[:2]), label="$S(q)$", shrink=0.85, aspect=25).outline.set_visible(False)
    _draw_profiles(run, axes[2])
    return figure


def _summary_figure(run: Run) -> Figure:
    from matplotlib.figure import Figure

    frames = chosen_frames(run.time, MAPS)
    aspect = run.lattice.shape[0] / run.lattice.shape[1]
    columns = columns_for(len(frames), aspect, 5.5)
    rows = -(-len(frames) // columns)
    width = 13.5
    _, height = _panel_size(aspect, columns, rows, width - 1.3, 3.6)
    top = rows * (height + 0.32)
    figure = Figure(figsize=(width, top + 4.2), layout="constrained")
    figure.suptitle(run.title, fontsize=13, color="#333333")
    above, below = figure.subfigures(2, 1, height_ratios=[top, 3.6])
    axes = above.subplots(rows, columns, squeeze=False).ravel()
    image = _draw_maps(run, frames, axes)
    above.colorbar(image, ax=list(axes), label=run.label, shrink=0.9, aspect=18, pad=0.01).outline.set_visible(False)
    panels = [draw for names, draw in PANELS.items() if any(name in run.series for name in names)]
    chosen = [*[draw for draw in panels if draw is not _draw_temperature][:2], _draw_profiles]
    for axis, draw in zip(below.subplots(1, len(chosen), squeeze=False).ravel(), chosen, strict=True):
        draw(run, axis)
    return figure
