"""The optimisation itself: steps, the moving average of the weights, validation, and a state that continues to the same bytes.

    L = < w_s |F_s - F^(x_s)|^2 >        over the states s of a batch, see `latticemd.learning.loss`
    w = 1 / <F^2>                        of all training states, or of the trajectory of s
    a <- d a + (1 - d) w                 d = min(ema, (1 + step)/(10 + step)), the average a of the weights

The average follows the first steps closely and then forgets with the decay `ema`; validation and the network that is kept use it.
Batches, augmentation and learning rates are pure functions of seed and step, so nothing but tensors and a few numbers
has to be remembered. Ranks that share a training all have the same weights and the same record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latticemd.config import TrainInput
from latticemd.errors import Diverged
from latticemd.learning.augmentation import Augmentation
from latticemd.learning.data import (
    Split,
    batches_of_epoch,
    batches_per_epoch,
    groups_of,
    loss_weights,
    mean_square,
    referenced,
)
from latticemd.learning.errors import ForceErrors, force_errors
from latticemd.learning.networks import Bound, Initialised
from latticemd.parallel.comm import Alone

if TYPE_CHECKING:
    import torch
    from torch import nn

Weights = dict[str, "torch.Tensor"]


@dataclass
class Record:
    """What a training remembers beside tensors, all of it numbers."""

    step: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_step: int = 0
    since_best: int = 0  # validations
    loss_sum: float = 0.0  # since the last validation
    loss_count: int = 0
    history: list[dict[str, float | int]] = field(default_factory=list)


class Trainer:
    """A network on its way. `advance` takes a step, `validate` judges the averaged weights and keeps the best.

    All ranks of a world do either together.
    """

    def __init__(self, train_input: TrainInput, split: Split, bound: Bound, world: Alone | None = None) -> None:
        import torch

        self.input = train_input
        self.bound = bound
        self.world = world or Alone()
        dtype = getattr(torch, train_input.precision)
        bound.module.to(dtype)
        relative, scale = train_input.loss.relative, mean_square(split.train)
        self.groups, self.held_out = (
            referenced(
                groups_of(part, dtype, loss_weights(part, relative, scale)), bound, train_input.batch, self.world
            )
            for part in (split.train, split.validation)
        )
        self._sizes = [len(group) for group in self.groups]
        self.steps_per_epoch = batches_per_epoch(self._sizes, train_input.batch)
        self.record = Record()
        self.optimiser = _optimiser(train_input, bound.module)
        self.average = self._weights()
        self.best = self._weights()
        self._augmentation = Augmentation(self.groups, train_input.seed) if train_input.augment else None
        self._order: tuple[int, Any] = (-1, [])  # epoch and its batches, made again whenever the epoch is another

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training; None where only the clock ends it."""
        if self.input.epochs is not None:
            return self.input.epochs * self.steps_per_epoch
        return self.input.steps

    @property
    def validate_every(self) -> int:
        """Steps between validations."""
        return self.input.validate_every or self.steps_per_epoch

    def initialise(self, states: int = 64) -> None:
        """Let a network that wants to see data before its first step look at a few states of the first model."""
        import torch

        module, group = self.bound.module, self.groups[0]
        if not isinstance(module, Initialised):
            return
        chosen = np.random.default_rng(self.input.seed).permutation(len(group))[:states]
        with torch.no_grad():
            module.initialise(group.x[chosen], group.force[chosen])
        self.average, self.best = self._weights(), self._weights()

    def begin_with(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take these weights for the first."""
        self._put(weights)
        self.average, self.best = self._weights(), self._weights()

    def advance(self) -> None:
        """One step of the optimiser. Raises Diverged when the loss is not finite."""
        import torch

        from latticemd.learning.loss import states_of_rank

        record, options = self.record, self.input.optimiser
        group, states = self._batch(record.step)
        batch = self.groups[group].taken(states)
        if self._augmentation is not None:
            batch = self._augmentation.turned(group, batch, record.step)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.learning_rate()
        self.bound.train(True)
        loss = self._loss(*states_of_rank(batch, self.world))
        self.optimiser.zero_grad()
        loss.backward()
        value = float(self.world.summed(loss.detach().double().numpy())) / self.world.size
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} at step {record.step}; use a smaller optimiser.learning_rate, or clip")
        if options.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.bound.module.parameters(), options.clip)
        self.optimiser.step()
        record.step += 1
        record.loss_sum += value
        record.loss_count += 1
        self._follow()

    def validate(self) -> ForceErrors:
        """Judge the average on the validation set, keep it if it is the best yet, and write a row of the history."""
        record = self.record
        with self.using(self.average):
            errors = force_errors(self.bound, self.held_out, self.input.batch, self.world)
        if errors.loss < record.best_loss:
            record.best_loss, record.best_step, record.since_best = errors.loss, record.step, 0
            self.best = {name: value.clone() for name, value in self.average.items()}
        else:
            record.since_best += 1
        record.history.append(
            {
                "step": record.step,
                "epoch": record.step / self.steps_per_epoch,
                "seconds": record.seconds,
                "learning_rate": self.learning_rate(),
                "train_loss": record.loss_sum / max(record.loss_count, 1),
                "validation_loss": errors.loss,
                "validation_rmse": errors.rmse,
                "validation_relative": errors.relative,
            }
        )
        record.loss_sum, record.loss_count = 0.0, 0
        return errors

    def learning_rate(self) -> float:
        """That of the next step: a rise over the warm-up, times a constant or half a period of a cosine."""
        options, step = self.input.optimiser, self.record.step
        rise = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
        if options.schedule == "constant":
            return float(options.learning_rate * rise)
        if self.total_steps is not None:
            progress = step / self.total_steps
        else:
            assert self.input.time_limit is not None, "an input has one end at least"
            progress = self.record.seconds / self.input.time_limit
        return float(options.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))))

    @contextmanager
    def using(self, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """The network with other weights for a while."""
        own = self._weights()
        self._put(weights)
        try:
            yield
        finally:
            self._put(own)

    def tensors(self) -> Weights:
        """All tensors that the training continues from."""
        import torch

        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "weights": self._weights(),
            "average": self.average,
            "best": self.best,
            "optimiser": {
                f"{i}.{name}": value
                for i, state in self.optimiser.state_dict()["state"].items()
                for name, value in state.items()
            },
            "generator": {"torch": torch.get_rng_state()},
        }
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor], record: Record) -> None:
        """Continue from what `tensors` and `record` were."""
        import torch

        parts: dict[str, Weights] = {}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = value
        self._put(parts["weights"])
        self.average, self.best, self.record = parts["average"], parts["best"], record
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in parts.get("optimiser", {}).items():
            i, _, name = key.partition(".")
            moments.setdefault(int(i), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        torch.set_rng_state(parts["generator"]["torch"])

    @cached_property
    def _loss(self) -> nn.Module:
        """Made when the first weights are known, which ranks then have in common."""
        from latticemd.learning.loss import shared_loss

        return shared_loss(self.bound, self.world)

    def _batch(self, step: int) -> tuple[int, Any]:
        import torch

        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, batches_of_epoch(self._sizes, self.input.batch, self.input.seed, epoch))
        group, states = self._order[1][place]
        return group, torch.from_numpy(states)

    def _follow(self) -> None:
        """Move the average; what is no parameter is taken as it is."""
        import torch

        step, decay = self.record.step, self.input.ema
        decay = min(decay, (1 + step) / (10 + step)) if decay else 0.0
        trained = {name for name, _ in self.bound.module.named_parameters()}
        with torch.no_grad():
            for name, value in self.bound.module.state_dict().items():
                if name in trained:
                    self.average[name].lerp_(value, 1.0 - decay)
                else:
                    self.average[name].copy_(value)

    def _weights(self) -> Weights:
        return {name: value.detach().clone() for name, value in self.bound.module.state_dict().items()}

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, value in self.bound.module.state_dict().items():
                value.copy_(weights[name])


def _optimiser(train_input: TrainInput, module: torch.nn.Module) -> torch.optim.Optimizer:
    import torch

    options, parameters = train_input.optimiser, list(module.parameters())
    if options.name == "adam":
        return torch.optim.Adam(parameters, lr=options.learning_rate)
    return torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
