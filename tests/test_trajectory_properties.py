"""A trajectory is what was appended, whatever happens between: checked against lists in memory, step by random step."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from latticemd.output.directory import RunDirectory
from latticemd.output.trajectory import TrajectoryHeader, TrajectoryWriter, read_trajectory

HEADER = TrajectoryHeader("0.1.0", "A. Physicist", (4.0, 4.0, 1.0), 2, {"input": "steps: 100\n"})
NAMES = [
    "observables/energy",
    "observables/walls/share",
    "particles/lattice/displacement",
    "particles/replica_0001/density",
]
TYPES = ["<f4", "<f8", "<c8", "<c16", "<i4", "<i8", "|i1", "|u1"]

Rows = dict[str, list[tuple[int, np.ndarray]]]


@pytest.fixture(scope="module", autouse=True)
def _small_parts():
    """Many parts from few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latticemd.output.rows.FIRST_ROWS", 2)
        yield


def copied(rows: Rows, last: int | None = None) -> Rows:
    """The rows of each element up to a step; elements without rows do not exist."""
    kept = {name: [row for row in values if last is None or row[0] <= last] for name, values in rows.items()}
    return {name: values for name, values in kept.items() if values}


class TrajectoryMachine(RuleBasedStateMachine):
    """A writer on disk beside `written`, all rows appended, and `sealed`, those that any reader must see."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.written: Rows = {}
        self.sealed: Rows = {}
        self.kinds: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.step = 0
        self.checkpoint = -1  # no checkpoint yet
        self.finished = False

    @initialize(
        kinds=st.lists(st.tuples(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)),
                       min_size=len(NAMES), max_size=len(NAMES)),
        plain_bytes=st.sampled_from([0, 2**20]),
    )  # fmt: skip
    def begin(self, kinds: list[tuple[str, tuple[int, ...]]], plain_bytes: int) -> None:
        self.kinds = dict(zip(NAMES, kinds, strict=True))
        self.plain_bytes = plain_bytes
        self.enter(None)

    def enter(self, resume_step: int | None) -> None:
        self.directory = RunDirectory(self.folder / "run")
        self.directory.path.mkdir(exist_ok=True)
        self.writer = TrajectoryWriter(self.directory, HEADER, resume_step, plain_bytes=self.plain_bytes)
        self.finished = False

    @precondition(lambda self: not self.finished)
    @rule(data=st.data(), names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True), ahead=st.integers(1, 50))
    def append(self, data: st.DataObject, names: list[str], ahead: int) -> None:
        self.step += ahead
        for name in names:
            kind, shape = self.kinds[name]
            value = data.draw(arrays.arrays(np.dtype(kind), shape))
            self.writer.append(name, self.step, 0.05 * self.step, value, "energy")
            self.written.setdefault(name, []).append((self.step, value.copy()))

    @precondition(lambda self: not self.finished)
    @rule(number=st.integers(1, 9))
    def append_many(self, number: int) -> None:
        for _ in range(number):
            self.step += 1
            kind, shape = self.kinds[NAMES[0]]
            value = np.full(shape, self.step % 100, dtype=kind)
            self.writer.append(NAMES[0], self.step, 0.05 * self.step, value, "energy")
            self.written.setdefault(NAMES[0], []).append((self.step, value))

    @precondition(lambda self: not self.finished)
    @rule(checkpoint=st.booleans())
    def seal(self, checkpoint: bool) -> None:
        self.writer.seal()
        self.sealed = copied(self.written)
        if checkpoint:
            self.checkpoint = self.step

    @precondition(lambda self: not self.finished)
    @rule()
    def finish(self) -> None:
        self.writer.finish()
        self.sealed = copied(self.written)
        self.checkpoint = self.step
        self.finished = True

    @precondition(lambda self: self.checkpoint >= 0)
    @rule(move=st.booleans())
    def resume(self, move: bool) -> None:
        """After a kill or an end: the rows after the checkpoint are cut off, also in a directory that was moved."""
        if move:
            (self.folder / "run").rename(self.folder / "moved")
            shutil.copytree(self.folder / "moved", self.folder / "run")
            shutil.rmtree(self.folder / "moved")
        self.written = copied(self.written, self.checkpoint)
        self.sealed = copied(self.written)
        self.step = self.checkpoint
        self.enter(self.checkpoint)

    @precondition(lambda self: not self.finished and self.step > 0)
    @rule(name=st.sampled_from(NAMES), back=st.integers(0, 5))
    def a_step_that_is_not_new_is_refused(self, name: str, back: int) -> None:
        if name not in self.written:
            return
        kind, shape = self.kinds[name]
        with pytest.raises(ValueError, match="already has a row at step"):
            self.writer.append(name, self.written[name][-1][0] - back, 0.0, np.zeros(shape, dtype=kind), "energy")

    @invariant()
    def a_reader_sees_what_is_sealed(self) -> None:
        if not self.kinds:
            return
        with read_trajectory(self.folder / "run" / "trajectory.h5") as found:
            assert found.elements() == sorted(self.sealed)
            for name, rows in self.sealed.items():
                kind, shape = self.kinds[name]
                values: Any = found.value(name)
                assert (values.dtype.str, values.shape) == (kind, (len(rows), *shape))
                assert found.steps(name).tolist() == [step for step, _ in rows]
                assert found.times(name).tolist() == [0.05 * step for step, _ in rows]
                assert values[...].tobytes() == b"".join(value.tobytes() for _, value in rows)
                assert found.layout(name).unit == "energy"
        if self.finished and self.plain_bytes:
            assert not (self.folder / "run" / "segments").exists()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestTrajectory = TrajectoryMachine.TestCase
TestTrajectory.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
