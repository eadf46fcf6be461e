"""Active learning: a committee explores, the states it is least sure of are labelled, and it is trained again.

    DIR/start/member_k                 the committee trained on data.train alone
    DIR/POLICY/round_RR/run            what it explored in a round, as `latticemd run` leaves it
    DIR/POLICY/round_RR/picked.h5      the states it was least sure of, or random ones
    DIR/POLICY/round_RR/labels.h5      their exact forces
    DIR/POLICY/round_RR/member_k       the committee trained on these and all earlier labels
    DIR/active.csv, figures/active.png  errors against the number of labelled states

Every part is a file that is there or not, so a loop that is interrupted goes on with the first that is missing; all of them are
pure functions of the inputs and their seeds. Members begin anew in each round: what they learnt before would let them agree.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latticemd.build import build_model
from latticemd.config import RunInput, TrainInput, load_input
from latticemd.config.active_input import ActiveInput
from latticemd.config.train_input import TrainingOutput, ValidationShare
from latticemd.config.writing import flat
from latticemd.errors import Diverged, InputError, LatticeMDError, OutputError, TooUncertain
from latticemd.forcefield import Electrons, ForceField
from latticemd.learning.active_figure import draw_active
from latticemd.learning.data import load_split
from latticemd.learning.dataset import LabelledTrajectory
from latticemd.learning.labelling import label, plan_labels
from latticemd.learning.networks import require_torch
from latticemd.learning.picking import POLICIES
from latticemd.learning.runner import train
from latticemd.output.directory import locked_directory, unlock_directory
from latticemd.output.header import header_of
from latticemd.output.provenance import made_with
from latticemd.output.states import StoredState, read_states, write_states
from latticemd.output.summary import write_summary, write_text_atomically
from latticemd.plugins import load_plugin
from latticemd.runner import log_file, noted_signals
from latticemd.runner import run as run_in_directory

log = logging.getLogger("latticemd.learning")

START = "start"
_MAY_CHANGE = ("title", "threads", "active.rounds", "active.compare", "output.directory", "output.figures")
_STATES_AT_ONCE = 16


@dataclass(frozen=True)
class Row:
    """How good a committee is on one set.

    `states` are those it was trained on; `relative` is the rms error of its mean force over the rms force, `member` the mean of
    that over its members; `uncertainty` the rms spread over the rms force, to be compared with `relative`.
    """

    policy: str
    round: int
    states: int
    set: str
    relative: float
    member: float
    uncertainty: float


def learn_actively(
    train_input: TrainInput, *, resume: bool = False, overwrite: bool = False, console: Any = None
) -> dict[str, Any]:
    """Do what the block `active` asks for in the output directory, and return the summary that is also written there.

    Raises InputError for inputs that do not fit together, OutputError when the directory cannot be used, StoppedEarly after
    SIGTERM or SIGINT: `resume` then goes on where it was.
    """
    require_torch()
    import torch

    torch.set_num_threads(train_input.threads)  # sums of networks depend on it, in committees as in trainings
    active = _required(train_input)
    with _directory(train_input, resume, overwrite) as path, log_file(path / "active.log"):
        loop = _Loop(train_input, active, path, console)
        rows = loop.rows(START, 0, [])
        _report(path, train_input, rows)
        policies = ["uncertain", *([active.compare] if active.compare else [])]
        labels: dict[str, list[Path]] = {policy: [] for policy in policies}
        for number in range(1, active.rounds + 1):
            for policy in policies:
                labels[policy].append(loop.labels(policy, number))
                rows += loop.rows(policy, number, labels[policy])
                _report(path, train_input, rows)
        models = [str(file) for file in loop.models("uncertain", active.rounds)]
        summary = {"rows": [asdict(row) for row in rows], "models": models, **made_with()}
        write_summary(path / "summary.json", summary)
    return summary


class _Loop:
    """The parts of the loop, each made unless its file is there."""

    def __init__(self, train_input: TrainInput, active: ActiveInput, path: Path, console: Any) -> None:
        self.input, self.active, self.path, self.console = train_input, active, path, console
        self.split = load_split(train_input.data)

    def folder(self, policy: str, number: int) -> Path:
        """Where a round has its files; the first training is common to all policies."""
        return self.path / policy / f"round_{number:02d}" if number else self.path / START

    def models(self, policy: str, number: int) -> list[Path]:
        """The files of the committee after a round."""
        folder = self.folder(policy, number)
        return [folder / f"member_{k}" / "model.safetensors" for k in range(self.active.members)]

    def labels(self, policy: str, number: int) -> Path:
        """Exact forces of what the committee of the round before is to learn from."""
        folder = self.folder(policy, number)
        picked, labels = folder / "picked.h5", folder / "labels.h5"
        run = self._exploring(policy, number)
        if not picked.exists():
            states = self._explored(run)
            chosen = POLICIES[policy](states, self.active.picks, self.input.seed + number)
            log.info("%s, round %d: %d of %d states picked", policy, number, len(chosen), len(states))
            header = header_of(build_model(run)[0], run.model.name, run.replicas.count, {"input": run.to_yaml()})
            write_states(picked, chosen, header)
        if not labels.exists():
            forcefield = {"name": self.active.forcefield.name, **self.active.forcefield.parameters}
            block = {"states": str(picked), "forcefield": forcefield, "output": str(labels)}
            with noted_signals() as interrupted:
                plan = plan_labels(Path(self.active.run), [f"label={json.dumps(block)}"])
                label(plan, stop=lambda: bool(interrupted))
        return labels

    def rows(self, policy: str, number: int, labels: Sequence[Path]) -> list[Row]:
        """Train the committee of a round, and measure it on every set that it does not learn from."""
        file = self.folder(policy, number) / "errors.json"
        if not file.exists():
            summaries = [self._trained(policy, number, k, labels) for k in range(self.active.members)]
            committee = _committee(self.models(policy, number))
            states = summaries[0]["errors"]["train"]["states"]
            found = []
            for name, trajectories in self.split.sets.items():
                if name != "train":
                    member = float(np.mean([summary["errors"][name]["relative"] for summary in summaries]))
                    found.append(Row(policy, number, states, name, member=member, **_errors(committee, trajectories)))
            committee.close()
            write_summary(file, {"rows": [asdict(row) for row in found]})
        rows = [Row(**row) for row in json.loads(file.read_text())["rows"]]
        for row in rows:
            log.info("%s, round %d, %d states: %s %.3e (members %.3e, spread %.3e)", row.policy, row.round, row.states, row.set,
                     row.relative, row.member, row.uncertainty)  # fmt: skip
        return rows

    def _trained(self, policy: str, number: int, k: int, labels: Sequence[Path]) -> dict[str, Any]:
        place = self.folder(policy, number) / f"member_{k}"
        data = self.input.data.model_copy(update={"train": (*self.input.data.train, *map(str, labels))})
        changes = {
            "data": data,
            "seed": (self.input.seed + k) % 2**64,
            "output": TrainingOutput(directory=str(place), figures=False),
        }
        begun = (place / "checkpoint.safetensors").exists()
        return train(self.input.model_copy(update=changes), resume=begun, overwrite=not begun, console=self.console)

    def _exploring(self, policy: str, number: int) -> RunInput:
        """The input of the run of a round, moved by the committee of the round before."""
        models = [str(file) for file in self.models(policy, number - 1)]
        given = load_input(Path(self.active.run))
        changes = {
            "forcefield": {"name": "committee", "models": models},
            "initial.seed": (given.initial.seed + number) % 2**64,
            "dynamics.seed": (given.dynamics.seed + number) % 2**64,
            "output.directory": str(self.folder(policy, number) / "run"),
            "output.fields": ["displacement", "uncertainty"],
            "output.figures": False,
            "observables": [{"name": "forcefield"}],
        }
        return load_input(Path(self.active.run), [f"{key}={json.dumps(value)}" for key, value in changes.items()])

    def _explored(self, run: RunInput) -> list[StoredState]:
        """The frames of the run, also of one that ended because its forces were too bad."""
        place = Path(str(run.output.directory))
        begun = (place / "checkpoint.h5").exists()
        try:
            run_in_directory(run, resume=begun, overwrite=not begun, console=self.console)
        except (TooUncertain, Diverged) as end:
            log.warning("%s ended early, and what it has is used: %s", place, str(end).partition("\n")[0])
        return [state for state in read_states(place / "trajectory.h5") if np.isfinite(state.rms)]


def _committee(models: Sequence[Path]) -> ForceField:
    committee: ForceField = load_plugin("forcefield", "committee")(tuple(str(file) for file in models))
    return committee


def _errors(committee: ForceField, trajectories: Sequence[LabelledTrajectory]) -> dict[str, float]:
    """Error and spread of the mean force, both over the rms force; each state counts alike."""
    squares = np.zeros(3)
    for trajectory in trajectories:
        for first in range(0, trajectory.frames, _STATES_AT_ONCE):
            part = slice(first, first + _STATES_AT_ONCE)
            x, force = trajectory.x[part], trajectory.force[part]
            out = Electrons.empty(len(x), trajectory.model)
            committee.evaluate(trajectory.model, x, 0, out)
            assert out.uncertainty is not None
            sums = [np.sum((out.force - force) ** 2), np.sum(out.uncertainty**2), np.sum(force**2)]
            squares += np.array(sums) / trajectory.x[0].size
    return {"relative": float(np.sqrt(squares[0] / squares[2])), "uncertainty": float(np.sqrt(squares[1] / squares[2]))}


def _report(path: Path, train_input: TrainInput, rows: Sequence[Row]) -> None:
    """The table and the figure of what is known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text_atomically(path / "active.csv", text.getvalue())
    if train_input.output.figures:
        try:
            draw_active(path / "figures" / "active.png", train_input.title or train_input.network.name, rows)
        except (LatticeMDError, OSError, ValueError, ImportError) as error:
            log.warning("the figure could not be drawn: %s", error)


