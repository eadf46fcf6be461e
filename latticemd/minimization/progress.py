"""MinimizationProgress: how far down a minimisation is."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from latticemd.backends import on_host
from latticemd.minimization import largest_force
from latticemd.reporters.meter import Meter
from latticemd.state import State

log = logging.getLogger("latticemd.run")


class MinimizationProgress:
    """Shows step, mean free energy per site and the largest force of all replicas.

    What counts are the decades of force between the start and the tolerance: the number of steps to come is not known, but
    the force falls roughly exponentially.
    """

    def __init__(self, force_tolerance: float, console: Any = None) -> None:
        self.force_tolerance = force_tolerance
        self._console = console
        self._meter: Meter | None = None  # made when the force is known from which it goes down

    def __call__(self, state: State) -> None:
        """Update the bar, or log a line when the last one is old enough."""
        force = float(largest_force(state).max())
        above = float(np.log10(max(force / self.force_tolerance, 1.0)))
        if self._meter is None:
            self._meter = Meter(log, "decade", above, self._console)
        assert self._meter.total is not None
        done = self._meter.total - above
        if self._meter.due(done):
            energy = on_host(state.potential).mean() / state.x.shape[1]
            self._meter.show(done, f"step {state.step}  energy/site {energy:+.8f}  max |F| {force:.2e}")

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._meter is not None:
            self._meter.close()
