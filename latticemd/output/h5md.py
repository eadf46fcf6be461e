"""The layout of a trajectory file: H5MD 1.1 (https://nongnu.org/h5md/h5md.html), written and read.

    h5md                            version [1, 1], author, creator
    particles/<group>/box           dimension 3, boundary, edges
    particles/<group>/<element>     value (frames, ...), step (frames,), time (frames,)
    observables/<element>           value (frames, ...), step (frames,), time (frames,)
    parameters                      replicas, the resolved input, model, precision, backend

Every element has its own steps and times, and `unit` on value and time. Units are words for dimensions ("length",
"energy", "time"), as the engine has no unit of its own. One element is written for viewers, which know physical units
only: particles/<group>/position, float32 of shape (frames, N, 3), in "Angstrom" over "ps", where one lattice constant
is drawn as 1 Angstrom and one model time unit as 1 ps. Its box is three-dimensional for every lattice.

All datasets are contiguous: a file is then the same bytes however its rows arrived, and the place of a row in the
file is known before the row is (see `latticemd.output.rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np

from latticemd.errors import OutputError
from latticemd.lattice import Lattice
from latticemd.parallel.streamed import Streamed
from latticemd.state import Array

# Formats that HDF5 1.10, the first with virtual datasets, can read; newer ones would store the time of day in groups.
LIBVER = ("earliest", "v110")

COLUMNS = ("value", "step", "time")
_TYPES = {"<f4", "<f8", "<c8", "<c16", "<i4", "<i8", "|i1", "|u1"}


@dataclass(frozen=True)
class TrajectoryHeader:
    """What a trajectory file says about itself.

    ============  ======================================================================================
    `version`     of latticemd, the creator
    `author`      who ran it
    `box`         three edge lengths in lattice constants, or three edge vectors as rows where they are not along x, y, z
    `replicas`    number R of independent copies
    `provenance`  name -> text, stored under parameters/: the resolved input, model, precision, backend
    `boundary`    "periodic" or "none" for each of the three directions
    ============  ======================================================================================
    """

    version: str
    author: str
    box: Sequence[float] | Sequence[Sequence[float]]
    replicas: int
    provenance: Mapping[str, str]
    boundary: tuple[str, str, str] = ("periodic", "periodic", "none")


def box_of(lattice: Lattice) -> tuple[list[float] | list[list[float]], tuple[str, str, str]]:
    """Edges of the box in three dimensions, lengths where they lie along x, y, z and vectors otherwise, and boundaries.

    Across the grid, and in dimensions that the lattice does not have, the box is open and one length wider than the cell.
    """
    d, space = lattice.directions, lattice.dimensions
    extent = np.concatenate([lattice.shape, 1.0 + np.ptp(lattice.cell.coordinates[:, d:], axis=0)])
    rows = np.eye(3)
    rows[:space, :space] = extent[:, None] * lattice.cell.frame
    closed = [*lattice.periodic, *(False for _ in range(3 - d))]
    first, second, third = ("periodic" if around else "none" for around in closed)
    edges = np.diagonal(rows) if np.array_equal(rows, np.diag(np.diagonal(rows))) else rows
    return edges.tolist(), (first, second, third)


class Column(NamedTuple):
    """One dataset of an element: type and shape of a row, and its unit."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    unit: str | None


