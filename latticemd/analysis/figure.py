"""The figures of an analysis: growth with its local slope, scaling collapses, and how groups of runs differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.ensembles import Ensemble
from latticemd.analysis.statistics import AGREE, DIFFER
from latticemd.figures.style import GREY, GROUPS, INK, Look, draw_band, logarithmic, page, points, shades, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latticemd.analysis.runner import Analysis

Array = NDArray[Any]

DEFINITIONS = {
    "half": "$L$ from $C(L) = C(0)/2$",
    "moment": r"$L = 2\pi/\langle k \rangle$ from $S(k)$",
    "walls": "$L$ from the density of walls",
}


def draw_analysis(analysis: Analysis, directory: Path, look: Look) -> list[Path]:
    """Draw what the analysis has into DIR/figures and return the paths.

    ================  ======================================================================================
    growth.png        wall fraction and lengths over time, with the fitted laws, and local slopes below
    scaling.png       C(r) and S(k) at several times, as they are and scaled by L(t); a row for each group
    states.png        distributions of x and of domain sizes, domains and energies over time; a row for each group
    spectra.png       densities of states at several times, and at walls and inside domains at the last one
    dynamics.png      S(q, w) along a path through the zone, on a logarithmic scale
    comparison.png    groups against the first one: differences in standard errors, C(r) at the last time
    ================  ======================================================================================
    """
    from latticemd.analysis.figure_states import dynamics_figure, spectra_figure, states_figure

    figures: dict[str, Callable[[Analysis], Figure]] = {"growth.png": _growth_figure}
    if any(group.collapses for group in analysis.groups):
        figures["scaling.png"] = _scaling_figure
    figures["states.png"] = states_figure
    if any("density_of_states" in group.quantities for group in analysis.groups):
        figures["spectra.png"] = spectra_figure
    if any(group.spectrum for group in analysis.groups):
        figures["dynamics.png"] = dynamics_figure
    if analysis.comparisons:
        figures["comparison.png"] = _comparison_figure
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    with look.applied():
        return [path for name, draw in figures.items() for path in look.save(draw(analysis), folder / name, dpi=130)]


def _growth_figure(analysis: Analysis) -> Figure:
    shown = [name for name in DEFINITIONS if any(name in group.laws for group in analysis.groups)]
    made = page(analysis.title, caption_of(analysis), 4.3 * (1 + len(shown)) + 0.4, 7.2)
    above, below = made.subplots(2, 1 + len(shown), squeeze=False)
    for group, colour in coloured(analysis):
        _curve(above[0], group, "wall_fraction", colour)
        _curve(below[0], group, "local_amplitude", colour)
        for name, axis, slopes in zip(shown, above[1:], below[1:], strict=True):
            _length(axis, slopes, group, name, colour)
    above[0].set(xlabel="time", ylabel="wall fraction")
    below[0].set(xlabel="time", ylabel="order inside domains", ylim=(0, None))
    logarithmic(*above)
    logarithmic(*below, y=False)
    for name, axis, slopes in zip(shown, above[1:], below[1:], strict=True):
        axis.set(xlabel="time", ylabel=DEFINITIONS[name])
        axis.legend()
        slopes.set(xlabel="time", ylabel=r"$d \ln L / d \ln t$")
        slopes.axhline(0.5, color=GREY, lw=1.2, ls="--")
        slopes.annotate(
            "1/2", (1, 0.5), (2, 3), xycoords=("axes fraction", "data"), textcoords="offset points", color=GREY
        )
    if len(analysis.groups) > 1:
        below[0].legend()
    return made


def _curve(axis: Axes, group: Ensemble, name: str, colour: str) -> None:
    quantity = group.quantities[name]
    later = quantity.time > 0
    mean, error = quantity.mean_and_error()
    draw_band(axis, quantity.time[later], mean[later], error[later], colour, group.label)


def _length(axis: Axes, slopes: Axes, group: Ensemble, name: str, colour: str) -> None:
    if name not in group.lengths:
        return
    _curve_of_known(axis, group, name, colour)
    if name in group.laws:
        law = group.laws[name]
        time = np.array([law.start, law.end])
        error = f" ± {law.error:.2g}" if np.isfinite(law.error) else ""
        axis.plot(time, law(time), color=INK, lw=1.0, ls=":", label=f"$t^{{{law.exponent:.3f}}}${error}")
    slope = group.slopes[name]
    draw_band(slopes, slope.time, slope.slope, slope.error, colour)


def _curve_of_known(axis: Axes, group: Ensemble, name: str, colour: str) -> None:
    length = group.lengths[name]
    mean, error = length.mean_and_error()
    known = (length.time > 0) & np.isfinite(mean)
    draw_band(axis, length.time[known], mean[known], error[known], colour, group.label or None)


def _scaling_figure(analysis: Analysis) -> Figure:
    groups = [group for group in analysis.groups if group.collapses]
    made = page(analysis.title, caption_of(analysis), 15.2, 3.9 * len(groups) + 0.7)
    for row, group in zip(made.subplots(len(groups), 4, squeeze=False), groups, strict=True):
        for name, plain, scaled in (("correlation", *row[:2]), ("structure_factor", *row[2:])):
            if name in group.collapses:
                _collapse(plain, scaled, group, name)
            else:
                plain.set_visible(False)
                scaled.set_visible(False)
        row[0].set(xlabel="$r$", ylabel="  ".join(filter(None, [group.label, "$C(r)/C(0)$"])))
        row[1].set(xlabel="$r/L(t)$", ylabel="$C/C(0)$")
        row[2].set(xlabel="$k$", ylabel="$S(k)$")
        row[3].set(xlabel="$k L(t)$", ylabel=r"$\ln\, S L^{-d} / \int S k^{d-1} dk$")
        logarithmic(row[2])
        logarithmic(row[3], y=False)
        row[0].legend()
    return made


def _collapse(plain: Axes, scaled: Axes, group: Ensemble, name: str) -> None:
    profile, collapse = group.quantities[name], group.collapses[name]
    frames = group.scaling_frames("half" if name == "correlation" else "moment")
    for n, (frame, shade) in enumerate(zip(frames, shades(len(frames)), strict=True)):
        mean = profile.values[frame].mean(axis=0)
        x = profile.coordinate
        assert x is not None
        label = time_label(profile.time[frame]) if n in (0, len(frames) - 1) else None
        shown = (x, mean / mean[0]) if name == "correlation" else (x[1:], mean[1:])
        plain.plot(*shown, color=shade, label=label)
        scaled.plot(collapse.coordinate, collapse.curves[n], color=shade)
    scaled.set_title(f"spread {collapse.deviation:.3f}, unscaled {collapse.unscaled:.3f}")


def _comparison_figure(analysis: Analysis) -> Figure:
    names = list(dict.fromkeys(row.quantity for rows in analysis.comparisons.values() for row in rows))
    profile = any("correlation" in group.quantities for group in analysis.groups)
    made = page(analysis.title, caption_of(analysis), 7.5 + 5.0 * profile, max(4.5, 0.36 * len(names) + 1.5))
    axes = made.subplots(1, 1 + profile, squeeze=False)[0]
    _distances(axes[0], analysis, names)
    if profile:
        for group, colour in coloured(analysis):
            if "correlation" in group.quantities:
                quantity = group.quantities["correlation"]
                assert quantity.coordinate is not None
                mean, error = quantity.mean_and_error()
                label = f"{group.label}, {time_label(quantity.time[-1])}"
                draw_band(axes[1], quantity.coordinate, mean[-1], error[-1], colour, label)
        axes[1].axhline(0.0, color=GREY, lw=0.8)
        axes[1].set(xlabel="$r$", ylabel="$C(r)$")
        axes[1].legend()
    return made


def _distances(axis: Axes, analysis: Analysis, names: list[str]) -> None:
    """Differences from the first group in standard errors: a line for each quantity, a point for each time, late ones larger."""
    for (group, colour), rows in zip(coloured(analysis)[1:], analysis.comparisons.values(), strict=True):
        known = [row for row in rows if np.isfinite(row.difference.distance)]
        times = sorted({row.time for row in known if np.isfinite(row.time)})  # a growth exponent has none
        signed = [np.sign(row.difference.difference) * row.difference.distance for row in known]
        size = [12.0 + 18.0 * times.index(row.time) if row.time in times else 40.0 for row in known]
        label = f"{group.label} - {analysis.groups[0].label}"
        axis.scatter(signed, [names.index(row.quantity) for row in known], size, colour, alpha=0.7, label=label, lw=0)
    axis.axvspan(-AGREE, AGREE, color=GREY, alpha=0.18, lw=0)
    for side in (-DIFFER, DIFFER):
        axis.axvline(side, color=GREY, lw=1.0, ls="--")
    axis.set(xlabel="difference in standard errors, later times larger", ylim=(len(names) - 0.5, -1.5))
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=points(10))
    axis.legend(fontsize=points(9), loc="upper center", ncols=2)


def coloured(analysis: Analysis) -> list[tuple[Ensemble, str]]:
    """Every group with its colour."""
    return [(group, GROUPS[n % len(GROUPS)]) for n, group in enumerate(analysis.groups)]


def caption_of(analysis: Analysis) -> str:
    """The line below a figure: which groups of how many samples."""
    return ",   ".join(
        f"{group.label or 'all runs'}: {group.samples} sample{'s' * (group.samples > 1)}" for group in analysis.groups
    )
