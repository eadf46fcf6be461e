"""What a run leaves on disk is complete up to the last checkpoint, whenever and however the run was stopped."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd.errors import OutputError, StoppedEarly
from latticemd.output.checkpoint import read_checkpoint, write_checkpoint, write_state
from latticemd.output.directory import RunDirectory, replace_atomically
from latticemd.output.summary import write_summary, write_text_atomically
from latticemd.output.trajectory import TrajectoryHeader, TrajectoryWriter, read_trajectory
from latticemd.state import State

HEADER = TrajectoryHeader("0.1.0", "A. Physicist", (4.0, 4.0, 1.0), 2, {"input": "steps: 100\n", "model": "holstein"})

# element -> (first step, every so many steps, shape, type, units)
SCHEDULES = {
    "observables/energy/potential": (0, 1, (2,), "f8", ("energy", "time")),
    "observables/temperature": (0, 2, (), "f8", ("energy", "time")),
    "particles/lattice/displacement": (0, 3, (2, 16, 1), "f8", ("length", "time")),
    "particles/lattice/density": (17, 5, (2, 16), "f4", ("1", "time")),
    "particles/lattice/position": (0, 3, (16, 3), "f4", ("Angstrom", "ps")),
}


@functools.cache
def row(element: str, step: int) -> np.ndarray:
    _, _, shape, kind, _ = SCHEDULES[element]
    return np.asarray(np.random.default_rng([step, len(element)]).normal(size=shape)).astype(kind)


def rows_until(step: int) -> dict[str, list[int]]:
    return {e: list(range(first, step + 1, every)) for e, (first, every, *_) in SCHEDULES.items()}


def append_step(writer: TrajectoryWriter, step: int) -> None:
    for element, (first, every, _, _, units) in SCHEDULES.items():
        if step >= first and (step - first) % every == 0:
            writer.append(element, step, 0.05 * step, row(element, step), *units)


def assert_holds(path: Path, step: int) -> None:
    """The trajectory holds every row up to `step`; rows after it may be there, but whole and at the right steps."""
    with read_trajectory(path) as trajectory:
        for element, steps in rows_until(step).items():
            if not steps:
                continue
            found = trajectory.steps(element)
            assert found[: len(steps)].tolist() == steps
            np.testing.assert_array_equal(trajectory.times(element), 0.05 * found)
            for k, at in enumerate(found):
                np.testing.assert_array_equal(trajectory.value(element)[k], row(element, at))


def state_at(step: int) -> State:
    rng = np.random.default_rng(step)
    x, p, f = rng.normal(size=(3, 2, 16, 1))
    return State(x, p, f, rng.normal(size=2), step, {"heat": rng.normal(size=2), "chain/eta": rng.normal(size=(2, 3))})


def run(path: Path, steps: int, checkpoint_every: int = 7) -> None:
    """A whole run; continues from a checkpoint if there is one."""
    resume = any((path / name).exists() for name in ("checkpoint.h5", "checkpoint_previous.h5"))
    with RunDirectory(path, resume=resume, overwrite=not resume) as directory:
        step = read_checkpoint(directory.checkpoint)[0].step if resume else None
        with TrajectoryWriter(directory, HEADER, step) as writer:
            for now in range(0 if step is None else step + 1, steps + 1):
                append_step(writer, now)
                if now % checkpoint_every == 0:
                    writer.seal()
                    write_checkpoint(directory.checkpoint, state_at(now), {"cursor": now})
            writer.seal()
            write_checkpoint(directory.checkpoint, state_at(steps), {"cursor": steps})
            writer.finish()


@pytest.fixture(scope="module", autouse=True)
def _small_parts() -> Iterator[None]:
    """Many parts from few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latticemd.output.rows.FIRST_ROWS", 4)
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "run"
    run(path, 100)
    return path


