"""Frames of a run, read one at a time: what lies on the sites of each replica, and the order field that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from latticemd.models.model import Model, Motion
from latticemd.output.trajectory import Trajectory
from latticemd.ramps import Ramp
from latticemd.state import Array
from latticemd.system import model_at


@dataclass(frozen=True)
class Frames:
    """Frames 0 ... F - 1 of an open trajectory, of its first `most` replicas or of all.

    Nothing is kept: a frame is read when it is asked for, O(R N) memory, so that a trajectory may be larger than memory.
    """

    trajectory: Trajectory
    model: Model
    ramps: Mapping[str, Ramp] = field(default_factory=dict)
    most: int | None = None

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def groups(self) -> list[str]:
        """The particle groups of the replicas, in the order of their numbers."""
        found = {path.rsplit("/", 1)[0] for path in self.trajectory.elements() if path.startswith("particles/")}
        groups = {group.removesuffix("/box") for group in found}
        return sorted(groups, key=lambda group: (len(group), group))[: self.most]

    @cached_property
    def time(self) -> Array:
        """Times (F,) of the frames [time]; empty where frames hold neither x nor density."""
        return self.trajectory.times(self._element) if self._element else np.zeros(0)

    @cached_property
    def steps(self) -> Array:
        """Steps (F,) of the frames."""
        return self.trajectory.steps(self._element) if self._element else np.zeros(0, np.int64)

    def has(self, name: str) -> bool:
        """Whether frames hold the element `name`, such as displacement or density."""
        return bool(self.groups) and f"{self.groups[0]}/{name}" in self.trajectory.elements()

    def model_at(self, frame: int) -> Model:
        """The model with its ramped parameters at their values for the step of a frame."""
        return model_at(self.model, self.ramps, int(self.steps[frame]))

    def displacement(self, frame: int) -> Array:
        """x (R, N, D); nan where frames do not hold it."""
        return self._values("displacement", frame, self.model.components)

    def density(self, frame: int) -> Array:
        """Electrons per site (R, N); nan where frames do not hold it."""
        return self._values("density", frame, 1)[..., 0]

    def order_field(self, frame: int) -> Array:
        """The local order parameter (R, N) of the model, or what stands in for it (`stand_in`); nan where there is neither."""
        x = self.displacement(frame)
        if self.stand_in:
            return x[..., 0] * self.model.lattice.staggered
        return self.model.order_field(x, self.density(frame))

    @cached_property
    def ordered(self) -> bool:
        """Whether `order_field` is known."""
        return len(self) > 0 and (self.stand_in or self._own_order_known)

    @cached_property
    def stand_in(self) -> bool:
        """Whether (-1)^i x_i is shown in place of an order field, because that needs a density which frames do not hold."""
        return self.model.components == 1 and self.has("displacement") and len(self) > 0 and not self._own_order_known

    @property
    def label(self) -> str:
        """The order field as LaTeX without dollars."""
        return rf"{self.model.symbol}_i\,(-1)^i" if self.stand_in else self.model.order_symbol

    @property
    def unit(self) -> str:
        """The dimension of the order field."""
        return "length" if self.stand_in and self.model.motion is Motion.DISPLACEMENT else "1"

    @cached_property
    def _own_order_known(self) -> bool:
        return not np.isnan(self.model.order_field(self.displacement(0), self.density(0))).any()

    @property
    def _element(self) -> str:
        """An element whose rows are the frames."""
        return next((f"{self.groups[0]}/{name}" for name in ("displacement", "density") if self.has(name)), "")

    def _values(self, name: str, frame: int, components: int) -> Array:
        shape = (len(self.groups), self.model.lattice.sites, components)
        if not self.has(name):
            return np.full(shape, np.nan)
        return np.stack([self.trajectory.value(f"{group}/{name}")[frame] for group in self.groups]).reshape(shape)
