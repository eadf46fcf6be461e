"""Pages about the states that groups of runs pass through: distributions of x, domains, energies, levels, waves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from latticemd.analysis.ensembles import Ensemble
from latticemd.figures.style import (
    BLUE,
    GREY,
    GROUPS,
    INK,
    ORANGE,
    draw_band,
    logarithmic,
    page,
    points,
    shades,
    time_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latticemd.analysis.runner import Analysis

Array = NDArray[Any]

ENERGIES = {
    "total_energy": ("total", INK, "-"),
    "free_energy": ("free energy", BLUE, "-"),
    "classical_energy": ("classical", GROUPS[2], "-"),
    "electronic_energy": ("electronic", GROUPS[3], "-"),
    "kinetic_energy": ("kinetic", ORANGE, "-"),
    "heat": ("heat from the bath", GREY, "--"),
}


def states_figure(analysis: Analysis) -> Figure:
    """A row for each group: the distribution of x, that of domain sizes, numbers of domains, and energies per site."""
    from latticemd.analysis.figure import caption_of

    made = page(analysis.title, caption_of(analysis), 16.4, 3.9 * len(analysis.groups) + 0.7)
    for row, group in zip(made.subplots(len(analysis.groups), 4, squeeze=False), analysis.groups, strict=True):
        for axis, draw in zip(row, (_displacements, _domain_sizes, _domains, _energies), strict=True):
            draw(axis, group)
        if len(analysis.groups) > 1:
            row[0].set_title(group.label, loc="left")
    return made


def spectra_figure(analysis: Analysis) -> Figure:
    """A row for each group: the density of states at several times, and that at walls and inside domains at the last one."""
    from latticemd.analysis.figure import caption_of

    groups = [group for group in analysis.groups if "density_of_states" in group.quantities]
    made = page(analysis.title, caption_of(analysis), 12.0, 3.9 * len(groups) + 0.7)
    for (left, right), group in zip(made.subplots(len(groups), 2, squeeze=False), groups, strict=True):
        _curves_of_times(left, group, "density_of_states")
        for name, label, colour in (("at_walls", "at domain walls", ORANGE), ("inside", "inside domains", BLUE)):
            quantity = group.quantities[f"density_of_states_{name}"]
            assert quantity.coordinate is not None
            mean, error = quantity.mean_and_error()
            draw_band(right, quantity.coordinate, mean[-1], error[-1], colour, label)
        right.set_title(time_label(group.quantities["density_of_states"].time[-1]))
        for axis in (left, right):
            axis.set(xlabel="energy", ylabel="density of states per orbital", ylim=(0, None))
            axis.legend(fontsize=points(9))
        if len(groups) > 1:
            left.set_title(group.label, loc="left")
    return made


def dynamics_figure(analysis: Analysis) -> Figure:
    """S(q, w) of every group, side by side."""
    from matplotlib.colors import LogNorm

    from latticemd.analysis.figure import caption_of

    groups = [(group.label, group.spectrum) for group in analysis.groups if group.spectrum is not None]
    made = page(analysis.title, caption_of(analysis), 5.6 * len(groups) + 1.4, 5.0)
    means = [spectrum.values.mean(axis=0) for _, spectrum in groups]
    largest = max(float(mean.max()) for mean in means)
    norm = LogNorm(1e-5 * largest, largest)
    fastest = max(
        one.omega[mean.max(axis=0) > 1e-4 * largest][-1] for (_, one), mean in zip(groups, means, strict=True)
    )
    axes = made.subplots(1, len(groups), squeeze=False)[0]
    for axis, (label, spectrum), mean in zip(axes, groups, means, strict=True):
        path = spectrum.path
        image = axis.pcolormesh(path.distance, spectrum.omega, mean.T.clip(1e-5 * largest), norm=norm, cmap="magma")
        axis.set_xticks([path.distance[place] for place in path.corners], list(path.corners.values()))
        axis.set(xlabel="$q$, corners in halves of the reciprocal vectors", ylabel=r"$\omega$", title=label)
        axis.set_ylim(0, 1.2 * fastest)
    made.colorbar(image, ax=list(axes), label=r"$S(q, \omega)$", aspect=25).outline.set_visible(False)
    return made


def _displacements(axis: Axes, group: Ensemble) -> None:
    names = [name for name in group.quantities if name.startswith("displacements")]
    if not names:
        axis.set_visible(False)
        return
    _curves_of_times(axis, group, names[0])
    axis.set(xlabel="$x$" if len(names) == 1 else "first component of $x$", ylabel="probability density")
    axis.set_ylim(0, 1.2 * axis.get_ylim()[1])  # the legend stands above the wells
    axis.legend(fontsize=points(9), ncols=3, loc="upper center")


def _domain_sizes(axis: Axes, group: Ensemble) -> None:
    if "domain_distribution" not in group.quantities:
        axis.set_visible(False)
        return
    _curves_of_times(axis, group, "domain_distribution")
    axis.set(xscale="log", xlabel="sites of a domain", ylabel="share of the lattice", ylim=(0, None))


def _curves_of_times(axis: Axes, group: Ensemble, name: str) -> None:
    quantity = group.quantities[name]
    assert quantity.coordinate is not None
    mean, _ = quantity.mean_and_error()
    for n, (time, curve, shade) in enumerate(zip(quantity.time, mean, shades(len(mean)), strict=True)):
        label = time_label(time) if n in (0, len(mean) // 2, len(mean) - 1) else None
        axis.plot(quantity.coordinate, curve, color=shade, label=label, lw=1.4)


def _domains(axis: Axes, group: Ensemble) -> None:
    for name, label, colour in (
        ("domains_per_site", "domains per site", BLUE),
        ("largest_domain", "share of the largest", ORANGE),
    ):
        quantity = group.quantities[name]
        mean, error = quantity.mean_and_error()
        later = quantity.time > 0
        draw_band(axis, quantity.time[later], mean[later], error[later], colour, label)
    axis.set(xlabel="time")
    logarithmic(axis)
    axis.legend(fontsize=points(9))


def _energies(axis: Axes, group: Ensemble) -> None:
    known = {name: group.quantities[name] for name in ENERGIES if name in group.quantities}
    if not known:
        axis.set_visible(False)
        return
    for name, quantity in known.items():
        label, colour, dashes = ENERGIES[name]
        mean, error = quantity.mean_and_error()
        sites, later = group.lattice.sites, quantity.time > 0
        draw_band(axis, quantity.time[later], mean[later] / sites, error[later] / sites, colour, label, dashes)
    axis.set(xlabel="time", ylabel="energy per site")
    logarithmic(axis, y=False)
    axis.legend(fontsize=points(9))