@dataclass(frozen=True)
class Element:
    """What the rows of an element look like: type and shape of one value, units of value and time."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    unit: str
    time_unit: str

    @classmethod
    def of(cls, value: Array | Streamed, unit: str, time_unit: str) -> Element:
        """The element whose first value is `value`. Raises `ValueError` for a type that other tools would not read."""
        if value.dtype.str not in _TYPES:
            raise ValueError(f"rows of type {value.dtype} cannot be written, only {', '.join(sorted(_TYPES))}")
        return cls(value.dtype, value.shape, unit, time_unit)

    def columns(self) -> dict[str, Column]:
        """The three datasets value, step and time."""
        return {
            "value": Column(self.dtype, self.shape, self.unit),
            "step": Column(np.dtype("<i8"), (), None),
            "time": Column(np.dtype("<f8"), (), self.time_unit),
        }

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: value, step and time."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64)) + 16


class Slice(NamedTuple):
    """The first `rows` rows of an element in another file, named relative to the directory of the trajectory."""

    file: str
    rows: int


def write_layout(
    file: h5py.File, elements: Mapping[str, tuple[Element, int]], sources: Mapping[str, Sequence[Slice]] | None = None
) -> None:
    """Create the datasets of all `elements`, name -> (element, number of rows).

    Their rows are those of `sources`, name -> slices; without sources space for them is set aside and left unwritten.
    """
    for name, (element, rows) in sorted(elements.items()):
        for part, column in element.columns().items():
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            if sources is None:
                properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            else:
                _map(properties, f"{name}/{part}", column.shape, rows, sources[name])
            dataset = file.create_dataset(
                f"{name}/{part}", (rows, *column.shape), column.dtype, dcpl=properties, track_times=False
            )
            if column.unit is not None:
                dataset.attrs["unit"] = column.unit


def _map(properties: Any, dataset: str, shape: tuple[int, ...], rows: int, slices: Sequence[Slice]) -> None:
    """Make a dataset virtual: `slices` of the dataset of the same name in other files, one after the other."""
    space = h5py.h5s.create_simple((rows, *shape))
    first = 0
    for file, count in slices:
        source = h5py.h5s.create_simple((count, *shape))
        source.select_hyperslab((0,) * (1 + len(shape)), (count, *shape))
        space.select_hyperslab((first, *(0,) * len(shape)), (count, *shape))
        properties.set_virtual(space, file.encode(), dataset.encode(), source)
        first += count


def write_header(file: h5py.File, header: TrajectoryHeader) -> None:
    """Write everything but the rows; call it after `write_layout`, since each particle group needs a box."""
    text = h5py.string_dtype()
    h5md = file.require_group("h5md")
    h5md.attrs["version"] = np.array([1, 1], dtype="<i4")
    h5md.create_group("author").attrs["name"] = header.author
    creator = h5md.create_group("creator")
    creator.attrs["name"] = "latticemd"
    creator.attrs["version"] = header.version
    for group in file.get("particles", {}).values():
        box = group.require_group("box")
        box.attrs["dimension"] = np.int32(3)
        box.attrs["boundary"] = np.array(header.boundary, dtype=text)
        if "edges" not in box:
            box.create_dataset("edges", data=np.array(header.box), track_times=False).attrs["unit"] = "length"
    parameters = file.require_group("parameters")
    parameters.create_dataset("replicas", data=header.replicas, track_times=False)
    for name, value in sorted(header.provenance.items()):
        # A dataset and not an attribute, because an input file can be longer than the 64 KiB of an attribute.
        parameters.create_dataset(name, data=value, dtype=text, track_times=False)


class Trajectory:
    """Read access to a trajectory file, finished or not. Use it as a context manager, or `close` it.

    Raises `OutputError` if the file cannot be read, or if it needs files of segments/ that did not travel with it or are cut.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read as a trajectory: {error}") from error
        try:
            self._elements = _find_elements(self._file)
            self._refuse_missing_parts()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; datasets from `value` cannot be read any more."""
        self._file.close()

    def elements(self) -> list[str]:
        """Paths of all elements, sorted."""
        return sorted(self._elements)

    def steps(self, element: str) -> Array:
        """Steps of the rows of an element, (frames,) int64."""
        return self._file[f"{element}/step"][...]

    def times(self, element: str) -> Array:
        """Times of the rows of an element, (frames,) float64."""
        return self._file[f"{element}/time"][...]

    def value(self, element: str) -> h5py.Dataset:
        """The values of an element, (frames, ...), as a dataset: index it to read the frames you need."""
        return self._file[f"{element}/value"]

    def layout(self, element: str) -> Element:
        """Type and shape of a value of an element, and its units."""
        return self._elements[element]

    def slices(self, element: str) -> list[Slice]:
        """Which rows of which files make up an element of an unfinished run; empty if they are in this file."""
        step = self._file[f"{element}/step"]
        if not step.is_virtual:
            return []
        return [Slice(part.file_name, part.vspace.get_select_npoints()) for part in step.virtual_sources()]

    @property
    def attributes(self) -> dict[str, Any]:
        """Author, creator and version, and the parameters the run was started with."""
        h5md = self._file["h5md"]
        parameters = {
            name: item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()].item()
            for name, item in self._file["parameters"].items()
        }
        return {
            "author": h5md["author"].attrs["name"],
            "creator": h5md["creator"].attrs["name"],
            "version": h5md["creator"].attrs["version"],
            **parameters,
        }

    def _refuse_missing_parts(self) -> None:
        # HDF5 itself would answer with fill values and no error.
        for file in sorted({file for element in self._elements for file, _ in self.slices(element)}):
            part = self.path.parent / file
            if not part.exists():
                raise OutputError(f"{self.path} needs {file} beside it: copy the whole directory of an unfinished run")
            try:
                h5py.File(part, "r").close()
            except OSError as error:
                raise OutputError(
                    f"{part}, with rows of {self.path}, is damaged: {error}; restore it, or start again with --overwrite"
                ) from error


def _find_elements(file: h5py.File) -> dict[str, Element]:
    found: dict[str, Element] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and all(column in item for column in COLUMNS):
            value, time = item["value"], item["time"]
            found[name] = Element(value.dtype, value.shape[1:], value.attrs["unit"], time.attrs["unit"])

    file.visititems(collect)
    return found


def open_file(target: Path | BinaryIO) -> h5py.File:
    """A new, empty HDF5 file in the format all trajectory files use."""
    return h5py.File(target, "w", libver=LIBVER)
