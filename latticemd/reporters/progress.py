"""ProgressReporter: how far a run is, with a glance at its physics."""

from __future__ import annotations

import logging
import math
from typing import Any

from latticemd.reporters.meter import Meter
from latticemd.schedules import When
from latticemd.simulation import Frame

log = logging.getLogger("latticemd.run")


class ProgressReporter:
    """Shows step, steps per second, time left, free energy per site and wall fraction of the first replica.

    Looks at every step so that the bar moves, but only computes the physics when a line is due.
    """

    def __init__(self, total: int, console: Any = None) -> None:
        self.when = When(every=1)
        self._meter = Meter(log, "step", total, console)

    def report(self, frame: Frame) -> None:
        """Update the bar, or log a line when the last one is old enough."""
        world = frame.share.world
        if not world.told(self._meter.due(frame.step)):  # the physics is a matter of all ranks, and clocks differ
            return
        physics = self._physics(frame)
        if world.rank == 0:
            self._meter.show(frame.step, physics)

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._meter.close()

    def _physics(self, frame: Frame) -> str:
        energy = frame.free_energy[0] / frame.share.whole.sites
        if not frame.model.electronic:
            return f"energy/particle {energy:+.5f}"
        walls = frame.wall_fraction[0]
        known = f"energy/site {energy:+.5f}  " if math.isfinite(energy) else ""  # some forces are no gradients
        return f"{known}walls {walls:.3f}"
