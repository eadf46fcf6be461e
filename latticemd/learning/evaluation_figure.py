"""The figure of an evaluation: predicted against exact force, and where the errors are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latticemd.figures.style import BLUE, GREY, INK, LIGHT, ORANGE, page, points
from latticemd.learning.evaluation import Part, Sample, SetErrors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_BINS, MOST_BINS = 40, 160


def draw_evaluation(path: Path, title: str, sets: Sequence[tuple[SetErrors, Sequence[Sample]]]) -> Path:
    """One row per set: density of (exact, predicted) pairs, error by neighbours on the same side, and by step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with LIGHT.applied():
        made = page(title, "", 13.0, 4.4 * len(sets) + 0.5)
        rows = made.subplots(len(sets), 3, squeeze=False)
        for axes, (errors, samples) in zip(rows, sets, strict=True):
            _draw_parity(axes[0], errors, samples)
            _draw_parts(axes[1], errors.parts["same-side neighbours"], "neighbours on the same side")
            stages = errors.parts.get("step")
            _draw_parts(axes[2], stages or errors.parts["|x|"], "step" if stages else "$|x|$")
        return LIGHT.save(made, path)[0]


def _draw_parity(axis: Axes, errors: SetErrors, samples: Sequence[Sample]) -> None:
    """Each pixel counts sites, in the logarithm, so that a single one far from the diagonal is seen."""
    from matplotlib.colors import LogNorm

    exact = np.concatenate([s.trajectory.force.ravel() for s in samples])
    predicted = np.concatenate([s.predicted.ravel() for s in samples])
    reach = float(max(np.abs(exact).max(), np.abs(predicted).max())) or 1.0
    bins = int(np.clip(np.sqrt(exact.size), FEWEST_BINS, MOST_BINS))
    count, edges, _ = np.histogram2d(exact, predicted, bins, [[-reach, reach]] * 2)
    norm = LogNorm(1.0, max(10.0, float(count.max())))
    image = axis.pcolormesh(
        edges, edges, np.where(count > 0, count, np.nan).T, norm=norm, cmap="cividis", rasterized=True
    )
    axis.axline((0, 0), slope=1, color=ORANGE, lw=0.8)
    axis.figure.colorbar(image, ax=axis, label="sites", aspect=25, shrink=0.9).outline.set_visible(False)
    axis.set(xlabel="exact force", ylabel="predicted force", aspect="equal")
    axis.set_title(f"{errors.name}:  rms error {errors.rmse:.2e},  relative {errors.relative:.2e}", fontsize=points(11))


def _draw_parts(axis: Axes, parts: Sequence[Part], label: str) -> None:
    place = np.arange(len(parts))
    axis.bar(place, [part.rmse for part in parts], color=BLUE, width=0.65)
    for here, part in zip(place, parts, strict=True):
        axis.annotate(f"{part.count}", (here, part.rmse), (0, 3), textcoords="offset points", ha="center", color=GREY,
                      fontsize=points(9))  # fmt: skip
    axis.set_xticks(place, [part.title for part in parts], rotation=30 if len(parts) > 5 else 0, fontsize=points(10))
    axis.set(xlabel=label, ylabel="rms error of the force")
    axis.title.set_color(INK)
