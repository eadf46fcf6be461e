"""Learning where points will be: short trainings of predictors on trajectories at two times.

    L = < |x_i(T) - x^_i(T)|^2 >,                                  of `Dynamics`
    L = < |x_i(T) - x^_i(T)|^2 + T^2 |v_i(T) - v^_i(T)|^2 / 4 >    of `Motion`

are means over samples, points and components; the quarter weighs velocities, whose errors near encounters are the larger ones,
about as much as positions. By Adam with a learning rate that falls as half a cosine, gradients no longer than `clip`, and
a moving average of the weights, which is what is kept: that of the epoch with the smallest validation error. Batches are pure
functions of seed and epoch. Networks that predict forces are trained by `latticemd train`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from forcefields.points.nbody import Charged
from forcefields.points.predictors import Motion
from latticemd.errors import Diverged

Watch = Callable[[int, float, float], None]  # epoch, training error, validation error


@dataclass(frozen=True)
class Plan:
    """How long and how fast.

    ============  ================================================================
    epochs        passes over the training set
    batch         samples per step
    rate          largest learning rate
    rise          epochs over which the rate rises to it
    clip          largest norm of the gradient
    keep          decay per step of the moving average of the weights
    look          epochs between validations
    seed          of the order of the samples, and of frames that are drawn
    ============  ================================================================
    """

    epochs: int
    batch: int = 100
    rate: float = 1e-3
    rise: float = 2.0
    clip: float = 1.0
    keep: float = 0.999
    look: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a training has reached: errors [length^2] with the kept weights, their epoch, and wall-clock seconds."""

    train: float
    validation: float
    epoch: int
    seconds: float


def train_dynamics(
    predictor: nn.Module, train: Charged, validation: Charged, plan: Plan, watch: Watch | None = None
) -> Outcome:
    """Train a `Dynamics` or `Motion` in place. Raises Diverged when the loss is not finite."""
    began = time.perf_counter()
    torch.manual_seed(plan.seed)
    inputs = tensors_of(train, next(predictor.parameters()).dtype)
    average = copy.deepcopy(predictor)
    optimiser = torch.optim.Adam(predictor.parameters(), lr=plan.rate)
    steps_per_epoch = -(-len(train) // plan.batch)
    best, kept, best_epoch, step = math.inf, copy.deepcopy(average.state_dict()), 0, 0
    for epoch in range(plan.epochs):
        predictor.train()
        order = torch.from_numpy(np.random.default_rng([plan.seed, epoch]).permutation(len(train)))
        losses = []
        for chosen in order.split(plan.batch):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate * _share(step, plan, steps_per_epoch)
            loss = _loss(predictor, *(values[chosen] for values in inputs))
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(predictor.parameters(), plan.clip)
            step += 1
            if not torch.isfinite(norm):  # learned motion has run away: nothing is to be learned from that batch
                continue
            optimiser.step()
            _follow(average, predictor, min(plan.keep, step / (10 + step)))
            losses.append(float(loss.detach()))
        if not losses:
            raise Diverged(f"no gradient of epoch {epoch} is finite; use a smaller learning rate than {plan.rate:g}")
        if (epoch + 1) % plan.look == 0 or epoch + 1 == plan.epochs:
            error = mean_error(average, validation)
            if error < best:
                best, kept, best_epoch = error, copy.deepcopy(average.state_dict()), epoch + 1
            if watch:
                watch(epoch + 1, float(np.mean(losses)), error)
    predictor.load_state_dict(kept)
    return Outcome(mean_error(predictor, train), best, best_epoch, time.perf_counter() - began)


def mean_error(predictor: nn.Module, samples: Charged, batch: int = 250) -> float:
    """What a training minimises, for `Dynamics` the square error of later positions [length^2]; with all frames, also where a
    network draws some while it trains.
    """
    predictor.eval()
    parameter = next(predictor.parameters(), None)
    values = tensors_of(samples, torch.float64 if parameter is None else parameter.dtype)
    total = 0.0
    with torch.no_grad():
        for part in torch.arange(len(samples)).split(batch):
            total += float(_loss(predictor, *(one[part] for one in values))) * len(part)
    return total / len(samples)


def tensors_of(samples: Charged, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """x, v in double precision, q in that of the weights, and the answers: later positions and velocities."""
    x, v, q, target, later = (torch.from_numpy(values) for values in vars(samples).values())
    return x, v, q.to(dtype), target, later


def _loss(predictor: nn.Module, x: Tensor, v: Tensor, q: Tensor, target: Tensor, later: Tensor) -> Tensor:
    found = predictor(x, v, q)
    if not isinstance(predictor, Motion):
        return torch.mean((found - target) ** 2)
    return torch.mean((found[0] - target) ** 2) + 0.25 * predictor.horizon**2 * torch.mean((found[1] - later) ** 2)


def _share(step: int, plan: Plan, steps_per_epoch: int) -> float:
    """Of the largest learning rate at a step."""
    rise = min(1.0, (step + 1) / max(1.0, plan.rise * steps_per_epoch))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / (plan.epochs * steps_per_epoch)))


def _follow(average: nn.Module, predictor: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for mine, its in zip(average.parameters(), predictor.parameters(), strict=True):
            mine.lerp_(its, 1.0 - keep)
