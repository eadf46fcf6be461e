"""What the errors of a network are on labelled states: by set, by temperature and stage, by local environment, at its worst."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.learning.data import slices
from latticemd.learning.dataset import LabelledTrajectory, read_dataset
from latticemd.learning.modelfile import Card, load_network, require_kind, warnings_outside
from latticemd.learning.networks import Bound
from latticemd.learning.records import model_of
from latticemd.models.model import Model

MOST_STAGES = 8  # rows of a table by steps or by other numbers
MOST_WORST = 10
BINS_OF_SIZE = 5  # of |x|, with equally many sites
AT_ONCE = 65536  # sites per call of the network


@dataclass(frozen=True)
class Part:
    """A part of the states or of the sites: how many, and the rms error there [energy/length], relative to the rms force there."""

    title: str
    count: int
    rmse: float
    relative: float


@dataclass(frozen=True)
class WorstSite:
    """One of the largest errors, with what is around: vectors as lists of components."""

    trajectory: str
    step: int
    site: int
    exact: list[float]
    predicted: list[float]
    error: float
    x: list[float]
    neighbours: list[list[float]]


@dataclass(frozen=True)
class SetErrors:
    """Errors on one set of trajectories.

    =============  ===========================================================================================
    field          meaning
    =============  ===========================================================================================
    rmse, mse      root mean square and mean square error of the electronic force [energy/length], [its square]
    relative       rmse over the rms of the force
    largest        largest error of a site [energy/length]
    rms_force      root mean square of the exact force [energy/length]
    parts          by what the parts differ in: temperature, step, |x|, neighbours on the same side ...
    worst          the sites with the largest errors
    warnings       what of the set lies outside the ranges that the network has seen
    =============  ===========================================================================================
    """

    name: str
    states: int
    sites: int
    rmse: float
    mse: float
    relative: float
    largest: float
    rms_force: float
    parts: dict[str, list[Part]]
    worst: list[WorstSite]
    warnings: list[str]


@dataclass(frozen=True)
class Sample:
    """A trajectory with the network's forces on it, (S, N, D) [energy/length]."""

    trajectory: LabelledTrajectory
    predicted: Array

    @property
    def squared_error(self) -> Array:
        """Per state and site, a mean over components (S, N)."""
        mean: Array = np.mean((self.predicted - self.trajectory.force) ** 2, axis=2)
        return mean

    @property
    def squared_force(self) -> Array:
        """Likewise of the exact force."""
        mean: Array = np.mean(self.trajectory.force**2, axis=2)
        return mean


class Evaluator:
    """A network from a file, to be asked about datasets."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.card: Card
        self.card, self.module = load_network(self.path)
        network = self.card.network
        self.bound = Bound(network["name"], network["parameters"], model_of(self.card.model), self.module)

    def samples(self, file: Path) -> list[Sample]:
        """Every trajectory of a dataset with the forces of the network. Raises InputError where it is for other models."""
        trajectories = read_dataset(file)
        for trajectory in trajectories:
            require_kind(self.card, trajectory.model, self.path)
        return [Sample(trajectory, self.forces(trajectory.model, trajectory.x)) for trajectory in trajectories]

    def forces(self, model: Model, x: Array) -> Array:
        """The network's electronic force (S, N, D) at x, computed in the precision of its weights."""
        import torch

        module = self.bound.to(model)
        dtype = getattr(torch, self.card.dtype)
        found = np.empty(x.shape)
        for part in slices(len(x), max(1, AT_ONCE // x.shape[1])):
            with torch.no_grad():
                found[part] = module(torch.as_tensor(x[part], dtype=dtype)).double().numpy()
        return found

    def errors(self, name: str, samples: Sequence[Sample]) -> SetErrors:
        """All that is known about a set."""
        if not samples:
            raise InputError(f"{name}: holds no trajectories")
        squared = _states([s.squared_error for s in samples])
        force = _states([s.squared_force for s in samples])
        mse, mean = float(squared.mean()), float(force.mean())
        return SetErrors(
            name,
            states=len(squared),
            sites=sum(s.squared_error.size for s in samples),
            rmse=mse**0.5,
            mse=mse,
            relative=_ratio(mse, mean),
            largest=max(float(np.abs(s.predicted - s.trajectory.force).max()) for s in samples),
            rms_force=mean**0.5,
            parts=dict(_parts(samples)),
            worst=worst_sites(samples),
            warnings=self._warnings(samples),
        )

    def _warnings(self, samples: Sequence[Sample]) -> list[str]:
        """What lies outside the ranges that the network has seen, for each model of a set."""
        states: dict[Model, list[Array]] = {}
        for sample in samples:
            states.setdefault(sample.trajectory.model, []).append(sample.trajectory.x)
        sentences = [warnings_outside(self.card, model, np.concatenate(x)) for model, x in states.items()]
        return list(dict.fromkeys(sentence for each in sentences for sentence in each))


def worst_sites(samples: Sequence[Sample], count: int = MOST_WORST) -> list[WorstSite]:
    """The sites with the largest errors, the worst first."""
    found = []
    for sample in samples:
        error = np.linalg.norm(sample.predicted - sample.trajectory.force, axis=2)
        for flat in np.argsort(error, axis=None)[::-1][:count]:
            state, site = np.unravel_index(flat, error.shape)
            found.append((float(error[state, site]), sample, int(state), int(site)))
    found.sort(key=lambda one: one[0], reverse=True)
    return [_described(*one) for one in found[:count]]


def _described(error: float, sample: Sample, state: int, site: int) -> WorstSite:
    trajectory = sample.trajectory
    around = trajectory.model.lattice.neighbours()[site]
    return WorstSite(
        trajectory.name,
        int(trajectory.step[state]),
        site,
        trajectory.force[state, site].tolist(),
        sample.predicted[state, site].tolist(),
        error,
        trajectory.x[state, site].tolist(),
        trajectory.x[state, around[around >= 0]].tolist(),
    )


def same_side(model: Model, x: Array) -> Array:
    """How many nearest neighbours have x on the same side, x_i . x_j > 0, for each state and site (S, N).

    On a bipartite lattice none has inside a domain of a staggered order, and some have at a wall.
    """
    table = model.lattice.neighbours()
    there = table >= 0
    products = np.einsum("snd,snzd->snz", x, x[:, np.where(there, table, 0)])
    count: Array = ((products > 0.0) & there).sum(axis=2)
    return count


def _parts(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Part]]]:
    """Every way of parting a set that gives more than one part."""
    keys = {key for s in samples for key in s.trajectory.attributes if key in ("kind", "temperature") or "." in key}
    labels: dict[str, list[Array]] = {}
    for key in sorted(key for key in keys if not key.endswith(".seed")):
        labels[key] = [np.full(s.trajectory.frames, str(s.trajectory.attributes.get(key, "-"))) for s in samples]
    labels["step"] = _ranges_of([s.trajectory.step for s in samples])
    for name, each in labels.items():
        if len(np.unique(np.concatenate(each))) > 1:
            yield name, _parted(samples, [np.broadcast_to(one[:, None], s.squared_error.shape)
                                          for one, s in zip(each, samples, strict=True)], states=True)  # fmt: skip
    same = [same_side(s.trajectory.model, s.trajectory.x) for s in samples]
    yield "same-side neighbours", _parted(samples, same)
    yield "|x|", _parted(samples, _size_bins([np.linalg.norm(s.trajectory.x, axis=2) for s in samples]))


