"""Curves: what a run measured against time, and ring averages of the structure factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from latticemd.errors import InputError
from latticemd.figures.reading import Array, Run
from latticemd.figures.style import BLUE, GREY, INK, ORANGE, draw_replicas, plain_ticks, shades, time_label
from latticemd.lattice import Lattice
from latticemd.observables import radial_structure_factor, require_transform, structure_factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 16  # ring averages in one panel
ENERGIES = {
    "free_energy": ("free energy", BLUE, "-"),
    "kinetic_energy": ("kinetic", ORANGE, "-"),
    "total_energy": ("total", INK, "-"),
    "conserved_energy": ("conserved", GREY, "--"),
}


def draw_energy(run: Run, axis: Axes) -> None:
    """Energies per site that are known: a force that is no gradient comes without one."""
    drawn: list[Array] = []
    for name, (label, colour, dashes) in ENERGIES.items():
        time, value = run.series.get(name, (np.zeros(0), np.zeros((0, 1))))
        # Without momenta the total energy is the free energy once more, and the kinetic energy is zero.
        if (
            value.any()
            and np.isfinite(value).any()
            and not any(np.array_equal(value, other, equal_nan=True) for other in drawn)
        ):
            draw_replicas(axis, time, value / run.lattice.sites, colour, label, dashes)
            drawn.append(value)
    axis.set(xlabel="time", ylabel="energy per site")
    if axis.lines:
        axis.legend()
    if "free energy" not in [line.get_label() for line in axis.lines]:
        axis.set_title("this force field gives no free energy", fontsize="medium", color=GREY)


def draw_temperature(run: Run, axis: Axes) -> None:
    """The kinetic temperature."""
    draw_replicas(axis, *run.series["temperature"], ORANGE, "temperature")
    axis.set(xlabel="time", ylabel="kinetic temperature")


def draw_walls(run: Run, axis: Axes) -> None:
    """The wall fraction, beside the t^-1/2 of Allen and Cahn where it falls far enough to be compared."""
    time, value = run.series["wall_fraction"]
    draw_replicas(axis, time, value, BLUE, "wall fraction")
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
    plain_ticks(axis)


def draw_order(run: Run, axis: Axes) -> None:
    """The global order."""
    draw_replicas(axis, *run.series["order_parameter"], BLUE, "order")
    axis.set(xlabel="time", ylabel="order parameter  $|\\langle\\phi\\rangle|$")
    axis.set_ylim(bottom=0)


def draw_profiles(run: Run, axis: Axes) -> None:
    """Ring averages of S(q) around the ordering wave vector Q."""
    frames = np.unique(np.linspace(0, len(run.fields) - 1, CURVES).round().astype(int))
    structure = structure_factor(run.fields[frames], run.lattice)
    k, profiles = radial_structure_factor(structure, run.lattice)
    profiles = profiles.clip(max(1e-10 * profiles.max(), 1e-30))  # below are rounding errors of an ordered field
    labelled = {round(n) for n in np.linspace(0, len(profiles) - 1, 4)}
    for n, (profile, shade) in enumerate(zip(profiles, shades(len(profiles)), strict=True)):
        label = time_label(run.time[frames[n]]) if n in labelled else None
        axis.plot(k[1:], profile[1:], color=shade, label=label, lw=1.8 if label else 1.0)
    axis.set(xscale="log", yscale="log", xlabel="$|q - Q|$", ylabel="$S(q)$, ring average")
    plain_ticks(axis)
    axis.legend()


def has_rings(lattice: Lattice) -> bool:
    """Whether a lattice has a structure factor on a grid of wave vectors, whose rings can be averaged."""
    try:
        require_transform(lattice)
    except InputError:
        return False
    return True


PANELS: dict[str, Callable[[Run, Any], None]] = {
    **dict.fromkeys(ENERGIES, draw_energy),
    "wall_fraction": draw_walls,
    "order_parameter": draw_order,
    "temperature": draw_temperature,
}


def panels_of(run: Run) -> list[Callable[[Run, Any], None]]:
    """The panels that the run has data for, each once."""
    return list(dict.fromkeys(draw for name, draw in PANELS.items() if name in run.series))
