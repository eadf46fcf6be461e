"""Colours, lines and labels that all figures share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.plugins import nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Blue - paper - orange: apart for all common colour deficiencies, and ordered in lightness on both sides.
DIVERGING = ("#10365f", "#2a6fa8", "#8dbbdc", "#f6f3ee", "#f2b880", "#d2691e", "#7a3306")
DIVERGING_DARK = ("#b9dcf7", "#5ea6de", "#285a88", "#1d2128", "#80461a", "#dd8138", "#ffd2a6")  # night where it is zero
# What lines are drawn with, by their place in the cycle of the style in force, so that nobody need ask which it is.
BLUE, ORANGE, INK, GREY = "C0", "C1", "C2", "C3"
# Groups of runs, told apart by lightness too (after Okabe and Ito, https://jfly.uni-koeln.de/color).
GROUPS = (BLUE, ORANGE, "C4", "C5", "C6", "C7", "C8")
CYCLES = {
    "light": ("#1f5f99", "#c9641a", "#1b1b1b", "#8c8c8c", "#1a9574", "#b0568e", "#5fa9d9", "#8a6d1c", "#444444"),
    "dark": ("#6fb0e6", "#f0a060", "#ece8df", "#8f8f8b", "#5fcfae", "#e08fc2", "#b5d9f2", "#d6bd6a", "#c8c8c8"),
}
PAPERS = {"light": "#ffffff", "dark": "#14171c"}
LETTERS = {"screen": 12.0, "print": 6.5}  # [point]
PRINT_WIDTH = 178 / 25.4  # [inch] of both columns of a journal
COMMON: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    "legend.frameon": False,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """How figures look.

    =======  =================================================================================================
    `style`  light, or dark for slides with a dark ground
    `size`   screen, or print: as wide as a page of a journal, letters of 6.5 points, PDF beside PNG, and without
             title and parameters, which belong into the caption
    =======  =================================================================================================

    Raises InputError for other words.
    """

    style: str = "light"
    size: str = "screen"

    def __post_init__(self) -> None:
        for option, word, known in (("style", self.style, CYCLES), ("size", self.size, LETTERS)):
            if word not in known:
                raise InputError(f"--{option} {word}: expected {' or '.join(known)}{nearest(word, list(known))}")

    @property
    def suffix(self) -> str:
        """What names of files get added, so that figures of several looks lie side by side."""
        return "_dark" * (self.style == "dark") + "_print" * (self.size == "print")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Matplotlib's style in here; what it was before afterwards."""
        import matplotlib

        with matplotlib.rc_context(self._settings()):
            yield

    def save(self, figure: Figure, path: Path, dpi: float = 200) -> list[Path]:
        """Write a figure, to be called with the style applied; `path` gets the suffix. Returns the paths written."""
        path = path.with_name(f"{path.stem}{self.suffix}{path.suffix}")
        paths = [path]
        if self.size == "print":
            for text in figure.texts:  # title and parameters
                text.set(visible=False, in_layout=False)
            width, height = figure.get_size_inches()
            figure.set_size_inches(PRINT_WIDTH, PRINT_WIDTH * height / width)
            dpi = 300
            paths = list(dict.fromkeys([path, path.with_suffix(".pdf")]))
        for one in paths:
            figure.savefig(one, dpi=dpi, metadata={"CreationDate": None} if one.suffix == ".pdf" else None)
        return paths

    def _settings(self) -> dict[Any, Any]:
        from cycler import cycler

        size, paper, ink = LETTERS[self.size], PAPERS[self.style], CYCLES[self.style][2]
        inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
        return {
            **COMMON,
            **dict.fromkeys(inked, ink),
            **dict.fromkeys(("figure.facecolor", "axes.facecolor"), paper),
            "axes.prop_cycle": cycler(color=CYCLES[self.style]),
            "font.size": size,
            "axes.titlesize": size,
            "axes.labelsize": size * 13 / 12,
            "legend.fontsize": size * 11 / 12,
            "lines.linewidth": 0.15 * size,
        }


LIGHT = Look()


def points(size: float) -> float:
    """A size of letters, given for a screen, as it is in the style in force."""
    import matplotlib

    return size * float(matplotlib.rcParams["font.size"]) / LETTERS["screen"]


def on_dark() -> bool:
    """Whether the style in force has a dark ground."""
    import matplotlib
    from matplotlib.colors import to_rgb

    return sum(to_rgb(matplotlib.rcParams["figure.facecolor"])) < 1.5


def shades(count: int) -> NDArray[Any]:
    """Colours (count, 4) of as many times, the last one farthest from the ground."""
    import matplotlib

    ends = (0.25, 1.0) if on_dark() else (0.92, 0.0)
    return np.asarray(matplotlib.colormaps["viridis"](np.linspace(*ends, count)))


def diverging() -> Colormap:
    """The colours of an order field in the style in force, those of the ground where it is zero."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("order", DIVERGING_DARK if on_dark() else DIVERGING)


def page(title: str, caption: str, width: float, height: float) -> Figure:
    """An empty page [inch] with a title above and a line in grey below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    made.suptitle(title, fontsize=points(15), color=INK)
    if caption:
        made.supxlabel(caption, fontsize=points(10), color=GREY)
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
