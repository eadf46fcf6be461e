"""The figure of a minimisation, drawn from its minimum.h5: the order in space, and the way down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latticemd.build import build_model
from latticemd.config import stored_input
from latticemd.errors import InputError
from latticemd.figures.maps import Map
from latticemd.figures.reading import heading
from latticemd.figures.style import BLUE, GREY, LIGHT, ORANGE, Look, page
from latticemd.lattice import Lattice
from latticemd.output.checkpoint import read_checkpoint
from latticemd.state import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Descent:
    """What is drawn: the order field (R, N) that was reached, and energy and largest force (S, R) on the way."""

    lattice: Lattice
    title: str
    label: str
    order_field: Array
    energy: Array
    force: Array
    force_tolerance: float


def draw_minimization(directory: Path, look: Look = LIGHT) -> Path:
    """Draw DIR/figures/minimization.png from DIR/minimum.h5 and return its path.

    The order field is that of the first replica, drawn where the density is known; the curves show all of them.
    Raises InputError or OutputError if there is no readable minimum.h5.
    """
    descent = read_descent(Path(directory))
    path = Path(directory) / "figures" / "minimization.png"
    path.parent.mkdir(exist_ok=True)
    with look.applied():
        return look.save(_figure(descent), path)[0]


def read_descent(directory: Path) -> Descent:
    """Read what `draw_minimization` draws."""
    path = directory / "minimum.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the directory of a minimisation")
    state, extra = read_checkpoint(path)
    run_input = stored_input(extra["input"], path)
    model, _ = build_model(run_input)
    verdict = "minimum" if extra["converged"].all() else "not converged"
    parts = heading(run_input, model)
    parts.append(f"{verdict} after {state.step} steps")
    if state.replicas > 1:
        parts.append(f"{state.replicas} replicas (map: the first)")
    energy, force = extra["curve/free_energy"], extra["curve/largest_force"]
    label = f"${model.order_symbol}$"
    return Descent(
        model.lattice, "  ·  ".join(parts), label, extra["order_field"], energy, force, extra["force_tolerance"]
    )


def _figure(descent: Descent) -> Figure:
    panels: list[Any] = [_draw_energy] if np.isfinite(descent.energy).any() else []
    panels.append(_draw_force)
    if np.isfinite(descent.order_field[0]).all():
        panels.insert(0, _draw_map if descent.lattice.directions > 1 else _draw_line)
    made = page(descent.title, "", 4.9 * len(panels) + 0.4, 4.7)
    for axis, draw in zip(made.subplots(1, len(panels), squeeze=False).ravel(), panels, strict=True):
        draw(descent, axis)
    return made


def _draw_map(descent: Descent, axis: Axes) -> None:
    phi, shown = descent.order_field[0], Map(descent.lattice)
    image = shown.draw(axis, phi, max(float(np.abs(phi).max()), 1e-12))
    axis.set(title=shown.note)
    axis.figure.colorbar(image, ax=axis, label=descent.label, aspect=25, shrink=0.9).outline.set_visible(False)


def _draw_line(descent: Descent, axis: Axes) -> None:
    axis.plot(descent.order_field[0], color=BLUE, marker="o", ms=2.5, lw=1.0)
    axis.set(xlabel="site", ylabel=descent.label)


def _draw_energy(descent: Descent, axis: Axes) -> None:
    above = (descent.energy - descent.energy.min(axis=0)) / descent.lattice.sites
    # The lowest value has no logarithm, and what is below the rounding of the energy shows nothing.
    smallest = 1e-15 * max(1.0, float(np.abs(descent.energy).max()) / descent.lattice.sites)
    _draw_replicas(axis, np.where(above > smallest, above, np.nan), BLUE)
    lowest = float(descent.energy[-1].min()) / descent.lattice.sites
    title = f"lowest end {lowest:.8g}" if descent.energy.shape[1] > 1 else f"end {lowest:.8g}"
    axis.set(yscale="log", xlabel="step", ylabel="free energy per site above the lowest", title=title)


def _draw_force(descent: Descent, axis: Axes) -> None:
    _draw_replicas(axis, np.where(descent.force > 0, descent.force, np.nan), ORANGE)
    axis.axhline(descent.force_tolerance, color=GREY, lw=1.2, ls="--")
    axis.annotate("tolerance", (0, descent.force_tolerance), (3, 4), textcoords="offset points", color=GREY)
    axis.set(yscale="log", xlabel="step", ylabel="largest force", title=f"end {descent.force[-1].max():.2g}")


def _draw_replicas(axis: Axes, value: Array, colour: str) -> None:
    """A line for each replica; a point where there is no step."""
    lw = 1.8 if value.shape[1] == 1 else 0.9
    axis.plot(np.arange(len(value)), value, color=colour, lw=lw, marker="o" if len(value) == 1 else "")
