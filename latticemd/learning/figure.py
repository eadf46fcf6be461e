"""The learning curve of a training, from what is in its directory: relative errors against steps."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from latticemd.errors import InputError
from latticemd.figures.style import BLUE, GREY, INK, LIGHT, ORANGE, Look, page, plain_ticks


def draw_training(directory: Path, look: Look = LIGHT) -> Path:
    """Draw DIR/figures/learning_curve.png from DIR/history.csv and return its path; also while the training is under way.

    Shown are the square root of the loss, which is a relative error, on both sets, and the learning rate below. Raises
    InputError where nothing has been validated yet.
    """
    path = directory / "figures" / "learning_curve.png"
    history = _read_history(directory / "history.csv")
    about = yaml.safe_load((directory / "train.yaml").read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with look.applied():
        made = page(about.get("title") or about["network"]["name"], "", 7.2, 5.6)
        above, below = made.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        step = history["step"]
        marker: Any = "o" if len(step) == 1 else ""
        for key, colour, label in (("train_loss", GREY, "training"), ("validation_loss", BLUE, "validation")):
            above.plot(step, np.sqrt(history[key]), color=colour, label=label, marker=marker)
        best = step[np.nanargmin(history["validation_loss"])]
        above.axvline(best, color=ORANGE, lw=1.2, ls="--", label="kept")
        above.set(yscale="log", xlim=(0, None), ylabel="relative error of the force")
        above.legend()
        plain_ticks(above)
        below.plot(step, history["learning_rate"], color=INK, marker=marker)
        below.set(xlabel="step", ylabel="learning rate")
        below.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        return look.save(made, path)[0]


def _read_history(path: Path) -> dict[str, Any]:
    """Columns by name."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: the training has not been validated yet")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
