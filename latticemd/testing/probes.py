"""Where the checks look: positions, and models whose parameters have moved a little."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from latticemd.forcefield import Array
from latticemd.models.model import Model
from latticemd.parameters import parameters_of


def positions(model: Model, given: Array | None = None, seed: int = 0) -> Array:
    """A copy of the given positions, or the admissible ones that standard normals stand for, (1, N, D) [length]."""
    if given is not None:
        return np.array(given, dtype=np.float64, order="C")
    return model.admissible(np.random.default_rng(seed).normal(size=(1, model.lattice.sites, model.components)))


def ramped(model: Model) -> Iterator[tuple[str, Model]]:
    """The model with one rampable parameter after the other a little smaller, or 0.05 in place of zero."""
    for field, about in parameters_of(type(model)):
        value = getattr(model, field.name)
        if about.rampable and value is not None:
            change: dict[str, Any] = {field.name: 0.95 * value if value else 0.05}
            yield field.name, dataclasses.replace(model, **change)
