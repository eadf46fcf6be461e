"""ProgressReporter: how far, how fast, how long still; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

from latticemd.schedules import When
from latticemd.simulation import Frame

log = logging.getLogger("latticemd.run")

_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class ProgressReporter:
    """Shows step, steps per second, time left, free energy per site and wall fraction of the first replica.

    Looks at every step so that the bar moves, but only computes the physics when a line is due.
    """

    total: int
    console: Any = None  # a rich Console on a terminal, None for plain lines
    when: When = field(default_factory=lambda: When(every=1))
    _started: float = 0.0
    _first_step: int = -1
    _shown: float = 0.0
    _bar: Any = None
    _task: Any = None

    def report(self, frame: Frame) -> None:
        """Update the bar, or log a line when the last one is old enough."""
        now = time.perf_counter()
        if self._first_step < 0:
            self._first_step, self._started = frame.step, now
            self._begin(frame.step)
        patience = 0.2 if self._bar is not None else _SECONDS_BETWEEN_LINES
        # The physics is a matter of all ranks, and clocks differ: the first one's counts.
        if frame.share.world.told(now - self._shown < patience and frame.step < self.total):
            return
        self._shown = now
        physics = self._physics(frame)
        if frame.share.world.rank:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=frame.step, physics=physics)
            return
        speed = (frame.step - self._first_step) / max(now - self._started, 1e-9)
        left = f"{(self.total - frame.step) / speed:.0f} s left" if speed else "time left unknown"
        log.info("step %d/%d  %.3g steps/s  %s  %s", frame.step, self.total, speed, left, physics)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _begin(self, step: int) -> None:
        if self.console is None:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from latticemd.reporters._speed import SpeedColumn

        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[physics]}"),
            console=self.console,
        )
        self._task = self._bar.add_task("run", total=self.total, completed=step, physics="")
        self._bar.start()

    def _physics(self, frame: Frame) -> str:
        energy = frame.free_energy[0] / frame.share.whole.sites
        if not frame.model.electronic:
            return f"energy/particle {energy:+.5f}"
        walls = frame.wall_fraction[0]
        known = f"energy/site {energy:+.5f}  " if math.isfinite(energy) else ""  # some forces are no gradients
        return f"{known}walls {walls:.3f}"
