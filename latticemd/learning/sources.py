"""States to be labelled that come from a file: where they are from, and of which trajectory they are a piece."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from latticemd.config import RunInput, stored_input
from latticemd.errors import InputError, OutputError
from latticemd.forcefield import Array
from latticemd.models.model import Model
from latticemd.output.h5md import Trajectory
from latticemd.output.states import StoredState, read_states


@dataclass(frozen=True, eq=False)
class Source:
    """States x (S, N, D) of one replica at `steps` (S,).

    `trajectory` says of which trajectory they are a piece: the same word as for labels along that trajectory. `seed` is that of its
    start, -1 where the file does not say.
    """

    x: Array
    steps: tuple[int, ...]
    trajectory: str
    seed: int

    @cached_property
    def digest(self) -> str:
        """sha256 of the positions."""
        return hashlib.sha256(np.ascontiguousarray(self.x, dtype="<f8").tobytes()).hexdigest()


def identity(kind: str, run: RunInput, replica: int = 0) -> str:
    """sha256 of what makes a trajectory, however long it is, wherever it goes and whoever solves the electrons."""
    block = run.model_dump(mode="json", by_alias=True, serialize_as_any=True)
    dynamics = {key: value for key, value in block["dynamics"].items() if key != "steps"}
    parts = [kind, block["lattice"], block["model"], block["initial"], dynamics] + [replica] * (replica > 0)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_sources(path: Path, at: Sequence[int] | None, model: Model, name: str) -> list[Source]:
    """The states of a trajectory, each replica apart; only those at some steps, if given.

    Raises InputError where the file is no trajectory, has another lattice or model, or has no such states.
    """
    if not path.is_file():
        raise InputError(f"label.states: {path}: no such file")
    try:
        states = read_states(path)
        with Trajectory(path) as trajectory:
            about = trajectory.attributes
    except (OutputError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"label.states: {path}: cannot be read as states of a run: {error}") from error
    _require_fit(path, states, about, model, name)
    run = stored_input(about["input"], path) if "input" in about else None
    chosen = [state for state in states if at is None or state.step in at]
    if not chosen:
        raise InputError(f"label.states: {path}: has {len(states)} states, none of them at the steps under label.at")
    groups = [list(members) for _, members in itertools.groupby(chosen, key=lambda state: state.group)]
    return [_source(members, run) for members in groups]


def _source(states: list[StoredState], run: RunInput | None) -> Source:
    x, steps = np.stack([state.x for state in states]), tuple(state.step for state in states)
    if run is None:
        digest = hashlib.sha256(np.ascontiguousarray(x, dtype="<f8").tobytes()).hexdigest()
        return Source(x, steps, digest, -1)
    word = states[0].group.rpartition("_")[2]
    return Source(
        x, steps, identity("dynamics", run, int(word) if word.isdigit() else run.replicas.first), run.initial.seed
    )


def _require_fit(path: Path, states: list[StoredState], about: dict[str, str], model: Model, name: str) -> None:
    if not states:
        raise InputError(f"label.states: {path}: holds no displacements; add displacement to output.fields of its run")
    lattice, its = (json.loads(about[key]) if key in about else None for key in ("lattice", "model"))
    if lattice is not None and lattice != json.loads(json.dumps(model.lattice.to_dict())):
        raise InputError(
            f"label.states: {path}: is on the lattice {lattice}, but the input has {model.lattice.to_dict()}"
        )
    if its is not None and its["name"] != name:
        raise InputError(f"label.states: {path}: is of the model {its['name']}, but the input has {name}")
    wanted = (model.lattice.sites, model.components)
    if states[0].x.shape != wanted:
        raise InputError(f"label.states: {path}: states have shape {states[0].x.shape}, expected {wanted}")