# --- the trajectory -------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    seals=st.sets(st.integers(0, 100)), stops=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3)
)
def test_a_finished_trajectory_does_not_remember_how_it_was_cut(
    uninterrupted: Path, seals: set[int], stops: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder) / "run") as directory:
        begin: int | None = None
        for stop, back in [*sorted(stops), (100, 0)]:
            with TrajectoryWriter(directory, HEADER, begin) as writer:
                for step in range(0 if begin is None else begin + 1, stop + 1):
                    append_step(writer, step)
                    if step in seals:
                        writer.seal()
                # Every other stop is one after a finished run, that is now continued.
                (writer.finish if stop % 2 == 0 else writer.seal)()
            assert_holds(directory.trajectory, stop)
            begin = max(0, stop - back % 10)
        with TrajectoryWriter(directory, HEADER, 100) as writer:
            writer.finish()
        assert not directory.segments.exists()
        assert_holds(directory.trajectory, 100)
        assert directory.trajectory.read_bytes() == (uninterrupted / "trajectory.h5").read_bytes()


def test_rows_after_the_checkpoint_are_cut(tmp_path: Path, uninterrupted: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        with TrajectoryWriter(directory, HEADER) as writer:
            for step in range(91):
                append_step(writer, step)
            writer.seal()
        with TrajectoryWriter(directory, HEADER, 10) as writer:
            with read_trajectory(directory.trajectory) as trajectory:
                assert trajectory.steps("observables/energy/potential").tolist() == list(range(11))
                assert "particles/lattice/density" not in trajectory.elements()
                assert {file for e in trajectory.elements() for file, _ in trajectory.slices(e)} == {
                    f"segments/{file.name}" for file in directory.segments.iterdir()
                }
            for step in range(11, 101):
                append_step(writer, step)
            writer.finish()
        assert directory.trajectory.read_bytes() == (uninterrupted / "trajectory.h5").read_bytes()


def test_an_unfinished_trajectory_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory(tmp_path / "run") as directory, TrajectoryWriter(directory, HEADER) as writer:
        for step in range(91):
            append_step(writer, step)
        writer.seal()
        shutil.copytree(directory.path, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "run")
    monkeypatch.chdir("/")
    assert_holds(tmp_path / "elsewhere" / "trajectory.h5", 90)
    shutil.rmtree(tmp_path / "elsewhere" / "segments")
    with pytest.raises(OutputError, match="copy the whole directory"):
        read_trajectory(tmp_path / "elsewhere" / "trajectory.h5")


def test_a_trajectory_above_the_limit_stays_in_parts(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        for begin, end in ((None, 50), (50, 100)):
            with TrajectoryWriter(directory, HEADER, begin, plain_bytes=1000) as writer:
                for step in range(0 if begin is None else begin + 1, end + 1):
                    append_step(writer, step)
                writer.finish()
        assert directory.segments.exists()
        assert_holds(directory.trajectory, 100)


def test_the_file_is_h5md(uninterrupted: Path) -> None:
    with h5py.File(uninterrupted / "trajectory.h5") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert file["h5md/creator"].attrs["name"] == "latticemd"
        assert file["h5md/creator"].attrs["version"] == "0.1.0"
        assert file["h5md/author"].attrs["name"] == "A. Physicist"
        box = file["particles/lattice/box"]
        assert box.attrs["dimension"] == 3
        assert box.attrs["boundary"].tolist() == ["periodic", "periodic", "none"]
        np.testing.assert_array_equal(box["edges/step"], file["particles/lattice/position/step"])
        for element, (*_, units) in SCHEDULES.items():
            assert (file[element]["value"].attrs["unit"], file[element]["time"].attrs["unit"]) == units
    with read_trajectory(uninterrupted / "trajectory.h5") as trajectory:
        assert trajectory.attributes["input"] == "steps: 100\n"
        assert trajectory.attributes["replicas"] == 2


def test_mdanalysis_reads_it_finished_or_not(uninterrupted: Path, tmp_path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis", reason="checks that a reader we did not write opens the trajectory")
    with RunDirectory(tmp_path / "run") as directory, TrajectoryWriter(directory, HEADER) as writer:
        for step in range(101):
            for element in ("particles/lattice/position", "observables/energy/potential"):
                *_, units = SCHEDULES[element]
                writer.append(element, step, 0.05 * step, row(element, step), *units)
        writer.seal()
        universe = mda.Universe.empty(n_atoms=16, trajectory=True)
        universe.load_new(str(directory.trajectory), format="H5MD")
        assert len(universe.trajectory) == 101
        for frame in universe.trajectory:
            np.testing.assert_array_equal(frame.positions, row("particles/lattice/position", frame.frame))
            assert frame.dimensions.tolist() == [4, 4, 1, 90, 90, 90]
            assert frame.time == pytest.approx(0.05 * frame.frame)
        universe.trajectory.close()
        writer.finish()
        assert len(universe.load_new(str(directory.trajectory), format="H5MD").trajectory) == 101
        universe.trajectory.close()


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    energy, scalar = "observables/energy", np.float64(1)
    with RunDirectory(tmp_path / "run") as directory, TrajectoryWriter(directory, HEADER) as writer:
        writer.append(energy, 3, 0.3, scalar, "energy")
        with pytest.raises(ValueError, match="already has a row at step 3"):
            writer.append(energy, 3, 0.3, scalar, "energy")
        with pytest.raises(ValueError, match=r"has rows float64\(\), got float64\(2,\)"):
            writer.append(energy, 4, 0.4, np.ones(2), "energy")
        with pytest.raises(ValueError, match="is in energy"):
            writer.append(energy, 4, 0.4, scalar, "length")
        with pytest.raises(ValueError, match="cannot contain each other"):
            writer.append("observables/energy/kinetic", 4, 0.4, scalar, "energy")
        with pytest.raises(ValueError, match="no element"):
            writer.append("observables/a/b/c", 4, 0.4, scalar, "energy")
        with pytest.raises(ValueError, match="cannot be written"):
            writer.append("observables/flag", 4, 0.4, np.bool_(True), "1")


def test_resuming_without_the_trajectory_is_refused(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory, pytest.raises(OutputError, match="is missing"):
        TrajectoryWriter(directory, HEADER, 10)


def test_there_can_be_more_elements_than_open_files(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with RunDirectory(tmp_path / "run") as directory, TrajectoryWriter(directory, HEADER) as writer:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, limit[1]))
            for replica in range(100):
                writer.append(f"particles/replica_{replica}/momentum", 1, 0.1, np.ones(4), "momentum")
            writer.finish()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        with read_trajectory(directory.trajectory) as trajectory:
            assert len(trajectory.elements()) == 100


# --- kills ----------------------------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], None]) -> int:
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


def killed_at_call(path: Path, steps: int, number: int) -> bool:
    """Run until just before call `number` that changes the name of a file; False if the run ended before."""

    def work() -> None:
        count = 0
        for name in ("replace", "link", "unlink", "mkdir", "rmdir"):

            def counted(*args: object, original: Callable[..., object] = getattr(os, name)) -> object:  # noqa: B008
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args)

            setattr(os, name, counted)
        run(path, steps, checkpoint_every=6)

    status = in_a_child(work)
    assert status in (0, signal.SIGKILL)
    return status != 0


def assert_intact(path: Path) -> None:
    if (path / "checkpoint.h5").exists():
        state, extra = read_checkpoint(path / "checkpoint.h5")
        assert extra["cursor"] == state.step
        assert_holds(path / "trajectory.h5", state.step)


@pytest.mark.parametrize("begin", ["new", "finished", "rows beyond the checkpoint"])
def test_a_run_killed_between_any_two_changes_of_its_files_continues_as_if_nothing_had_happened(
    tmp_path: Path, begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for element in set(SCHEDULES) - {"observables/energy/potential", "particles/lattice/position"}:
        monkeypatch.delitem(SCHEDULES, element)
    start, whole = tmp_path / "start", tmp_path / "whole"
    run(whole, 12, checkpoint_every=6)
    if begin == "finished":
        run(start, 7, checkpoint_every=6)
    if begin == "rows beyond the checkpoint":
        with RunDirectory(start) as directory, TrajectoryWriter(directory, HEADER) as writer:
            for step in range(13):
                append_step(writer, step)
            writer.seal()
            write_checkpoint(directory.checkpoint, state_at(2), {"cursor": 2})
    number, killed = 0, True
    while killed:
        number += 1
        path = tmp_path / f"run{number}"
        if start.exists():
            shutil.copytree(start, path)
        killed = killed_at_call(path, 12, number)
        assert_intact(path)
        run(path, 12, checkpoint_every=6)
        assert {file.name for file in path.iterdir()} == {"checkpoint.h5", "checkpoint_previous.h5", "trajectory.h5"}
        for file in ("trajectory.h5", "checkpoint.h5"):
            assert (path / file).read_bytes() == (whole / file).read_bytes()
    assert number > 20


def test_a_run_killed_at_random_times_continues_as_if_nothing_had_happened(tmp_path: Path, uninterrupted: Path) -> None:
    path, dice = tmp_path / "run", random.Random(1)
    for _ in range(10):
        child = os.fork()
        if child == 0:
            run(path, 100, checkpoint_every=9)
            os._exit(0)
        time.sleep(dice.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert_intact(path)
    run(path, 100, checkpoint_every=9)
    assert (path / "trajectory.h5").read_bytes() == (uninterrupted / "trajectory.h5").read_bytes()


# --- the directory --------------------------------------------------------------------------------------------------


def test_only_one_process_uses_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "run"
    script = (
        "import sys, time; from latticemd.output.directory import RunDirectory\n"
        "with RunDirectory(sys.argv[1]): print('inside', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "inside\n"
        with pytest.raises(OutputError, match=f"in use by process {other.pid} on "), RunDirectory(path):
            pass
        other.kill()
        other.wait()
    with RunDirectory(path):  # the kernel dropped the lock with the process
        pass
    assert list(path.iterdir()) == []


def test_an_existing_run_is_kept_unless_told_otherwise(tmp_path: Path, uninterrupted: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(uninterrupted, path)
    for foreign in (path / "notes.txt", path / "figures" / "notes.txt", path / "figures" / "energy.png"):
        foreign.parent.mkdir(exist_ok=True)
        foreign.write_text("mine")
    (path / "input.yaml").write_text("steps: 100")
    advice = r"already holds a run; use --resume .* --overwrite .* --output"
    with pytest.raises(OutputError, match=advice), RunDirectory(path):
        pass
    assert (path / "trajectory.h5").exists()
    with RunDirectory(path, resume=True):
        pass
    assert (path / "trajectory.h5").exists()
    with RunDirectory(path, overwrite=True):
        pass
    left = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert left == {"input.yaml", "notes.txt", "figures/notes.txt"}


def test_a_directory_of_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="not empty"), RunDirectory(tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="no run to resume"), RunDirectory(tmp_path, resume=True):
        pass
    with RunDirectory(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    with pytest.raises(OutputError, match="give one of them"):
        RunDirectory(tmp_path, overwrite=True, resume=True)


def test_unusable_paths_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="is or lies below a file"), RunDirectory(path):
            pass

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)  # file modes do not stop root, who may be running this
    with pytest.raises(OutputError, match="cannot be written: Permission denied"), RunDirectory(tmp_path / "run"):
        pass


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "input.yaml", "old")
    with pytest.raises(TypeError), replace_atomically(tmp_path / "input.yaml") as temporary:
        temporary.write_bytes("text")  # type: ignore[arg-type]
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("input.yaml", "old")]


# --- checkpoints and the summary ------------------------------------------------------------------------------------


def test_a_checkpoint_gives_back_what_was_written(tmp_path: Path) -> None:
    extra = {"cursor/energy": 7, "wall": 1.5, "input": "steps: 1\n", "window": np.arange(6.0).reshape(2, 3)}
    write_checkpoint(tmp_path / "checkpoint.h5", state_at(3), extra)
    state, found = read_checkpoint(tmp_path / "checkpoint.h5")
    assert state.digest() == state_at(3).digest()
    np.testing.assert_array_equal(state.f, state_at(3).f)
    np.testing.assert_array_equal(state.potential, state_at(3).potential)
    assert {name: value for name, value in found.items() if name != "window"} == {
        name: value for name, value in extra.items() if name != "window"
    }
    np.testing.assert_array_equal(found["window"], extra["window"])


def test_the_same_state_gives_the_same_checkpoint_at_any_time(tmp_path: Path) -> None:
    write_state(tmp_path / "before.h5", state_at(3), {"cursor": 1})
    time.sleep(1.1)
    write_state(tmp_path / "after.h5", state_at(3), {"cursor": 1})
    assert (tmp_path / "after.h5").read_bytes() == (tmp_path / "before.h5").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_previous_one(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoint.h5"
    for step in (1, 2):
        write_checkpoint(path, state_at(step), {})
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    damaged = {"cut": content[:-50], "flipped": content, "empty": b""}
    path.unlink()
    if damage in damaged:
        path.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(path)[0].step == 1
    assert "continuing from checkpoint_previous.h5 at step 1" in caplog.text
    path.with_name("checkpoint_previous.h5").unlink()
    with pytest.raises(OutputError, match="no readable checkpoint"):
        read_checkpoint(path)


def test_the_summary_is_json_with_exact_numbers(tmp_path: Path) -> None:
    third, shape = np.float64(1 / 3), np.array([3, 4])
    summary = {"energy": 0.1 + 0.2, "drift": float("nan"), "mean": third, "shape": shape, "a": {"b": ()}}
    write_summary(tmp_path / "summary.json", summary)
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text) == {"energy": 0.1 + 0.2, "drift": None, "mean": 1 / 3, "shape": [3, 4], "a": {"b": []}}
    assert list(json.loads(text)) == sorted(summary)


# --- a full disk ----------------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
from pathlib import Path
from test_output import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, limit = Path(sys.argv[1]), int(sys.argv[2])
with RunDirectory(path, overwrite=True) as directory, TrajectoryWriter(directory, HEADER) as writer:
    try:
        for step in range(101):
            append_step(writer, step)
            if step % 7 == 0:
                writer.seal()
                write_checkpoint(directory.checkpoint, state_at(step), {"cursor": step})
            if step == 30:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    except StoppedEarly as stop:
        sys.exit(f"{stop.exit_code} {stop}")
"""


@pytest.mark.parametrize("limit", [0, 5000, 15_000, 20_000])
def test_a_full_disk_stops_the_run_with_everything_up_to_the_checkpoint(
    tmp_path: Path, limit: int, uninterrupted: Path
) -> None:
    path = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(limit)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stderr.startswith("75 disk full"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "free space and run with --resume" in done.stderr
    assert not list(path.glob(".*"))
    assert_intact(path)
    run(path, 100)
    assert (path / "trajectory.h5").read_bytes() == (uninterrupted / "trajectory.h5").read_bytes()


def test_a_full_disk_while_finishing_leaves_the_trajectory_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with RunDirectory(tmp_path / "run") as directory, TrajectoryWriter(directory, HEADER) as writer:
        for step in range(51):
            append_step(writer, step)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            writer.finish()
        assert "the trajectory is complete, but its rows stay in" in caplog.text
        assert_holds(directory.trajectory, 50)
        with TrajectoryWriter(directory, HEADER, 50) as again:
            with monkeypatch.context() as patch:
                patch.setattr(os, "pwrite", full)
                with pytest.raises(StoppedEarly, match="no checkpoint was written yet"):
                    again.append("observables/first", 51, 2.55, 1.0, "energy")
            again.finish()
        assert_holds(directory.trajectory, 50)
