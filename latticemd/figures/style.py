"""Colours, lines and labels that all figures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Blue - paper - orange: apart for all common colour deficiencies, and ordered in lightness on both sides.
DIVERGING = ("#10365f", "#2a6fa8", "#8dbbdc", "#f6f3ee", "#f2b880", "#d2691e", "#7a3306")
DIVERGING_DARK = ("#b9dcf7", "#5ea6de", "#285a88", "#1d2128", "#80461a", "#dd8138", "#ffd2a6")  # night where it is zero
BLUE, ORANGE, BLACK, GREY = "#1f5f99", "#c9641a", "#1b1b1b", "#8c8c8c"
# Groups of runs, told apart by lightness too (after Okabe and Ito, https://jfly.uni-koeln.de/color).
GROUPS = (BLUE, "#d2691e", "#1a9574", "#b0568e", "#5fa9d9", "#8a6d1c", "#444444")
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


def diverging() -> Colormap:
    """The colours of an order field, paper where it is zero."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("order", DIVERGING)


def page(title: str, caption: str, width: float, height: float) -> Figure:
    """An empty page [inch] with a title above and a line in grey below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    made.suptitle(title, fontsize=15, color=BLACK)
    if caption:
        made.supxlabel(caption, fontsize=10, color=GREY)
    return made


def draw_replicas(
    axis: Axes, time: NDArray[Any], value: NDArray[Any], colour: str, label: str, dashes: str = "-"
) -> None:
    """The mean over replicas, over thin lines of each; a point where there is one time only."""
    if value.shape[1] > 1:
        axis.plot(time, value, color=colour, lw=0.7, alpha=0.35, ls=dashes)
    axis.plot(time, value.mean(axis=1), color=colour, label=label, ls=dashes, marker="o" if len(time) == 1 else "")
    if len(time) == 1:
        axis.set_xticks(time)


def draw_band(
    axis: Axes,
    x: NDArray[Any],
    mean: NDArray[Any],
    error: NDArray[Any],
    colour: str,
    label: str | None = None,
    dashes: str = "-",
) -> None:
    """A mean with a band of one standard error on both sides, where one is known."""
    axis.plot(x, mean, color=colour, label=label, ls=dashes)
    if np.isfinite(error).any():
        axis.fill_between(x, mean - error, mean + error, color=colour, alpha=0.25, lw=0)


def logarithmic(*axes: Axes, x: bool = True, y: bool = True) -> None:
    """Logarithmic scales, with plain ticks, on those axes where something positive is drawn."""
    for axis in axes:
        drawn = [np.asarray(line.get_xydata(), dtype=float) for line in axis.get_lines()]
        values = np.concatenate([*drawn, np.zeros((1, 2))])
        for wanted, column, scale in ((x, 0, axis.set_xscale), (y, 1, axis.set_yscale)):
            if wanted and (values[:, column] > 0).any():
                scale("log")
        plain_ticks(axis)


def plain_ticks(axes: Axes) -> None:
    """Ticks such as 0.05 rather than 5 x 10^-2 on logarithmic axes, where they span few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "log" and high < 3000 * low:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 150 * low else (1.0,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def time_label(time: float) -> str:
    """The title of a panel at one time."""
    return f"$t$ = {time:.4g}"


def largest_shown(values: NDArray[Any]) -> float:
    """The end of the colour scale: nearly all values lie within."""
    return max(float(np.quantile(np.abs(values), 0.995)), 1e-12)
