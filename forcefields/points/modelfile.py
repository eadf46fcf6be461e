"""The file of a network that moves particles: as those of forces, with the time that it moves them by on its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from forcefields.points.nbody import Charged
from forcefields.points.plans import PointPlan, made
from forcefields.points.predictors import Motion
from latticemd.errors import InputError
from latticemd.learning.modelfile import Card, load_weights, parameter_ranges, read_card, save_network
from latticemd.learning.records import record_of
from latticemd.models.particles import Particles
from latticemd.parameters import parameters_of
from latticemd.plugins import load_plugin


def new_motion(plan: PointPlan, horizon: float, seed: int = 0) -> Motion:
    """A `Motion` with the first weights that belong to a seed, in double precision."""
    return Motion(made(lambda: plan.motion(horizon), seed), horizon)


def save_motion(
    path: Path, name: str, plan: PointPlan, motion: Motion, model: Particles, learned_from: Charged, errors: dict[str, Any],
    training: dict[str, Any],
) -> None:  # fmt: skip
    """Write a trained motion of the plug-in `name`; `errors` by set, `training` what it took."""
    weights = motion.state_dict()
    rms = np.sqrt(np.mean(learned_from.x**2, axis=(1, 2)))
    card = Card(
        network={"name": name, "parameters": {f.name: getattr(plan, f.name) for f, _ in parameters_of(type(plan))}},
        model=record_of("particles", model),
        components=3,
        dtype=str(next(motion.parameters()).dtype).removeprefix("torch."),
        parameters=sum(one.numel() for one in motion.parameters()),
        symmetry={"internal": [one.name for one in model.internal_symmetries()]},
        ranges={
            "x": {
                "min": float(learned_from.x.min()),
                "max": float(learned_from.x.max()),
                "rms": [rms.min(), rms.max()],
            },
            "temperature": None,
            "model": parameter_ranges([model]),
        },
        data={"train": {"trajectories": len(learned_from), "states": len(learned_from)}},
        errors=errors,
        training=training,
        horizon=motion.horizon,
    )
    save_network(path, card, weights)


def load_motion(path: Path, precision: str | None = None) -> tuple[Card, Motion]:
    """The card and the motion of a file, ready to evaluate. Raises InputError where it holds a force, or nothing of the kind."""
    card = read_card(path)
    if card.horizon is None:
        raise InputError(f"{path}: gives forces, and does not say where particles will be; use it as a force field")
    plan = load_plugin("network", card.network["name"])(**card.network["parameters"])
    with torch.random.fork_rng(devices=[]):
        motion = new_motion(plan, card.horizon)
    motion.to(getattr(torch, precision or card.dtype))
    load_weights(path, card, motion)
    motion.requires_grad_(False)
    return card, motion
