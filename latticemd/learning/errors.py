"""Errors of a network's force on labelled states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latticemd.forcefield import Array
from latticemd.learning.data import Group, predicted, slices_of_rank
from latticemd.learning.networks import Bound
from latticemd.parallel.comm import Alone

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ForceErrors:
    """Mean squares per state, means over sites and components; `weight` is that of the loss, all (M,).

    Root mean squares are over all states, each counting alike.
    """

    squared_error: Array
    squared_force: Array
    weight: Array

    @property
    def states(self) -> int:
        """M."""
        return len(self.squared_error)

    @property
    def loss(self) -> float:
        """The weighted mean of the squared error."""
        return float(np.mean(self.weight * self.squared_error))

    @property
    def rmse(self) -> float:
        """Root mean square error [energy/length]."""
        return float(np.sqrt(self.squared_error.mean()))

    @property
    def relative(self) -> float:
        """The same over the rms of the force; infinite where that vanishes."""
        rms = float(np.sqrt(self.squared_force.mean()))
        return self.rmse / rms if rms > 0.0 else float("inf")

    def summary(self) -> dict[str, float | int]:
        """What is worth keeping."""
        return {"states": self.states, "rmse": self.rmse, "relative": self.relative}


def force_errors(bound: Bound, groups: Sequence[Group], batch: int, world: Alone | None = None) -> ForceErrors:
    """Compare the forces of all states; differences are taken and averaged in float64.

    All ranks of a world compute some and get all.
    """
    import torch

    world = world or Alone()
    bound.train(False)
    errors, forces, weights = [], [], []
    for group in groups:
        squares = np.zeros(len(group))
        for part in slices_of_rank(len(group), batch, world):
            states = group.taken(part)
            with torch.no_grad():
                found = predicted(bound, states)
            squares[part] = _per_state((found.double() - states.force.double()) ** 2)
        errors.append(world.summed(squares))
        forces.append(_per_state(group.force.double() ** 2))
        weights.append(group.weight.double().numpy())
    return ForceErrors(*(np.concatenate(parts) for parts in (errors, forces, weights)))


def _per_state(values: torch.Tensor) -> Array:
    mean: Array = values.mean(dim=(1, 2)).numpy()
    return mean