def _required(train_input: TrainInput) -> ActiveInput:
    active, data = train_input.active, train_input.data
    if active is None:
        raise InputError(
            "the input has no block active; add one such as  active: {run: explore.yaml, rounds: 5, picks: 10}"
        )
    if isinstance(data.validation, ValidationShare):
        raise InputError(
            "data.validation: expected files for active learning, so that every round is judged by the same states, "
            f"got a share of {data.validation.fraction:g} of what is learnt from"
        )
    if data.states is not None:
        raise InputError(
            f"data.states: active learning learns from all it has labelled, got {data.states}; leave it out"
        )
    load_input(Path(active.run))
    return active


@contextmanager
def _directory(train_input: TrainInput, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Exclusive use of the output directory; what an earlier loop has left is there only if it is to be continued."""
    if resume and overwrite:
        raise OutputError("--resume continues active learning and --overwrite replaces it: give one of them")
    path = Path(str(train_input.output.directory))
    lock = locked_directory(path)
    try:
        stored = path / "train.yaml"
        if resume and not stored.exists():
            raise OutputError(f"{path} holds no active learning to resume: it has no {stored.name}")
        if resume:
            _require_same(train_input, stored)
        elif stored.exists() and not overwrite:
            raise OutputError(
                f"{path} already holds a training; use --resume to continue it, --overwrite to replace it, or --output for "
                "another directory"
            )
        else:
            for name in (START, *POLICIES):
                shutil.rmtree(path / name, ignore_errors=True)
        (path / "summary.json").unlink(missing_ok=True)
        write_text_atomically(stored, train_input.to_yaml())
        yield path
    finally:
        unlock_directory(path, lock)


def _require_same(train_input: TrainInput, stored: Path) -> None:
    """Raise InputError where a continued loop would be another one."""
    import yaml

    earlier, now = (flat(yaml.safe_load(text)) for text in (stored.read_text(encoding="utf-8"), train_input.to_yaml()))
    for key in sorted(earlier.keys() | now.keys()):
        if key not in _MAY_CHANGE and earlier.get(key) != now.get(key):
            raise InputError(
                f"{key} is {now.get(key)!r}, but the active learning in {stored.parent} was begun with {earlier.get(key)!r}; only "
                f"{', '.join(_MAY_CHANGE)} may change: use --output for a new one"
            )
