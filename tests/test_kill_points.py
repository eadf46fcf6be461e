"""Runs that are killed between or within any two calls of the system, and files that are damaged afterwards.

Each test runs the whole of `latticemd.runner.run`: what is left must be a verified checkpoint that the trajectory reaches,
and the run that continues from it must end as if nothing had happened.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_run import QUENCH, datasets

from latticemd.build import build_integrator, build_state, build_system
from latticemd.config import load_input
from latticemd.errors import OutputError
from latticemd.output.checkpoint import read_checkpoint
from latticemd.output.trajectory import TrajectoryWriter, read_trajectory
from latticemd.runner import run
from latticemd.simulation import Simulation

STEPS, EVERY, CHECKPOINT_EVERY = 10, 2, 3  # the last step is a checkpoint of its own
CALLS = ("replace", "link", "unlink", "mkdir", "rmdir", "fsync", "pwrite", "ftruncate")


class Reference:
    """The uninterrupted run: its final files, its state at every step, and how many calls it makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "input.yaml").write_text(QUENCH)
        self.whole = folder / "whole"
        self.digest = run(self.input(self.whole))["digest"]
        self.trajectory = datasets(self.whole / "trajectory.h5")
        system = build_system(self.input(self.whole))
        simulation = Simulation(
            system, build_integrator(self.input(self.whole)), build_state(self.input(self.whole), system.model)
        )
        self.states = []
        for step in range(STEPS + 1):
            simulation.run(step)
            self.states.append(simulation.state.copy())
        self.calls = count_calls(lambda: run(self.input(folder / "counted")))

    def input(self, directory: Path) -> Any:
        """The input of a run in this directory."""
        settings = [f"dynamics.steps={STEPS}", f"output.every={EVERY}", f"output.checkpoint_every={CHECKPOINT_EVERY}"]
        fields = "output.fields=[displacement, density]"
        observables = "observables=[{name: energy, every: 1}]"
        return load_input(
            self.folder / "input.yaml",
            [*settings, fields, observables, "dynamics.integrator=langevin", f"output.directory={directory}"],
        )

    def continue_in(self, directory: Path) -> str:
        """Resume the run in a directory, or begin again where it has no checkpoint yet, and return its digest."""
        resume = any((directory / name).exists() for name in ("checkpoint.h5", "checkpoint_previous.h5"))
        return run(self.input(directory), resume=resume, overwrite=not resume)["digest"]

    def assert_intact(self, directory: Path) -> int:
        """The checkpoint, if there is one, is a state of the run, and the trajectory reaches it; returns its step."""
        if not (directory / "checkpoint.h5").exists():
            return -1
        state, _ = read_checkpoint(directory / "checkpoint.h5")
        assert state.step in {*range(0, STEPS, CHECKPOINT_EVERY), STEPS}
        assert state.digest() == self.states[state.step].digest()
        with read_trajectory(directory / "trajectory.h5") as trajectory:
            steps = trajectory.steps("particles/lattice/displacement").tolist()
            due = list(range(0, state.step + 1, EVERY))
            assert steps[: len(due)] == due
            for k, step in enumerate(steps):
                found = trajectory.value("particles/lattice/displacement")[k]
                assert found.tobytes() == self.states[step].x[0].tobytes()
            energies = trajectory.steps("observables/total_energy").tolist()
            assert energies[: state.step + 1] == list(range(state.step + 1))
        return state.step

    def assert_complete(self, directory: Path) -> None:
        """The run has ended with the same files as the uninterrupted one."""
        found = datasets(directory / "trajectory.h5")
        assert found.keys() == self.trajectory.keys()
        assert [name for name in found if found[name] != self.trajectory[name]] == ["parameters/input"]  # the directory
        assert not (directory / "segments").exists()
        left = {path.name for path in directory.iterdir()}
        assert left == {path.name for path in self.whole.iterdir()}
        self.assert_intact(directory)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latticemd.output.rows.FIRST_ROWS", 2)  # many parts from few rows
        yield Reference(tmp_path_factory.mktemp("reference"))


