"""How far, how fast, how long still: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("latticemd.learning")

_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Progress:
    """Counts `unit`s up to `total`, which is unknown for what ends by the clock."""

    unit: str
    total: int | None
    console: Any = None  # a rich Console on a terminal, None for plain lines
    first: int = 0
    _started: float = 0.0
    _shown: float = -1e9
    _bar: Any = None
    _task: Any = None

    def __call__(self, done: int, words: str = "") -> None:
        """Update the bar, or log a line when the last one is old enough."""
        now = time.perf_counter()
        if self._shown < 0:
            self._started, self.first = now, done
            self._begin()
        patience = 0.2 if self._bar is not None else _SECONDS_BETWEEN_LINES
        if now - self._shown < patience and done != self.total:
            return
        self._shown = now
        if self._bar is not None:
            self._bar.update(self._task, completed=done, words=words)
            return
        speed = (done - self.first) / max(now - self._started, 1e-9)
        left = f"  {(self.total - done) / speed:.0f} s left" if speed and self.total is not None else ""
        of = f"/{self.total}" if self.total is not None else ""
        log.info("%s %d%s  %.3g %ss/s%s  %s", self.unit, done, of, speed, self.unit, left, words)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def _begin(self) -> None:
        if self.console is None:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from latticemd.reporters._speed import SpeedColumn

        self._bar = Progress(
            TextColumn(self.unit), MofNCompleteColumn(), BarColumn(), SpeedColumn(self.unit), TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"), console=self.console,
        )  # fmt: skip
        self._task = self._bar.add_task(self.unit, total=self.total, completed=self.first, words="")
        self._bar.start()