def _parted(samples: Sequence[Sample], labels: Sequence[Array], states: bool = False) -> list[Part]:
    """One part per value of the labels (S, N) of each sample, in their order; counted in states or in sites."""
    label = np.concatenate([one.ravel() for one in labels])
    squared, force = (
        np.concatenate([getattr(s, name).ravel() for s in samples]) for name in ("squared_error", "squared_force")
    )
    weight = np.concatenate([np.full(s.squared_error.size, 1.0 / s.squared_error.shape[1] if states else 1.0)
                             for s in samples])  # fmt: skip
    parts = []
    for value in _ordered(np.unique(label)):
        here = label == value
        share = weight[here] / weight[here].sum()
        mse, mean = float(share @ squared[here]), float(share @ force[here])
        parts.append(Part(str(value), round(float(weight[here].sum())), mse**0.5, _ratio(mse, mean)))
    return parts


def _ordered(values: Array) -> list[str]:
    """By the number that a label begins with, where all do."""
    try:
        return sorted(values.tolist(), key=lambda value: float(str(value).split()[0]))
    except ValueError:
        return sorted(values.tolist())


def _ranges_of(steps: Sequence[Array]) -> list[Array]:
    """Labels of steps: the steps themselves, or ranges of them where there are many."""
    distinct = np.unique(np.concatenate(steps))
    if len(distinct) <= MOST_STAGES:
        return [np.array([str(step) for step in one]) for one in steps]
    pieces = np.array_split(distinct, MOST_STAGES)
    words = [f"{piece[0]} to {piece[-1]}" if len(piece) > 1 else f"{piece[0]}" for piece in pieces]
    title = {step: word for piece, word in zip(pieces, words, strict=True) for step in piece.tolist()}
    return [np.array([title[step] for step in one.tolist()]) for one in steps]


def _size_bins(sizes: Sequence[Array]) -> list[Array]:
    """Labels of |x| by quantiles."""
    everything = np.concatenate([one.ravel() for one in sizes])
    edges = np.unique(np.quantile(everything, np.linspace(0.0, 1.0, BINS_OF_SIZE + 1)))
    if len(edges) < 2:
        return [np.full(one.shape, f"{edges[0]:.3g}") for one in sizes]
    titles = np.array([f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)])
    return [titles[np.clip(np.searchsorted(edges, one, side="right") - 1, 0, len(titles) - 1)] for one in sizes]


def _states(values: Sequence[Array]) -> Array:
    """Means over sites, all states in a row."""
    return np.concatenate([one.mean(axis=1) for one in values])


def _ratio(squared_error: float, squared_force: float) -> float:
    return (squared_error / squared_force) ** 0.5 if squared_force > 0.0 else float("inf")
