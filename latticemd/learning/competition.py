"""A network beside the force fields that need no training: error and speed on the same states, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array, Electrons, ForceField, require_interactions
from latticemd.learning.dataset import LabelledTrajectory
from latticemd.learning.evaluation import Evaluator
from latticemd.models.model import Model
from latticemd.plugins import load_plugin

Force = Callable[[Array], Array]  # x (1, N, D) -> electronic force (1, N, D)

STATES = 4  # on which errors are measured
ROUNDS = 5  # of timings


@dataclass(frozen=True)
class Contestant:
    """One way to the electronic force: rms error [energy/length], relative to the rms force, and sites per second."""

    name: str
    settings: Mapping[str, Any]
    rmse: float = float("nan")
    relative: float = float("nan")
    sites_per_second: float = float("nan")
    note: str = ""

    @property
    def title(self) -> str:
        """The name and the settings in one line."""
        return f"{self.name}  {', '.join(f'{key} {value}' for key, value in self.settings.items())}".rstrip()


def compete(
    evaluator: Evaluator, trajectories: Sequence[LabelledTrajectory], against: Sequence[str]
) -> list[Contestant]:
    """The network and every setting on the `ladder` of the force fields named, on a few states of the first model.

    Timings go around ROUNDS times, everyone in turn on the same state, and medians count. The network is timed as a bare
    module. Raises InputError for an unknown name; what does not serve the model says why.
    """
    model, states, forces = _sample(trajectories)
    ways: list[tuple[Contestant, Force | None]] = [
        (Contestant(evaluator.card.network["name"], {}), lambda x: evaluator.forces(model, x))
    ]
    for name in against:
        ladder: Sequence[Mapping[str, Any]] = getattr(load_plugin("forcefield", name), "ladder", ()) or ({},)
        ways += [_admitted(Contestant(name, dict(settings)), model, states[:1]) for settings in ladder]
    seconds = iter(_timed([force for _, force in ways if force is not None], states[:1]))
    return [
        contestant if force is None else _judged(contestant, force, states, forces, next(seconds))
        for contestant, force in ways
    ]


def _admitted(contestant: Contestant, model: Model, x: Array) -> tuple[Contestant, Force | None]:
    """A force field that has answered once, or the reason why it doesn't serve the model."""
    electrons = Electrons.empty(1, model)

    def force(x: Array) -> Array:
        forcefield.evaluate(model, x, 0, electrons)
        return electrons.force.copy()

    try:
        forcefield: ForceField = load_plugin("forcefield", contestant.name)(**contestant.settings)
        require_interactions(forcefield, model)
        forcefield.prepare(model, 1)
        force(x)
    except (InputError, ArithmeticError) as error:
        return replace(contestant, note=str(error)), None
    return contestant, force


def _judged(contestant: Contestant, force: Force, states: Array, exact: Array, seconds: float) -> Contestant:
    """With its errors on all states and its speed on one."""
    found = np.concatenate([force(state[None]) for state in states])
    rmse = float(np.sqrt(np.mean((found - exact) ** 2)))
    relative = rmse / float(np.sqrt(np.mean(exact**2)))
    return replace(contestant, rmse=rmse, relative=relative, sites_per_second=states.shape[1] / seconds)


def _sample(trajectories: Sequence[LabelledTrajectory]) -> tuple[Model, Array, Array]:
    """A few states of the first model, evenly over all its trajectories: x and exact forces (S, N, D)."""
    model = trajectories[0].model
    mine = [trajectory for trajectory in trajectories if trajectory.model == model]
    x, force = (np.concatenate([getattr(one, name) for one in mine]) for name in ("x", "force"))
    chosen = np.unique(np.linspace(0, len(x) - 1, STATES).round().astype(int))
    return model, x[chosen], force[chosen]


def _timed(calls: Sequence[Force], x: Array) -> list[float]:
    """Median seconds of each call after a first one that compiles and fills caches."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call(x)
    for _ in range(ROUNDS):
        for each, call in zip(times, calls, strict=True):
            started = time.perf_counter()
            call(x)
            each.append(time.perf_counter() - started)
    return [statistics.median(each) for each in times]
