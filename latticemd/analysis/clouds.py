"""Clouds of particles: how far they reach, how close neighbours come, and how the distances of all pairs are distributed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from latticemd.analysis.measuring import Measure, Snapshot, Value

Array = NDArray[Any]


def gyration_radius(x: Array) -> Array:
    """R_g, the root of the mean square distance from the mean position, (R,) of x (R, N, 3) [length]."""
    apart = x - x.mean(axis=1, keepdims=True)
    return np.sqrt((apart**2).sum(axis=2).mean(axis=1))


def nearest_distance(x: Array) -> Array:
    """The mean over particles of the distance to the next one, (R,) of x (R, N, 3) [length]; nan of a single particle.

    Cost: O(N log N).
    """
    if x.shape[1] < 2:
        return np.full(len(x), np.nan)
    return np.array([KDTree(one).query(one, k=2)[0][:, 1].mean() for one in x])


def pair_density(x: Array, edges: Array) -> Array:
    """P(r), the probability density of the distance of a pair, (R, K) in bins with K + 1 ascending edges [1/length].

    P(r) dr sums to the share of pairs that the bins hold. A pair at an edge belongs to the bin below. Cost: O(N^2) at worst,
    less where bins are wide, since parts of a tree are counted as a whole.
    """
    pairs = x.shape[1] * (x.shape[1] - 1)
    trees = [KDTree(one) for one in x]
    # Every particle is at the distance 0 of itself.
    counts = np.array([tree.count_neighbors(tree, edges) - x.shape[1] for tree in trees], dtype=float)
    return np.diff(counts, axis=1) / (max(pairs, 1) * np.diff(edges))


def reach(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """How far a cloud reaches, and how close neighbours come."""
    yield "gyration_radius", Value(gyration_radius(seen.x), "length")
    yield "nearest_distance", Value(nearest_distance(seen.x), "length")


def pair_densities_in(edges: Array) -> Measure:
    """The measure of P(r) in the given bins."""

    def pair_densities(seen: Snapshot) -> Iterator[tuple[str, Value]]:
        yield "pair_density", Value(pair_density(seen.x, edges), "1/length", 0.5 * (edges[1:] + edges[:-1]), "length")

    return pair_densities
