"""The trajectory of a run: H5MD rows that survive a kill at any moment.

Rows go to parts under segments/ (see `latticemd.output.rows`). trajectory.h5 counts them: its datasets are virtual,
they map the first rows of each part by relative file names, and it is replaced atomically whenever the rows are sealed.
What is not yet sealed does not exist for any reader. A finished run copies all rows to one plain trajectory.h5 and
removes segments/; a run that resumes a finished one takes that file as the first part of every element.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np

from latticemd.errors import OutputError, StoppedEarly
from latticemd.output.directory import (
    RunDirectory,
    fsync_directory,
    remove_files,
    replace_atomically,
    stopping_when_full,
    write_atomically,
)
from latticemd.output.h5md import (
    Element,
    Slice,
    Trajectory,
    TrajectoryHeader,
    open_file,
    write_header,
    write_layout,
)
from latticemd.output.rows import Rows
from latticemd.parallel.streamed import Streamed
from latticemd.state import Array

__all__ = ["Trajectory", "TrajectoryHeader", "TrajectoryWriter", "read_trajectory"]

log = logging.getLogger(__name__)

PLAIN_BYTES = 2 * 2**30  # a longer trajectory stays in parts: copying it would double the disk space it needs
_ELEMENT = re.compile(r"particles/\w+/((?!box\b)\w+|box/edges)|observables/\w+(/\w+)?", re.ASCII)
_FINISHED = "segments/finished.h5"


class TrajectoryWriter:
    """Appends rows to DIR/trajectory.h5.

    `resume_step` is None for a new run and the step of the checkpoint for a resumed one: rows after it are cut off.
    A finished run has the same bytes however often it was sealed, killed and resumed, unless it is longer than
    `plain_bytes`: then its rows stay in segments/.

    Each element has a schedule of its own. MDAnalysis, though, takes row k of every observable for frame k and fails if
    there is none: give observables a row at each step with positions, and read values by step from `read_trajectory`.

    Raises `OutputError` if the trajectory to resume is missing or unreadable, and `StoppedEarly`, from every method,
    when the disk is full; what was sealed stays as it is.
    """

    def __init__(
        self,
        directory: RunDirectory,
        header: TrajectoryHeader,
        resume_step: int | None = None,
        plain_bytes: int = PLAIN_BYTES,
    ) -> None:
        self._directory = directory
        self._header = header
        self._plain_bytes = plain_bytes
        self._rows: dict[str, Rows] = {}
        self._open = True
        if resume_step is not None:
            self._rows = self._cut(resume_step)
        self._write_master()
        self._remove_unlisted()
        directory.segments.mkdir(exist_ok=True)

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(
        self, element: str, step: int, time: float, value: Array | Streamed | float, unit: str, time_unit: str = "time"
    ) -> None:
        """Add a row to an element, which begins with its first row, at any step.

        `element` is a path, "particles/<group>/<name>", "observables/<name>" or "observables/<group>/<name>"; `value`
        has the same type and shape in each row; units are words for dimensions. For particles/<group>/position give
        (N, 3) float32 with unit "Angstrom" and time unit "ps", see `latticemd.output.h5md`; its box edges follow it.
        Raises `ValueError` for another kind of path or row, and for a step that is not after the last one.
        """
        if not self._open:
            raise ValueError("the trajectory is closed")
        value = value if isinstance(value, Streamed) else np.asarray(value)
        rows = self._rows.get(element) or self._begin(element, Element.of(value, unit, time_unit))
        if (rows.element.unit, rows.element.time_unit) != (unit, time_unit):
            raise ValueError(
                f"{element} is in {rows.element.unit} over {rows.element.time_unit}, got {unit}, {time_unit}"
            )
        rows.append(step, time, value)
        if element.endswith("/position"):
            # MDAnalysis reads the box frame by frame, and H5MD wants its steps to be those of the positions.
            edges = element.removesuffix("position") + "box/edges"
            self.append(edges, step, time, np.array(self._header.box), unit, time_unit)

    def seal(self) -> None:
        """Make all rows appended so far durable and readable in trajectory.h5; call it before writing a checkpoint."""
        for rows in self._rows.values():
            rows.sync()
        fsync_directory(self._directory.segments)
        self._write_master()

    def finish(self) -> None:
        """Seal, then gather all rows in one plain trajectory.h5; the writer takes no more rows."""
        self.seal()
        self.close()
        if sum(rows.count * rows.element.row_bytes for rows in self._rows.values()) > self._plain_bytes:
            return
        try:
            with replace_atomically(self._directory.trajectory) as path:
                with open_file(path) as file:
                    write_layout(file, self._layout())
                    write_header(file, self._header)
                for name in self._layout():
                    self._rows[name].copy_to(path)
        except StoppedEarly:
            log.warning("disk full: the trajectory is complete, but its rows stay in %s", self._directory.segments)
        else:
            remove_files(self._directory.segments, {".h5"})

    def close(self) -> None:
        """Take no more rows; those that were not sealed are lost. Harmless when repeated."""
        self._open = False

    def _begin(self, name: str, element: Element) -> Rows:
        if not _ELEMENT.fullmatch(name):
            raise ValueError(f"{name!r} is no element: particles/<group>/<name>, observables/[<group>/]<name>")
        for other in self._rows:
            if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
                raise ValueError(f"element {name} and element {other} cannot contain each other")
        self._rows[name] = Rows(self._directory.path, name, element, [], None)
        return self._rows[name]

    def _layout(self) -> dict[str, tuple[Element, int]]:
        return {name: (rows.element, rows.count) for name, rows in self._rows.items() if rows.count}

    def _write_master(self) -> None:
        buffer = io.BytesIO()
        with open_file(buffer) as file:
            write_layout(file, self._layout(), {name: rows.slices for name, rows in self._rows.items()})
            write_header(file, self._header)
        write_atomically(self._directory.trajectory, buffer.getvalue())

    def _remove_unlisted(self) -> None:
        """Remove parts that trajectory.h5 does not list: rows after the cut, or those of an earlier run."""
        listed = {self._directory.path / part.file for rows in self._rows.values() for part in rows.slices}
        for file in set(self._directory.segments.glob("*.h5")) - listed:
            file.unlink()

    def _cut(self, last_step: int) -> dict[str, Rows]:
        """All elements of the trajectory on disk, with the rows up to `last_step`."""
        path = self._directory.trajectory
        advice = "restore it, or start again with --overwrite"
        if not path.exists():
            raise OutputError(f"{path} of the run to resume is missing; {advice}")
        rows = {}
        with Trajectory(path) as found:
            if found.elements() and not found.slices(found.elements()[0]):
                self._take_as_part(path)
            for name in found.elements():
                steps = found.steps(name)
                count = int(np.searchsorted(steps, last_step, side="right"))
                slices = _first_rows(found.slices(name) or [Slice(_FINISHED, len(steps))], count)
                if slices:
                    last = int(steps[count - 1])
                    rows[name] = Rows(self._directory.path, name, found.layout(name), slices, last)
        return rows

    def _take_as_part(self, finished: Path) -> None:
        """Give a finished trajectory a second name under segments/; what else is there is left of a kill."""
        folder = self._directory.segments
        remove_files(folder, {".h5"})
        folder.mkdir(exist_ok=True)
        with stopping_when_full(folder, self._directory.path):
            try:
                os.link(finished, self._directory.path / _FINISHED)
            except OSError:  # a file system without hard links
                shutil.copyfile(finished, self._directory.path / _FINISHED)
        fsync_directory(folder)


class Elsewhere(TrajectoryWriter):
    """The writer of a rank whose files another one writes: it hands over what comes in parts, and that is all."""

    def __init__(self) -> None:
        """No directory."""

    def append(
        self, element: str, step: int, time: float, value: Array | Streamed | float, unit: str, time_unit: str = "time"
    ) -> None:
        """Hand over."""
        if isinstance(value, Streamed):
            value.finish()

    def seal(self) -> None:
        """Nothing is here."""

    def finish(self) -> None:
        """Nothing is here."""

    def close(self) -> None:
        """Nothing is here."""


def _first_rows(slices: list[Slice], count: int) -> list[Slice]:
    kept = []
    for file, rows in slices:
        if count > 0:
            kept.append(Slice(file, min(rows, count)))
        count -= rows
    return kept


def read_trajectory(path: str | Path) -> Trajectory:
    """Open a trajectory, finished or not, for reading."""
    return Trajectory(path)
