"""Meter: how far, how fast, how long still; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_BARS = 0.2


@dataclass
class Meter:
    """Counts `unit`s up to `total`, which is unknown for what ends by the clock.

    What it shows beside them may be dear, so it is asked first whether anything is `due`: at the first and last count, and as
    often between them as people look.
    """

    log: logging.Logger
    unit: str
    total: float | None
    console: Any = None  # a rich Console on a terminal, None for plain lines
    _first: float | None = None
    _started: float = 0.0
    _shown: float = 0.0
    _bar: Any = None
    _task: Any = None

    def __call__(self, done: float, words: str = "") -> None:
        """Show this, if it is due."""
        if self.due(done):
            self.show(done, words)

    def due(self, done: float) -> bool:
        """Whether it is time to show something."""
        now = time.perf_counter()
        patience = _SECONDS_BETWEEN_LINES if self.console is None else _SECONDS_BETWEEN_BARS
        if self._first is None:
            self._first, self._started = done, now
        elif now - self._shown < patience and done != self.total:
            return False
        self._shown = now
        return True

    def show(self, done: float, words: str) -> None:
        """Update the bar, or log a line."""
        assert self._first is not None, "whoever shows something has asked whether it is due"
        if self.console is not None:
            if self._bar is None:
                self._begin()
            self._bar.update(self._task, completed=done, words=words)
            return
        speed = (done - self._first) / max(time.perf_counter() - self._started, 1e-9)
        left = f"  {(self.total - done) / speed:.0f} s left" if speed > 0.0 and self.total is not None else ""
        of = f"/{round(self.total, 1)}" if self.total is not None else ""
        self.log.info("%s %s%s  %.3g %ss/s%s  %s", self.unit, round(done, 1), of, speed, self.unit, left, words)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _begin(self) -> None:
        # rich is imported only for a bar
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from latticemd.reporters._speed import SpeedColumn

        self._bar = Progress(
            TextColumn(self.unit), MofNCompleteColumn(), BarColumn(), SpeedColumn(self.unit), TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"), console=self.console,
        )  # fmt: skip
        self._task = self._bar.add_task(self.unit, total=self.total, completed=self._first, words="")
        self._bar.start()
