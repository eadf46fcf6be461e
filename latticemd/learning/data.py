"""From datasets to what a network is trained on and judged by: whole trajectories, apart from each other."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latticemd.config.train_input import DataInput, ValidationShare
from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.learning.dataset import LabelledTrajectory, read_dataset
from latticemd.learning.networks import Bound, Referenced
from latticemd.models.model import Model
from latticemd.parallel.comm import Alone

if TYPE_CHECKING:
    import torch

Batch = tuple[int, Array]  # which group, and which of its states


@dataclass(frozen=True)
class Split:
    """Trajectories to learn from, to validate by, and to be tested with, by the name of the set."""

    train: list[LabelledTrajectory]
    validation: list[LabelledTrajectory]
    tests: Mapping[str, list[LabelledTrajectory]]

    @property
    def sets(self) -> dict[str, list[LabelledTrajectory]]:
        """All of them by name."""
        return {"train": self.train, "validation": self.validation, **self.tests}


def load_split(data: DataInput) -> Split:
    """Read the datasets of a training. Raises InputError where two sets share a trajectory or a state."""
    train = _read(data.train)
    if isinstance(data.validation, ValidationShare):
        train, validation = _shared_out(train, data.validation)
    else:
        validation = _read(data.validation)
    if data.states is not None:
        train = _drawn(train, data.states)
    split = Split(train, validation, {name: _read(files) for name, files in data.test.items()})
    for name, trajectories in split.sets.items():
        _require_one_kind(split.train[0], trajectories)
        if name != "train":
            _require_apart(split.train, trajectories, name)
    return split


def _read(files: Sequence[str]) -> list[LabelledTrajectory]:
    return [trajectory for file in files for trajectory in read_dataset(Path(file))]


def _shared_out(
    trajectories: list[LabelledTrajectory], share: ValidationShare
) -> tuple[list[LabelledTrajectory], list[LabelledTrajectory]]:
    """At least one trajectory on either side."""
    count = max(1, round(share.fraction * len(trajectories)))
    if count >= len(trajectories):
        raise InputError(
            f"data.validation: a share of {share.fraction:g} of {len(trajectories)} trajectories leaves none to learn from; "
            "label more trajectories, or give a file"
        )
    chosen = set(np.random.default_rng(share.seed).permutation(len(trajectories))[:count].tolist())
    kept = [trajectory for i, trajectory in enumerate(trajectories) if i not in chosen]
    return kept, [trajectory for i, trajectory in enumerate(trajectories) if i in chosen]


def _drawn(trajectories: list[LabelledTrajectory], states: int) -> list[LabelledTrajectory]:
    """So many states of all of them, in their order: the first of one fixed permutation, so that more states hold fewer."""
    owner = np.repeat(np.arange(len(trajectories)), [t.frames for t in trajectories])
    frame = np.concatenate([np.arange(t.frames) for t in trajectories])
    if states > len(owner):
        raise InputError(f"data.states: {states} of the {len(owner)} states that there are")
    chosen = np.sort(np.random.default_rng(0).permutation(len(owner))[:states])
    return [trajectories[i].frames_at(frame[chosen[owner[chosen] == i]]) for i in np.unique(owner[chosen])]


def _require_one_kind(first: LabelledTrajectory, trajectories: Sequence[LabelledTrajectory]) -> None:
    for trajectory in trajectories:
        for key in ("name", "components"):
            mine, its = (_kind(one)[key] for one in (first, trajectory))
            if mine != its:
                raise InputError(f"{trajectory.name}: model {key} {its}, but {first.name} has {mine}")
        one, other = first.model.lattice, trajectory.model.lattice
        if (one.type, one.custom, one.boundary) != (other.type, other.custom, other.boundary):
            raise InputError(
                f"{trajectory.name}: a {other.type} lattice with boundary {list(other.boundary)}, but {first.name} has a "
                f"{one.type} lattice with boundary {list(one.boundary)}; a network is for one kind of lattice"
            )


def _kind(trajectory: LabelledTrajectory) -> dict[str, str | int]:
    return {"name": trajectory.record["name"], "components": trajectory.x.shape[2]}


def _require_apart(train: Sequence[LabelledTrajectory], held_out: Sequence[LabelledTrajectory], name: str) -> None:
    """No state, and no piece of a trajectory, is on both sides: neighbours in time are too much alike to be a test."""
    states = {digest: trajectory.name for trajectory in train for digest in trajectory.frame_digests}
    wholes = {key: one.name for one in train if (key := _identity(one))}
    for trajectory in held_out:
        common = [states[digest] for digest in trajectory.frame_digests if digest in states]
        if common:
            raise InputError(
                f"data: {trajectory.name} ({name}) has {len(common)} states in common with {common[0]} (training); "
                "use other seeds"
            )
        if _identity(trajectory) in wholes:
            raise InputError(
                f"data: {trajectory.name} ({name}) is another piece of the trajectory {wholes[_identity(trajectory)]} "
                "(training); use other seeds"
            )


def _identity(trajectory: LabelledTrajectory) -> str:
    """Empty where a trajectory does not say what it is a piece of."""
    return str(trajectory.attributes.get("trajectory", ""))


@dataclass(frozen=True)
class Group:
    """All states of one model, as tensors: x, force (M, N, D), and the weight of each state in the loss (M,).

    `reference` is the part of the force that the network does not learn, where it has one and it is known, (M, N, D).
    """

    model: Model
    x: torch.Tensor
    force: torch.Tensor
    weight: torch.Tensor
    reference: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def taken(self, states: Any) -> Group:
        """Some of the states."""
        reference = None if self.reference is None else self.reference[states]
        return Group(self.model, self.x[states], self.force[states], self.weight[states], reference)


def groups_of(trajectories: Sequence[LabelledTrajectory], dtype: torch.dtype, weights: Sequence[float]) -> list[Group]:
    """States of the same model together, in their order; `weights` has one for each trajectory."""
    import torch

    members: dict[Model, list[int]] = {}
    for i, trajectory in enumerate(trajectories):
        members.setdefault(trajectory.model, []).append(i)
    groups = []
    for model, indices in members.items():
        x, force = (np.concatenate([getattr(trajectories[i], name) for i in indices]) for name in ("x", "force"))
        weight = np.concatenate([np.full(trajectories[i].frames, weights[i]) for i in indices])
        groups.append(Group(model, *(torch.as_tensor(values, dtype=dtype) for values in (x, force, weight))))
    return groups


def referenced(groups: Sequence[Group], bound: Bound, batch: int, world: Alone) -> list[Group]:
    """The groups with the references of a network that has them: what training would otherwise compute in every epoch.

    All ranks of a world compute some and get all.
    """
    import torch

    found = []
    for group in groups:
        module = bound.to(group.model)
        if isinstance(module, Referenced):
            reference = torch.zeros_like(group.force)
            with torch.no_grad():
                for part in slices_of_rank(len(group), batch, world):
                    reference[part] = module.reference(group.x[part])
            group = dataclasses.replace(group, reference=torch.from_numpy(world.summed(reference.numpy())))
        found.append(group)
    return found


def predicted(bound: Bound, group: Group) -> torch.Tensor:
    """The network's force for the states of a group, (M, N, D)."""
    module = bound.to(group.model)
    force: torch.Tensor = module(group.x) if group.reference is None else module(group.x, group.reference)
    return force


