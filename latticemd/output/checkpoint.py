"""Checkpoints: the state a run continues from, verified when it is read."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np

from latticemd.errors import OutputError
from latticemd.output.directory import replace_atomically, stopping_when_full
from latticemd.parallel.streamed import collected, parts_of, streams, whole_shape
from latticemd.state import Array, Memory, State

if TYPE_CHECKING:
    from latticemd.parallel.share import Share

log = logging.getLogger(__name__)

FORMAT = 1
_FIELDS = ("x", "p", "f")  # of a State: those with a value for each site
_HASHED_BYTES = 2**22  # at a time
_USER_BLOCK = 512  # bytes before the HDF5 part, ignored by HDF5; they hold the sha256 of everything after them

# HDF5 reports damage as OSError, RuntimeError, KeyError or ValueError, wherever it happens to meet it.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)

Extra = Mapping[str, Array | str | int | float]


def write_checkpoint(path: Path, state: State, extra: Extra, share: Share | None = None) -> None:
    """Replace the checkpoint at `path`; the one it replaces becomes `<name>_previous.h5`.

    At every instant one of the two files is a complete checkpoint, also if the one at `path` was found damaged before.
    `extra` is returned by `read_checkpoint` as it is given here: schedule cursors, counters, the resolved input.
    Of a state that several ranks have, each its `share`, all of them take part, and the file is that of a single one.
    Raises `StoppedEarly` when the disk is full; both files are then as they were.
    """
    if share is not None and share.world.rank:
        _fill(None, state, extra, share)
        return
    kept = path.with_name(f".{_previous(path).name}.partial")
    kept.unlink(missing_ok=True)
    with stopping_when_full(path, path.parent):
        try:
            if path.exists():
                _second_name(path, kept)
            write_state(path, state, extra, share)
            # Only now: had `path` been damaged, the previous checkpoint was the only good one until this line.
            if kept.exists():
                os.replace(kept, _previous(path))
        except BaseException:
            kept.unlink(missing_ok=True)
            raise


def write_state(path: Path, state: State, extra: Extra, share: Share | None = None) -> None:
    """Write one checkpoint file, complete or not at all. It holds no time of day and no path: the same state, the same bytes."""
    if share is not None and share.world.rank:
        _fill(None, state, extra, share)
        return
    with replace_atomically(path) as temporary:
        with h5py.File(temporary, "w", libver=("earliest", "v110"), userblock_size=_USER_BLOCK) as file:
            _fill(file, state, extra, share)
        with temporary.open("r+b") as written:
            written.write(_user_block(written))


def read_checkpoint(path: Path, share: Share | None = None) -> tuple[State, dict[str, Any]]:
    """The state and the extra values of the checkpoint at `path`, or with a warning of the one before it.

    Numbers and zero-dimensional arrays of `extra` come back as Python numbers. With a `share`, which any number of ranks may
    have, the state is that part of the whole. Raises `OutputError` if neither file can be read and verified.
    """
    problems = []
    for candidate in (path, _previous(path)):
        problem = _problem(candidate) if share is None or share.world.rank == 0 else ""
        problem = problem if share is None else share.world.told(problem)
        if not problem:
            try:
                state, extra = _read(candidate, share)
            except _DAMAGE as error:
                problem = str(error)
        if problem:
            problems.append(f"{candidate.name}: {problem}")
            continue
        if problems:
            log.warning("%s; continuing from %s at step %d", problems[0], candidate.name, state.step)
        return state, extra
    raise OutputError(f"{path.parent} has no readable checkpoint ({'; '.join(problems)}); start again with --overwrite")


def is_checkpoint(path: Path) -> bool:
    """Whether a file begins as those of `write_state` do; other HDF5 files begin with the signature of HDF5."""
    with path.open("rb") as file:
        return re.match(rb"[0-9a-f]{64}\0", file.read(65)) is not None


def read_state(path: Path) -> State:
    """The state in one checkpoint file, such as last_good.h5. Raises `OutputError` if it cannot be read and verified."""
    problem = _problem(path)
    if problem:
        raise OutputError(f"{path.name}: {problem}")
    try:
        return _read(path)[0]
    except _DAMAGE as error:
        raise OutputError(f"{path.name}: {error}") from error


def _fill(file: h5py.File | None, state: State, extra: Extra, share: Share | None) -> None:
    """Write state and extra values to a file; without one, hand over what the first rank writes."""
    state = state.on_host()
    values: dict[str, Any] = {
        "state/step": state.step,
        "state/potential": collected(state.potential, share),
        **{f"state/thermostat/{name}": collected(value, share) for name, value in sorted(state.thermostat.items())},
        **{
            f"state/memory/{name}": collected(value, share) if isinstance(value, np.ndarray) else value
            for name, value in sorted(_remembered(state.memory).items())
        },
        **{f"extra/{name}": value for name, value in extra.items()},
    }
    for name, value in sorted(values.items()):
        if file is not None:
            file.create_dataset(name, data=value, track_times=False)
    for name in _FIELDS:
        field = getattr(state, name)
        dataset = file and file.create_dataset(
            f"state/{name}", whole_shape(field, share), dtype=field.dtype, track_times=False
        )
        for replica, one in streams(field, share):
            begin = 0
            for part in parts_of(one):
                if dataset is not None:
                    dataset[replica, begin : begin + len(part)] = part
                begin += len(part)
    digest = state.digest(share)
    if file is not None:
        file.attrs["format"] = FORMAT
        file.attrs["state_digest"] = digest


def _problem(path: Path) -> str:
    """What is wrong with a file, before HDF5 sees it: a damaged one can make the library do anything."""
    try:
        with path.open("rb") as file:
            if file.read(_USER_BLOCK) != _user_block(file):
                return "is damaged: it does not have the sha256 written with it"
    except OSError as error:
        return str(error)
    return ""


def _read(path: Path, share: Share | None = None) -> tuple[State, dict[str, Any]]:
    with h5py.File(path, "r") as file:
        if file.attrs["format"] != FORMAT:
            raise ValueError(f"has format {file.attrs['format']}, this version reads format {FORMAT}")
        values, digest = _values(file, share), file.attrs["state_digest"]
    core = _below("state/", values)
    remembered = _below("memory/", core)
    memory = Memory(remembered.get("step", -1), _below("start/", remembered), _below("result/", remembered))
    state = State(core["x"], core["p"], core["f"], core["potential"], core["step"], _below("thermostat/", core), memory)
    if state.digest(share) != digest:
        raise ValueError("does not have the state digest written with it")
    return state, _below("extra/", values)


def _remembered(memory: Memory) -> dict[str, Any]:
    """Nothing for force fields without memory."""
    if not memory.result:
        return {}
    start, result = ({f"{part}/{name}": value for name, value in values.items()}
                     for part, values in (("start", memory.start), ("result", memory.result)))  # fmt: skip
    return {"step": memory.step, **start, **result}


def _values(file: h5py.File, share: Share | None) -> dict[str, Any]:
    values: dict[str, Any] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if share is not None and name.startswith("state/") and item.ndim:
            of_sites = name.removeprefix("state/") in _FIELDS
            values[name] = share.taken(item) if of_sites else share.replicas_taken(item)
            return
        value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
        values[name] = value.item() if isinstance(value, np.generic) else value

    file.visititems(collect)
    return values


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _user_block(file: BinaryIO) -> bytes:
    """The user block that belongs to the rest of a file; leaves the file at its beginning."""
    file.seek(_USER_BLOCK)
    digest = hashlib.sha256()
    while part := file.read(_HASHED_BYTES):
        digest.update(part)
    file.seek(0)
    return digest.hexdigest().encode().ljust(_USER_BLOCK, b"\0")


def _second_name(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, other)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}_previous.h5")
