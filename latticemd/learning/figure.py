"""The learning curve: relative errors against steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticemd.figures.style import BLACK, BLUE, GREY, ORANGE, STYLE, page, plain_ticks

Row = dict[str, float | int]


def draw_learning_curve(path: Path, title: str, history: Sequence[Row], best_step: int) -> None:
    """The square root of the loss, which is a relative error, on both sets, and the learning rate below."""
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        made = page(title, "", 7.2, 5.6)
        above, below = made.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        step = np.array([row["step"] for row in history])
        marker: Any = "o" if len(step) == 1 else ""
        for key, colour, label in (("train_loss", GREY, "training"), ("validation_loss", BLUE, "validation")):
            above.plot(step, np.sqrt([row[key] for row in history]), color=colour, label=label, marker=marker)
        above.axvline(best_step, color=ORANGE, lw=1.2, ls="--", label="kept")
        above.set(yscale="log", xlim=(0, None), ylabel="relative error of the force")
        above.legend()
        plain_ticks(above)
        below.plot(step, [row["learning_rate"] for row in history], color=BLACK, marker=marker)
        below.set(xlabel="step", ylabel="learning rate")
        below.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        made.savefig(path)
