"""MinimizationProgress: how far down, how fast; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticemd.backends import on_host
from latticemd.minimization import largest_force
from latticemd.state import State

log = logging.getLogger("latticemd.run")

_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class MinimizationProgress:
    """Shows step, steps per second, mean free energy per site and the largest force of all replicas.

    The bar counts the decades of force that are done of those between the start and the tolerance: the number of steps
    to come is not known, but the force falls roughly exponentially.
    """

    force_tolerance: float
    console: Any = None  # a rich Console on a terminal, None for plain lines
    _started: float = 0.0
    _first_force: float = 0.0
    _first_step: int = 0
    _shown: float = -1e9
    _bar: Any = None
    _task: Any = None

    def __call__(self, state: State) -> None:
        """Update the bar, or log a line when the last one is old enough."""
        now = time.perf_counter()
        force = float(largest_force(state).max())
        if self._shown < 0:
            self._started, self._first_step, self._first_force = now, state.step, max(force, self.force_tolerance)
            self._begin()
        patience = 0.2 if self._bar is not None else _SECONDS_BETWEEN_LINES
        if now - self._shown < patience and force > self.force_tolerance:
            return
        self._shown = now
        speed = (state.step - self._first_step) / max(now - self._started, 1e-9)
        energy = on_host(state.potential).mean() / state.x.shape[1]
        line = f"step {state.step}  {speed:.3g} steps/s  energy/site {energy:+.8f}  max |F| {force:.2e}"
        if self._bar is None:
            log.info("%s", line)
            return
        done = np.log10(self._first_force / max(force, self.force_tolerance))
        self._bar.update(self._task, completed=float(done), line=line)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _begin(self) -> None:
        if self.console is None:
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("minimize"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[line]}"),
            console=self.console,
        )  # fmt: skip
        decades = float(np.log10(self._first_force / self.force_tolerance))
        self._task = self._bar.add_task("minimize", total=max(decades, 1e-9), line="")
        self._bar.start()
