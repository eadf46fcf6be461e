"""Errors of a committee against the number of states it has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latticemd.figures.style import BLUE, LIGHT, ORANGE, page, plain_ticks

if TYPE_CHECKING:
    from latticemd.learning.active import Row

COLOURS = {"uncertain": BLUE, "random": ORANGE}


def draw_active(path: Path, title: str, rows: Sequence[Row]) -> None:
    """One panel per set: the error of the mean force of each way to pick, and dashed its own estimate, the spread."""
    sets = list(dict.fromkeys(row.set for row in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    with LIGHT.applied():
        made = page(title, "", 1.2 + 3.4 * len(sets), 4.2)
        panels = made.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for panel, name in zip(panels, sets, strict=True):
            for policy, colour in COLOURS.items():
                # The first committee is common to all.
                own = [row for row in rows if row.set == name and (row.policy == policy or row.round == 0)]
                if policy not in {row.policy for row in own} and policy != "uncertain":
                    continue
                states = [row.states for row in own]
                panel.plot(states, [row.relative for row in own], color=colour, marker="o", label=f"{policy} states")
                panel.plot(states, [row.uncertainty for row in own], color=colour, ls="--", lw=1.0, label="spread")
            panel.set(yscale="log", xlabel="labelled states", title=name)
            plain_ticks(panel)
        panels[0].set(ylabel="relative error of the force")
        panels[0].legend()
        LIGHT.save(made, path)
