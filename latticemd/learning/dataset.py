"""Datasets of exact electronic forces: one HDF5 file, whole trajectories kept apart.

    /                     attributes: format, version, revision, created, command, input
    /trajectories/00000   x, force (S, N, D), energy, step (S,), density (S, N); attributes of this trajectory

A file is only ever seen complete. Whoever reads it gets arrays; what the sites are is up to the model of the trajectory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.learning.records import Record, model_of
from latticemd.models.model import Model
from latticemd.output.directory import replace_atomically

KIND, FORMAT = "latticemd dataset", 1
ARRAYS = ("x", "force", "energy", "density", "step")

Value = str | int | float


@dataclass(frozen=True)
class LabelledTrajectory:
    """S states of one trajectory and what the electrons do there.

    ==========  ==========  =============================================================================
    field       shape       meaning
    ==========  ==========  =============================================================================
    x           (S, N, D)   classical variables [length]
    force       (S, N, D)   electronic force [energy/length]
    energy      (S,)        electronic free energy [energy]; NaN where the force field does not know it
    density     (S, N)      electrons per site [1]; NaN likewise
    step        (S,)        steps since the start
    record                  the model: name, parameters, lattice
    attributes              by name: kind (dynamics or random), seed, temperature, input, every varied key
    ==========  ==========  =============================================================================
    """

    x: Array
    force: Array
    energy: Array
    density: Array
    step: Array
    record: Record
    attributes: Mapping[str, Value] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.force.shape != self.x.shape or len(self.step) != len(self.x):
            shapes = f"x {self.x.shape}, force {self.force.shape}, step {self.step.shape}"
            raise InputError(f"{self.name}: expected x and force (S, N, D) and step (S,), got {shapes}")

    @property
    def frames(self) -> int:
        """S."""
        return len(self.x)

    def frames_at(self, indices: Array) -> LabelledTrajectory:
        """Some of the frames."""
        return replace(self, **{name: getattr(self, name)[indices] for name in ARRAYS})

    @cached_property
    def model(self) -> Model:
        """The model whose electrons these are."""
        return model_of(self.record)

    @cached_property
    def frame_digests(self) -> list[str]:
        """sha256 of model and positions of each frame: two trajectories with a digest in common share a state."""
        model = json.dumps(self.record, sort_keys=True).encode()
        return [hashlib.sha256(model + np.ascontiguousarray(x, dtype="<f8").tobytes()).hexdigest() for x in self.x]

    @cached_property
    def digest(self) -> str:
        """sha256 of positions, forces and steps."""
        sha = hashlib.sha256(f"{self.x.shape}".encode())
        for values, kind in ((self.x, "<f8"), (self.force, "<f8"), (self.step, "<i8")):
            sha.update(np.ascontiguousarray(values, dtype=kind).tobytes())
        return sha.hexdigest()


def digest_of(trajectories: Iterable[LabelledTrajectory]) -> str:
    """sha256 of a set of trajectories, in their order."""
    sha = hashlib.sha256()
    for trajectory in trajectories:
        sha.update(trajectory.digest.encode())
    return sha.hexdigest()


def write_dataset(path: Path, trajectories: Iterable[LabelledTrajectory], provenance: Mapping[str, Value]) -> None:
    """Write a dataset, complete or not at all; trajectories are taken one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as temporary, h5py.File(temporary, "w", libver="v110") as file:
        file.attrs.update({"kind": KIND, "format": FORMAT, **provenance})
        folder = file.create_group("trajectories")
        for number, trajectory in enumerate(trajectories):
            group = folder.create_group(f"{number:05d}")
            for name in ARRAYS:
                group.create_dataset(name, data=getattr(trajectory, name), track_times=False)
            group.attrs.update({"model": json.dumps(trajectory.record), **trajectory.attributes})


def read_dataset(path: Path) -> list[LabelledTrajectory]:
    """All trajectories of a dataset, in memory. Raises InputError if the file is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `latticemd label` writes datasets")
    try:
        with h5py.File(path, "r") as file:
            _require_dataset(file, path)
            trajectories = [_trajectory(group, f"{path}:{name}") for name, group in file["trajectories"].items()]
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as a dataset: {error}") from error
    if not trajectories:
        raise InputError(f"{path}: holds no trajectories")
    return trajectories


def read_provenance(path: Path) -> dict[str, Value]:
    """What a dataset says about how it was made."""
    with h5py.File(path, "r") as file:
        _require_dataset(file, path)
        return {name: _plain(value) for name, value in file.attrs.items()}


def _require_dataset(file: h5py.File, path: Path) -> None:
    if file.attrs.get("kind") != KIND:
        raise InputError(f"{path}: an HDF5 file, but not a dataset; `latticemd label` writes datasets")
    if file.attrs["format"] > FORMAT:
        raise InputError(
            f"{path}: has format {file.attrs['format']}, and this version of latticemd reads formats up to {FORMAT}"
        )


def _trajectory(group: h5py.Group, name: str) -> LabelledTrajectory:
    attributes = {key: _plain(value) for key, value in group.attrs.items()}
    record = json.loads(str(attributes.pop("model")))
    arrays: dict[str, Any] = {key: group[key][()] for key in ARRAYS}
    return LabelledTrajectory(**arrays, record=record, attributes=attributes, name=name)


def _plain(value: Any) -> Value:
    return value.item() if isinstance(value, np.generic) else value