def mean_square(trajectories: Sequence[LabelledTrajectory]) -> float:
    """Of the electronic force over all states, each counting alike [energy^2/length^2]."""
    states = sum(trajectory.frames for trajectory in trajectories)
    return sum(float(np.mean(t.force**2)) * t.frames for t in trajectories) / states


def loss_weights(trajectories: Sequence[LabelledTrajectory], relative: str, scale: float) -> list[float]:
    """1 / the mean square of the force: `scale`, or for relative = trajectory that of each trajectory, no less than 1e-6 of it."""
    if relative == "all":
        return [1.0 / scale] * len(trajectories)
    return [1.0 / max(mean_square([trajectory]), 1e-6 * scale) for trajectory in trajectories]


def batches_of_epoch(sizes: Sequence[int], batch: int, seed: int, epoch: int) -> list[Batch]:
    """Every state of groups of these sizes once, in batches of one group each; a pure function of seed and epoch."""
    generator = np.random.default_rng([seed, epoch])
    batches: list[Batch] = []
    for group, size in enumerate(sizes):
        order = generator.permutation(size)
        batches += [(group, order[first : first + batch]) for first in range(0, size, batch)]
    return [batches[i] for i in generator.permutation(len(batches))]


def batches_per_epoch(sizes: Sequence[int], batch: int) -> int:
    """How many batches there are in an epoch."""
    return sum(-(-size // batch) for size in sizes)


def slices(size: int, batch: int) -> Iterator[slice]:
    """All of `size` states in order, at most `batch` at once."""
    for first in range(0, size, batch):
        yield slice(first, first + batch)


def slices_of_rank(size: int, batch: int, world: Alone) -> Iterator[slice]:
    """Those of `slices` that a rank takes, every K-th."""
    return itertools.islice(slices(size, batch), world.rank, None, world.size)
