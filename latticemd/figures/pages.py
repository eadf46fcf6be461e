"""The figures of a run: one page each for order in space, time series and structure factor, and one with all of it.

Time series show all replicas, maps the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latticemd.figures import panels
from latticemd.figures.maps import Map, columns_for, draw_stripes
from latticemd.figures.reading import Array, Run, chosen_frames, read_run
from latticemd.figures.style import LIGHT, Look, largest_shown, page, time_label
from latticemd.lattice import Lattice
from latticemd.observables import structure_factor

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

MAPS = 6  # configurations shown side by side


def draw_run(directory: Path, look: Look = LIGHT) -> list[Path]:
    """Draw every figure that the files in `directory` allow into DIR/figures and return the paths, the summary last.

    ======================  ==========================================================================================
    order_parameter.png     the order field at up to six times; of a lattice with one direction, over all of the time
    time_series.png         energies, temperature, wall fraction and order against time
    particles.png           instead of it, of particles: where they are at up to six times, and their paths
    structure_factor.png    S(q) of the order field: at the first and last frame (square lattice), and ring averages over time
    summary.png, .pdf       all of it on one page
    ======================  ==========================================================================================

    Dark ones and those for print have names of their own, see `Look`. Reads DIR/trajectory.h5, of its frames only those that are
    drawn. Raises InputError or OutputError if there is no readable run.
    """
    directory = Path(directory)
    run = read_run(directory)
    figures: dict[tuple[str, ...], Callable[[Run], Figure]] = {}
    if run.series:
        figures["time_series.png",] = _series_figure
    if run.cloud is not None:
        figures["particles.png",] = _particles_figure
    if len(run.fields):
        figures["order_parameter.png",] = _order_figure
        if panels.has_rings(run.lattice):
            figures["structure_factor.png",] = _structure_figure
        figures["summary.png", "summary.pdf"] = _summary_figure
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    with look.applied():
        for names, draw in figures.items():
            figure = draw(run)
            for name in names:
                paths += look.save(figure, folder / name)
    return list(dict.fromkeys(paths))


def centred_structure_factor(order_field: Array, lattice: Lattice) -> tuple[Array, tuple[float, float, float, float]]:
    """S of an order field (N,) on a square lattice, its own wave vector Q in the middle: (pixels, extent) of q - Q.

    FFT order is rolled so that both components run from -pi to pi; the first row and column are repeated at pi where the
    number of sites is even, so the picture is symmetric.
    """
    structure = np.fft.fftshift(structure_factor(order_field[None], lattice)[0])
    pixels = np.pad(structure, [(0, 1 - n % 2) for n in lattice.shape], mode="wrap").T
    edges = [np.pi * pixels.shape[1 - a] / n for a, n in enumerate(lattice.shape)]
    return pixels, (-edges[0], edges[0], -edges[1], edges[1])


def _order_figure(run: Run) -> Figure:
    block = _Block.of(run, 1.5, 9.5, 6.5)
    made = page(run.title, run.parameters, max(block.width, 6.0), block.height + 0.7)
    _draw_order_in_space(run, made, block)
    return made


def _particles_figure(run: Run) -> Figure:
    """Up to six times; behind particles are their paths since the time before."""
    cloud = run.cloud
    assert cloud is not None, "of a run of particles"
    frames = np.unique(np.linspace(0, len(run.time) - 1, MAPS).round().astype(int)).tolist()
    columns = columns_for(len(frames), 1.0, 1.5)
    rows = len(frames) // columns
    made = page(run.title, run.parameters, 3.4 * columns + 0.3, 3.7 * rows + 0.7)
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for axis, since, frame in zip(axes, [0, *frames], frames, strict=False):
        cloud.draw(axis, frame, since)
        axis.set_title(time_label(run.time[frame]))
    return made


def _series_figure(run: Run) -> Figure:
    drawn = panels.panels_of(run)
    rows = 1 if len(drawn) < 4 else 2
    columns = -(-len(drawn) // rows)
    made = page(run.title, run.parameters, 5.0 * columns + 0.4, 3.6 * rows + 0.7)
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for axis, draw in zip(axes, drawn, strict=False):
        draw(run, axis)
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    return made


def _structure_figure(run: Run) -> Figure:
    from matplotlib.colors import LogNorm

    frames = sorted({0, len(run.fields) - 1}) if run.lattice.type == "square" else []
    made = page(run.title, run.parameters, 5.4 + 4.3 * len(frames), 4.8)
    *maps, profile = made.subplots(1, len(frames) + 1, width_ratios=[*(1.0 for _ in frames), 1.25], squeeze=False)[0]
    panels.draw_profiles(run, profile)
    if not frames:
        return made
    pictures = [centred_structure_factor(run.fields[k], run.lattice) for k in frames]
    largest = max(1e-12, *(pixels.max() for pixels, _ in pictures))
    smallest = float(np.clip(np.median(pictures[-1][0]), 1e-6 * largest, 0.1 * largest))
    ticks = {"ticks": [-np.pi, 0, np.pi], "labels": ["$-\\pi$", "0", "$\\pi$"]}
    for axis, k, (pixels, extent) in zip(maps, frames, pictures, strict=True):
        image = axis.imshow(
            pixels.clip(smallest), norm=LogNorm(smallest, largest), cmap="magma",
            origin="lower", extent=extent, interpolation="nearest",
        )  # fmt: skip
        axis.set(title=time_label(run.time[k]), xlabel="$q_x - Q_x$", ylabel="$q_y - Q_y$")
        axis.set_xticks(**ticks)
        axis.set_yticks(**ticks)
    made.colorbar(image, ax=maps, label="$S(q)$", shrink=0.9, aspect=25, extend="min").outline.set_visible(False)
    return made


def _summary_figure(run: Run) -> Figure:
    block = _Block.of(run, 5.5, 13.0, 4.5)
    width, below = 14.5, 3.9
    made = page(run.title, run.parameters, width, block.height + below + 0.7)
    grid = made.add_gridspec(2, 1, height_ratios=[block.height, below])
    beside = max(width - block.width, 0.0) / 2 + 1e-3
    middle = grid[0].subgridspec(1, 3, width_ratios=[beside, block.width, beside])
    _draw_order_in_space(run, made.add_subfigure(middle[1]), block)
    drawn = [draw for draw in panels.panels_of(run) if draw is not panels.draw_temperature][:2]
    if panels.has_rings(run.lattice):
        drawn.append(panels.draw_profiles)
    if drawn:
        axes = made.add_subfigure(grid[1]).subplots(1, len(drawn), squeeze=False).ravel()
        for axis, draw in zip(axes, drawn, strict=True):
            draw(run, axis)
    return made


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
        if run.lattice.directions == 1:
            return cls([], 1, 1, min(wide, 9.0), min(high, 4.5))
        frames = chosen_frames(run.time, MAPS)
        aspect = Map(run.lattice).aspect
        columns = columns_for(len(frames), aspect, target)
        rows = len(frames) // columns
        panel = min(wide / (columns * aspect), high / rows)
        width, height = columns * (panel * aspect + 0.16) + 1.3, rows * (panel + 0.45)
        return cls(frames, rows, columns, width, height)


def _draw_order_in_space(run: Run, figure: Figure | SubFigure, block: _Block) -> None:
    axes = figure.subplots(block.rows, block.columns, squeeze=False).ravel()
    if not block.frames:
        image = draw_stripes(axes[0], run.time, run.fields, run.lattice, largest_shown(run.fields))
    else:
        shown = Map(run.lattice)
        limit = largest_shown(run.fields[block.frames])
        for axis, k in zip(axes, block.frames, strict=True):
            image = shown.draw(axis, run.fields[k], limit)
            axis.set(title="  ".join(filter(None, [time_label(run.time[k]), shown.note])))
    figure.colorbar(image, ax=list(axes), label=run.label, aspect=20, pad=0.012).outline.set_visible(False)
