"""Ramp: a number that is a pure function of the step, so that a resumed run follows the same protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ramp:
    """A piecewise linear or exponential protocol value(step).

    ============  ==============================================================================
    kind          value at step s
    ============  ==============================================================================
    piecewise     linear between `points` (step, value), constant outside them
    exponential   last + (first - last) exp(-(s - start)/time_constant) for s > start, else first
    ============  ==============================================================================

    `Ramp.constant(v)` and `Ramp.linear(...)` are piecewise ramps of one and two points.
    """

    points: tuple[tuple[int, float], ...] = ()
    exponential: tuple[float, float, int, float] | None = None  # first, last, start, time constant in steps

    @classmethod
    def constant(cls, value: float) -> Ramp:
        """The same value at every step."""
        return cls(((0, float(value)),))

    @classmethod
    def linear(cls, first: float, last: float, start: int, end: int) -> Ramp:
        """From `first` at step `start` to `last` at step `end`. Raises ValueError unless end > start."""
        if end <= start:
            raise ValueError(f"a linear ramp must end after it starts: start {start}, end {end}")
        return cls(((start, float(first)), (end, float(last))))

    @property
    def is_constant(self) -> bool:
        """Whether the value never changes."""
        return self.exponential is None and len({value for _, value in self.points}) == 1

    def __call__(self, step: int) -> float:
        """The value at a step."""
        if self.exponential is not None:
            first, last, start, time_constant = self.exponential
            return last + (first - last) * math.exp(-max(step - start, 0) / time_constant)
        if len(self.points) == 1:
            return self.points[0][1]
        steps, values = zip(*self.points, strict=True)
        return float(np.interp(step, steps, values))
