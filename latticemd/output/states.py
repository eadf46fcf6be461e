"""Single states of runs: read from any trajectory, and written as one, so that whatever reads trajectories reads them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticemd.output.directory import replace_atomically
from latticemd.output.h5md import Element, Trajectory, TrajectoryHeader, open_file, write_header, write_layout
from latticemd.state import Array

ELEMENTS = {"displacement": ("x", "length"), "uncertainty": ("uncertainty", "energy/length")}  # in the file, here, unit


@dataclass(frozen=True)
class StoredState:
    """Positions x (N, D) [length] at a step, and how uncertain the force of each site was (N,) [energy/length], if known.

    `group` is the particle group of the replica in the trajectory.
    """

    group: str
    step: int
    time: float
    x: Array
    uncertainty: Array | None = None

    @property
    def rms(self) -> float:
        """Root mean square over sites of the uncertainty [energy/length]; nan where it is not known."""
        return float("nan") if self.uncertainty is None else float(np.sqrt(np.mean(self.uncertainty**2)))


def write_states(path: Path, states: Sequence[StoredState], header: TrajectoryHeader) -> None:
    """Write states with their uncertainties, in the order of groups and steps, complete or not at all."""
    layout: dict[str, tuple[Element, int]] = {}
    columns: dict[str, tuple[list[StoredState], Array]] = {}
    for group, members in itertools.groupby(sorted(states, key=lambda s: (s.group, s.step)), key=lambda s: s.group):
        kept = list(members)
        for element, (name, unit) in ELEMENTS.items():
            if all(getattr(one, name) is not None for one in kept):
                values = np.stack([getattr(one, name) for one in kept])
                layout[f"{group}/{element}"] = (Element.of(values[0], unit, "time"), len(kept))
                columns[f"{group}/{element}"] = (kept, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as temporary, open_file(temporary) as file:
        write_layout(file, layout)
        for place, (kept, values) in columns.items():
            file[f"{place}/value"][...] = values
            file[f"{place}/step"][...] = [one.step for one in kept]
            file[f"{place}/time"][...] = [one.time for one in kept]
        write_header(file, header)


def read_states(path: Path) -> list[StoredState]:
    """All states of a trajectory in memory, group by group. Raises OutputError where the file is none."""
    with Trajectory(path) as trajectory:
        elements = trajectory.elements()
        groups = [name.removesuffix("/displacement") for name in elements if name.endswith("/displacement")]
        found = []
        for group in sorted(groups, key=lambda name: (len(name), name)):
            element, spread = f"{group}/displacement", f"{group}/uncertainty"
            x, steps, times = trajectory.value(element)[()], trajectory.steps(element), trajectory.times(element)
            known = (
                dict(zip(trajectory.steps(spread), trajectory.value(spread)[()], strict=True))
                if spread in elements
                else {}
            )
            rows = zip(steps, times, x, strict=True)
            found += [StoredState(group, int(step), float(time), one, known.get(step)) for step, time, one in rows]
    return found
