"""A training in a directory: what `latticemd train` does, from the datasets to the file of the network."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from latticemd import __version__
from latticemd.config import TrainInput
from latticemd.config.writing import flat
from latticemd.errors import InputError, LatticeMDError, OutputError, StoppedEarly
from latticemd.learning.checkpoint import read_training, write_training
from latticemd.learning.data import Split, groups_of, load_split
from latticemd.learning.dataset import LabelledTrajectory, digest_of
from latticemd.learning.directory import TrainingDirectory
from latticemd.learning.errors import ForceErrors, force_errors
from latticemd.learning.figure import draw_training
from latticemd.learning.modelfile import Card, load_network, parameter_ranges, save_network, symmetry_of
from latticemd.learning.networks import Bound, build_network, require_torch
from latticemd.learning.progress import Progress
from latticemd.learning.trainer import Trainer
from latticemd.output.provenance import made_with
from latticemd.output.summary import write_summary, write_text_atomically
from latticemd.parallel.comm import Alone
from latticemd.parallel.distributed import process_group
from latticemd.parallel.launch import first_enters
from latticemd.runner import log_file, noted_signals

log = logging.getLogger("latticemd.learning")

# Keys that may differ between a training and its continuation, and those that may where the learning rate knows no end
_MAY_CHANGE = ("title", "time_limit", "early_stop", "threads", "output.directory", "output.figures")
_WITHOUT_END = ("steps", "epochs")
_SECONDS_BETWEEN_CHECKPOINTS = 60.0  # where validations are rarer than that


def train(
    train_input: TrainInput,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Any = None,
    world: Alone | None = None,
) -> dict[str, Any]:
    """Train a network in its output directory and return the summary that is also written there.

    All ranks of `world` have a share of every batch; the first one writes the files. SIGTERM and SIGINT end the training with a
    checkpoint: StoppedEarly. Raises Diverged when the loss leaves the finite numbers, InputError for data that do not fit
    together, OutputError when the directory cannot be used.
    """
    require_torch()
    import torch

    world = world or Alone()
    if train_input.batch < world.size:
        raise InputError(
            f"batch: {train_input.batch} state(s) per step cannot be shared by {world.size} ranks; give a batch of "
            f"{world.size} at least, or start fewer ranks"
        )
    torch.set_num_threads(train_input.threads)
    train_input = train_input.model_copy(update={"active": None})  # not for a single training
    assert train_input.output.directory is not None, "an input from load_training has its directory resolved"
    directory = TrainingDirectory(train_input.output.directory, overwrite=overwrite, resume=resume)
    with ExitStack() as stack:
        session = _Session(train_input, load_split(train_input.data), directory, console, world)
        first_enters(world, stack, lambda: directory)
        first_enters(world, stack, lambda: log_file(directory.log))
        stack.enter_context(process_group(world))
        if resume:
            session.restore()
            summary = world.told(directory.summary.read_text() if directory.summary.exists() else None)
            if summary is not None and session.ended() is not None:
                return dict(json.loads(summary))
        else:
            session.begin()
        stack.callback(session.progress.close)
        interrupted = stack.enter_context(noted_signals())
        ended = session.go_on(lambda: bool(interrupted))
        if ended is None:
            cause = next((one[0] for one in world.collected(interrupted) if one), "a signal")
            raise StoppedEarly(
                f"stopped by {cause} at step {session.trainer.record.step}; checkpoint written: continue with --resume"
            )
        return session.finish(ended)


class _Session:
    """A trainer with its directory: checkpoints, history and the file of the network are kept up to date, by the first rank."""

    def __init__(
        self, train_input: TrainInput, split: Split, directory: TrainingDirectory, console: Any, world: Alone
    ) -> None:
        self.world, self.writes = world, world.rank == 0
        self.input, self.split, self.directory = train_input, split, directory
        name, parameters = train_input.network.name, train_input.network.parameters
        model = split.train[0].model
        module = build_network(name, parameters, model, train_input.seed)
        self.bound = Bound(name, parameters, model, module)
        self.trainer = Trainer(train_input, split, self.bound, world)
        self.progress = Progress("step", self.trainer.total_steps, console)
        self.data = {name: _about(trajectories) for name, trajectories in split.sets.items()}
        self.start = _weights_of(train_input) if train_input.start is not None and not directory.resumes else None
        self.saved = 0.0  # seconds of training that the checkpoint has

    def begin(self) -> None:
        """Write the input, and let the network look at its data, or take the weights of another."""
        if self.writes:
            write_text_atomically(self.directory.input, self.input.to_yaml())
        if self.start is not None:
            self.trainer.begin_with(self.start)
        else:
            self.trainer.initialise()
        trained = sum(p.numel() for p in self.bound.module.parameters())
        log.info("latticemd %s: training %s, %d parameters, on %d states of %d trajectories in %s", __version__,
                 self.input.network.name, trained, self.data["train"]["states"], len(self.split.train),
                 self.directory.path)  # fmt: skip
        if self.world.size > 1:
            log.info("%d ranks share every batch of %d states", self.world.size, self.input.batch)

    def restore(self) -> None:
        """Take up the checkpoint. Raises InputError or OutputError where it is that of another training."""
        tensors, record, about = read_training(self.directory.checkpoint)
        self._require_same(about)
        try:
            self.trainer.restore(tensors, record)
        except (KeyError, RuntimeError) as error:  # the code of the network has changed meanwhile
            raise OutputError(
                f"{self.directory.checkpoint} does not fit the network {self.input.network.name} of this version: {error}"
            ) from error
        log.info("resuming %s at step %d", self.directory.path, record.step)

    def ended(self) -> str | None:
        """Why the training is over; None while it is not."""
        record, total = self.trainer.record, self.trainer.total_steps
        if total is not None and record.step >= total:
            return "finished"
        if self.input.early_stop is not None and record.since_best >= self.input.early_stop:
            return "no improvement any more"
        if self.input.time_limit is not None and record.seconds >= self.input.time_limit:
            return "time limit"
        return None

    def go_on(self, interrupted: Callable[[], bool]) -> str | None:
        """Train until the end and say which it was, or until `interrupted` and return None; either way a checkpoint is left."""
        if self.writes:
            self.directory.summary.unlink(missing_ok=True)
        trainer, record = self.trainer, self.trainer.record
        clock = time.perf_counter() - record.seconds
        while (ended := self.ended()) is None and not self.world.anywhere(interrupted()):
            trainer.advance()
            record.seconds = self._agreed(time.perf_counter() - clock)
            if record.step % trainer.validate_every == 0 or record.step == trainer.total_steps:
                self._validate()
            elif record.seconds - self.saved > _SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
            self.progress(record.step, self._words())
        if ended is not None and (not record.history or record.history[-1]["step"] != record.step):
            self._validate()
        self._save()
        return ended

    def finish(self, ended: str) -> dict[str, Any]:
        """Measure the best weights on every set, and write the network, the curve and the summary."""
        record = self.trainer.record
        self.bound.module.load_state_dict(self.trainer.best)
        errors = {name: self._errors(part).summary() for name, part in self.split.sets.items()}
        summary = {
            "title": self.input.title,
            "ended": ended,
            "steps": record.step,
            "best_step": record.best_step,
            "seconds": record.seconds,
            "parameters": self._parameters(),
            "errors": errors,
            "model": str(self.directory.model),
            **made_with(),
        }
        if self.writes:
            save_network(self.directory.model, self._card(errors), self.trainer.best)
            if self.input.output.figures:
                self._draw()
            write_summary(self.directory.summary, summary)
        return summary

    def _agreed(self, seconds: float) -> float:
        """Those of the first rank: when to stop, and how fast to learn, may depend on them."""
        return float(self.world.summed(np.array([seconds * self.writes]))[0])

    def _validate(self) -> None:
        record = self.trainer.record
        self.trainer.validate()
        if self.writes and record.best_step == record.step:
            save_network(self.directory.model, self._card({}), self.trainer.best)
        if self.writes:
            write_text_atomically(self.directory.history, _table(record.history))
        self._save()

    def _save(self) -> None:
        if self.writes:
            write_training(self.directory.checkpoint, self.trainer, {"input": self.input.to_yaml(), "data": self.data})
        self.saved = self.trainer.record.seconds

    def _words(self) -> str:
        history = self.trainer.record.history
        if not history:
            return "not validated yet"
        row = history[-1]
        return f"train {np.sqrt(row['train_loss']):.3g}  validation {np.sqrt(row['validation_loss']):.3g}"

    def _errors(self, trajectories: list[LabelledTrajectory]) -> ForceErrors:
        import torch

        dtype = getattr(torch, self.input.precision)
        return force_errors(
            self.bound, groups_of(trajectories, dtype, [1.0] * len(trajectories)), self.input.batch, self.world
        )

    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.bound.module.parameters())

    def _card(self, errors: dict[str, Any]) -> Card:
        train = self.split.train
        network, first = self.input.network, train[0]
        training = {
            "input": self.input.model_copy(update={"output": None}).to_yaml(),
            "steps": self.trainer.record.best_step,
        }
        return Card(
            network={"name": network.name, "parameters": network.parameters},
            model=first.record,
            components=first.x.shape[2],
            dtype=self.input.precision,
            parameters=self._parameters(),
            symmetry=symmetry_of(first.model),
            ranges=_ranges(train),
            data=self.data,
            errors=errors,
            training=training,
        )

    def _draw(self) -> None:
        """Draw the learning curve; a network that took hours is not lost to a drawing problem."""
        try:
            draw_training(self.directory.path)
        except (LatticeMDError, OSError, ValueError, ImportError) as error:
            log.warning("the learning curve could not be drawn: %s", error)

    def _require_same(self, about: dict[str, Any]) -> None:
        """Raise InputError if input or data are not those of the checkpoint."""
        import yaml

        free = _MAY_CHANGE + (_WITHOUT_END if self.input.optimiser.schedule == "constant" else ())
        earlier, now = (flat(yaml.safe_load(text)) for text in (about["input"], self.input.to_yaml()))
        for key in sorted(earlier.keys() | now.keys()):
            if key not in free and earlier.get(key) != now.get(key):
                raise InputError(
                    f"{key} is {now.get(key)!r}, but the training in {self.directory.path} was made with "
                    f"{earlier.get(key)!r}; a resumed training is the same training (only {', '.join(free)} may change): use "
                    "--output for a new one"
                )
        for name, data in self.data.items():
            if about["data"].get(name) != data:
                raise InputError(
                    f"data: the set {name} is not the one that the training in {self.directory.path} began with"
                )


def _weights_of(train_input: TrainInput) -> dict[str, Any]:
    """The tensors of the network that a training starts from. Raises InputError where it is another kind of network."""
    card, module = load_network(Path(str(train_input.start)), train_input.precision)
    network = {"name": train_input.network.name, "parameters": train_input.network.parameters}
    if card.network != network:
        raise InputError(f"start: {train_input.start} is a network {card.network}, but network: asks for {network}")
    return module.state_dict()


def _about(trajectories: list[LabelledTrajectory]) -> dict[str, Any]:
    states = sum(trajectory.frames for trajectory in trajectories)
    return {"trajectories": len(trajectories), "states": states, "sha256": digest_of(trajectories)}


def _ranges(trajectories: list[LabelledTrajectory]) -> dict[str, Any]:
    rms = [np.sqrt(np.mean(t.x**2, axis=(1, 2))) for t in trajectories]
    temperatures = [float(t.attributes["temperature"]) for t in trajectories if "temperature" in t.attributes]
    return {
        "x": {
            "min": min(float(t.x.min()) for t in trajectories),
            "max": max(float(t.x.max()) for t in trajectories),
            "rms": [min(float(r.min()) for r in rms), max(float(r.max()) for r in rms)],
        },
        "temperature": [min(temperatures), max(temperatures)] if temperatures else None,
        "model": parameter_ranges([t.model for t in trajectories]),
    }


def _table(history: list[dict[str, float | int]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
