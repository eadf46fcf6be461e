"""Rows that are appended to HDF5 files without HDF5.

A part is an HDF5 file whose structure is complete from its creation: contiguous datasets value, step and time with
room for a number of rows. Rows are then written with pwrite to the place where HDF5 expects them. So a part is a
readable file at every instant, whenever the process is killed, and a full disk is an ordinary error of pwrite. Room
not yet used is a hole in a sparse file and takes no space on disk. How many rows count is written elsewhere: in the
virtual datasets of trajectory.h5.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from latticemd.output.directory import stopping_when_full
from latticemd.output.h5md import COLUMNS, Element, Slice, open_file, write_layout
from latticemd.parallel.streamed import Streamed, parts_of
from latticemd.state import Array

FIRST_ROWS = 64
PART_BYTES = 2**30  # a reader keeps every part open, so a terabyte must not need more than its about 1000 descriptors
_COPY_BYTES = 4 * 2**20


class Rows:
    """The rows of one element, in as many parts as they need; each part doubles the room.

    `folder` is the directory of the run; `slices` are the parts of a run that is resumed, whose last one is filled
    further. Rows after the counted ones are overwritten.
    """

    def __init__(self, folder: Path, name: str, element: Element, slices: list[Slice], last_step: int | None) -> None:
        self.name = name
        self.element = element
        self._folder = folder
        self._full = slices[:-1]
        self._last_step = last_step
        self._part: _Part | None = None
        if slices:
            self._part = _Part(folder, slices[-1].file, name, element, slices[-1].rows)

    @property
    def slices(self) -> list[Slice]:
        """Where all rows are, in order."""
        begun = [Slice(self._part.file, self._part.rows)] if self._part and self._part.rows else []
        return [*self._full, *begun]

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(rows for _, rows in self.slices)

    def append(self, step: int, time: float, value: Array | Streamed) -> None:
        """Add a row. Raises `ValueError` if its type or shape is new, or its step not after the last one."""
        if (value.dtype, value.shape) != (self.element.dtype, self.element.shape):
            raise ValueError(
                f"{self.name} has rows {self.element.dtype}{self.element.shape}, got {value.dtype}{value.shape}"
            )
        if self._last_step is not None and step <= self._last_step:
            raise ValueError(f"{self.name} already has a row at step {self._last_step}, got one at step {step}")
        if self._part is None or self._part.rows == self._part.capacity:
            self._part = self._next_part()
        self._part.append(step, time, value)
        self._last_step = step

    def sync(self) -> None:
        """Make all rows durable."""
        if self._part:
            self._part.sync()

    def copy_to(self, path: Path) -> None:
        """Write all rows to the space set aside for them in another file; see `write_layout`."""
        target = _Part(self._folder, path.name, self.name, self.element, 0)
        for file, rows in self.slices:
            target.extend(_Part(self._folder, file, self.name, self.element, rows))

    def _next_part(self) -> _Part:
        self.sync()
        self._full, self._part = self.slices, None
        rows = min(max(self.count, FIRST_ROWS), max(1, PART_BYTES // self.element.row_bytes))
        file = f"segments/{self.name.replace('/', '.')}.{len(self._full)}.h5"
        path = self._folder / file
        try:
            with stopping_when_full(path, self._folder), open_file(path) as created:
                write_layout(created, {self.name: (self.element, rows)})
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return _Part(self._folder, file, self.name, self.element, 0)


class _Part:
    """The first `rows` of the `capacity` rows of an element in one file, which can have rows of other elements too.

    The file is opened for each access: many replicas have more elements than a process may have open files.
    """

    def __init__(self, folder: Path, file: str, name: str, element: Element, rows: int) -> None:
        self.file = file
        self.rows = rows
        self._folder = folder
        with h5py.File(folder / file, "r") as opened:
            self.capacity = len(opened[f"{name}/step"])
            self._offsets = {column: opened[f"{name}/{column}"].id.get_offset() for column in COLUMNS}
        self._sizes = {
            name: column.dtype.itemsize * math.prod(column.shape) for name, column in element.columns().items()
        }

    def append(self, step: int, time: float, value: Array | Streamed) -> None:
        cells = {"step": struct.pack("<q", step), "time": struct.pack("<d", time)}
        with self._opened(os.O_WRONLY) as descriptor:
            place = self._place("value", self.rows)
            for part in parts_of(value):
                content = part.tobytes()
                _write(descriptor, content, place)
                place += len(content)
            for column, cell in cells.items():
                _write(descriptor, cell, self._place(column, self.rows))
        self.rows += 1

    def extend(self, other: _Part) -> None:
        """Append all rows of another part, a few MiB at a time."""
        with self._opened(os.O_WRONLY) as descriptor, other._opened(os.O_RDONLY) as source:
            for column, size in self._sizes.items():
                begin, target = other._place(column, 0), self._place(column, self.rows)
                for done in range(0, other.rows * size, _COPY_BYTES):
                    length = min(_COPY_BYTES, other.rows * size - done)
                    _write(descriptor, os.pread(source, length, begin + done), target + done)
        self.rows += other.rows

    def sync(self) -> None:
        with self._opened(os.O_RDONLY) as descriptor:  # file systems that allocate late find the disk full only here
            os.fsync(descriptor)

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        path = self._folder / self.file
        with stopping_when_full(path, self._folder):
            descriptor = os.open(path, flags)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def _place(self, column: str, row: int) -> int:
        return self._offsets[column] + row * self._sizes[column]


def _write(descriptor: int, content: bytes, offset: int) -> None:
    data = memoryview(content)
    while data:  # one call of the kernel takes 2 GiB at most
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