# --- kills ----------------------------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], object]) -> int:
    """Wait status of a forked process that does `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def hook(before: Callable[[], float | None]) -> None:
    """Let `before` look at every call that changes a file; a share that it returns is written before the process dies."""

    def hooked(original: Callable[..., Any], content: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            share = before()
            if share is not None:
                if content and share:
                    part = bytes(args[content])[: int(share * len(args[content]))]
                    original(*args[:content], part, *args[content + 1 :], **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, hooked(getattr(os, name), 1 if name == "pwrite" else 0))
    Path.write_bytes = hooked(Path.write_bytes, 1)  # type: ignore[method-assign]


def count_calls(work: Callable[[], object]) -> int:
    """How many of the hooked calls `work` makes."""
    read, write = os.pipe()

    def counted() -> None:
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1

        hook(count)
        work()
        os.write(write, str(calls).encode())

    assert in_a_child(counted) == 0
    os.close(write)
    with os.fdopen(read) as pipe:
        return int(pipe.read())


def killed(work: Callable[[], object], at: int, share: float) -> bool:
    """Do `work` in a child that dies at call number `at`, a write being done up to `share`; False if it ended before."""

    def doomed() -> None:
        left = at

        def count() -> float | None:
            nonlocal left
            left -= 1
            return share if left == 0 else None

        hook(count)
        work()

    status = in_a_child(doomed)
    assert status in (0, signal.SIGKILL)
    return status != 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kills=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=3),
)
def test_a_run_killed_at_any_call_ends_as_if_nothing_had_happened(
    reference: Reference, kills: list[tuple[float, float]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        reached = -1
        for place, share in kills:
            killed(lambda: reference.continue_in(directory), 1 + int(place * reference.calls), share)
            step = reference.assert_intact(directory)
            assert step >= reached  # a continued run never falls behind the checkpoint it began from
            reached = step
        assert reference.continue_in(directory) == reference.digest
        reference.assert_complete(directory)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_at_every_single_call_ends_as_if_nothing_had_happened(
    reference: Reference, tmp_path: Path
) -> None:
    for at in itertools.count(1):
        directory = tmp_path / f"killed_at_{at}"
        if not killed(lambda: reference.continue_in(directory), at, 0.5):  # noqa: B023
            break
        reference.assert_intact(directory)
        assert reference.continue_in(directory) == reference.digest
        reference.assert_complete(directory)
        shutil.rmtree(directory)
    reference.assert_complete(directory)
    assert at > 200


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(reference: Reference) -> Path:
    """A run killed when it began to save step 9, with rows of steps 7 to 9 in its parts that nothing counts."""
    directory = reference.folder / "interrupted"

    def doomed() -> None:
        seals, seal = 0, TrajectoryWriter.seal

        def count(writer: TrajectoryWriter) -> None:
            nonlocal seals
            seals += 1
            if seals == 4:  # of steps 0, 3, 6, 9
                os.kill(os.getpid(), signal.SIGKILL)
            seal(writer)

        TrajectoryWriter.seal = count  # type: ignore[method-assign]
        reference.continue_in(directory)

    assert in_a_child(doomed) == signal.SIGKILL
    assert reference.assert_intact(directory) == 6
    return directory


@pytest.fixture
def copy(interrupted: Path, tmp_path: Path) -> Path:
    shutil.copytree(interrupted, tmp_path / "run")
    return tmp_path / "run"


def sealed(directory: Path) -> dict[str, int]:
    """The parts that trajectory.h5 counts, with how many of their rows it does."""
    with read_trajectory(directory / "trajectory.h5") as trajectory:
        return {file: rows for name in trajectory.elements() for file, rows in trajectory.slices(name)}


def test_what_a_kill_leaves_beyond_the_checkpoint_does_not_matter(reference: Reference, copy: Path) -> None:
    dice = random.Random(1)
    counted = sealed(copy)
    begun = [path for path in (copy / "segments").iterdir() if f"segments/{path.name}" not in counted]
    assert begun
    for path in begun:
        os.truncate(path, dice.randrange(path.stat().st_size))
    for file, rows in counted.items():
        scramble_after(copy / file, rows, dice)
    assert reference.assert_intact(copy) == 6
    assert reference.continue_in(copy) == reference.digest
    reference.assert_complete(copy)


def scramble_after(path: Path, rows: int, dice: random.Random) -> None:
    """Fill the rows after the first ones with random bytes."""
    with h5py.File(path) as file:
        columns = []
        file.visititems(lambda _, item: columns.append(item) if isinstance(item, h5py.Dataset) else None)
        holes = []
        for column in columns:
            size = column.dtype.itemsize * int(np.prod(column.shape[1:]))
            holes.append((column.id.get_offset() + rows * size, (len(column) - rows) * size))
    with path.open("r+b") as file:
        for offset, length in holes:
            file.seek(offset)
            file.write(dice.randbytes(length))


def test_a_sealed_part_that_is_cut_is_named(reference: Reference, copy: Path) -> None:
    part = copy / sorted(sealed(copy))[0]
    content = part.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        part.write_bytes(content[:length])
        with pytest.raises(OutputError, match=f"{part.name}.*--overwrite"):
            reference.continue_in(copy)
    part.write_bytes(content)
    assert reference.continue_in(copy) == reference.digest


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_checkpoint_with_a_wrong_byte_is_replaced_by_the_one_before(
    reference: Reference, interrupted: Path, caplog: pytest.LogCaptureFixture, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(shutil.copytree(interrupted, Path(folder) / "run"))
        path = directory / "checkpoint.h5"
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] ^= data.draw(st.integers(1, 255))
        else:
            del content[place:]
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert reference.assert_intact(directory) == 3
        assert "continuing from checkpoint_previous.h5 at step 3" in caplog.text
        assert reference.continue_in(directory) == reference.digest
        reference.assert_complete(directory)
