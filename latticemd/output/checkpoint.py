"""Checkpoints: the state a run continues from, verified when it is read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from latticemd.errors import OutputError
from latticemd.output.directory import stopping_when_full, write_atomically
from latticemd.state import Array, Memory, State

log = logging.getLogger(__name__)

FORMAT = 1
_USER_BLOCK = 512  # bytes before the HDF5 part, ignored by HDF5; they hold the sha256 of everything after them

# HDF5 reports damage as OSError, RuntimeError, KeyError or ValueError, wherever it happens to meet it.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)

Extra = Mapping[str, Array | str | int | float]


def write_checkpoint(path: Path, state: State, extra: Extra) -> None:
    """Replace the checkpoint at `path`; the one it replaces becomes `<name>_previous.h5`.

    At every instant one of the two files is a complete checkpoint, also if the one at `path` was found damaged before.
    `extra` is returned by `read_checkpoint` as it is given here: schedule cursors, counters, the resolved input.
    Raises `StoppedEarly` when the disk is full; both files are then as they were.
    """
    content = checkpoint_bytes(state, extra)
    kept = path.with_name(f".{_previous(path).name}.partial")
    kept.unlink(missing_ok=True)
    with stopping_when_full(path, path.parent):
        try:
            if path.exists():
                _second_name(path, kept)
            write_atomically(path, content)
            # Only now: had `path` been damaged, the previous checkpoint was the only good one until this line.
            if kept.exists():
                os.replace(kept, _previous(path))
        except BaseException:
            kept.unlink(missing_ok=True)
            raise


def read_checkpoint(path: Path) -> tuple[State, dict[str, Any]]:
    """The state and the extra values of the checkpoint at `path`, or with a warning of the one before it.

    Numbers and zero-dimensional arrays of `extra` come back as Python numbers. Raises `OutputError` if neither file
    can be read and verified.
    """
    problems = []
    for candidate in (path, _previous(path)):
        try:
            state, extra = _read(candidate)
        except _DAMAGE as error:
            problems.append(f"{candidate.name}: {error}")
            continue
        if problems:
            log.warning("%s; continuing from %s at step %d", problems[0], candidate.name, state.step)
        return state, extra
    raise OutputError(f"{path.parent} has no readable checkpoint ({'; '.join(problems)}); start again with --overwrite")


def is_checkpoint(path: Path) -> bool:
    """Whether a file begins as `checkpoint_bytes` does; other HDF5 files begin with the signature of HDF5."""
    with path.open("rb") as file:
        return re.match(rb"[0-9a-f]{64}\0", file.read(65)) is not None


def read_state(path: Path) -> State:
    """The state in one checkpoint file, such as last_good.h5. Raises `OutputError` if it cannot be read and verified."""
    try:
        return _read(path)[0]
    except _DAMAGE as error:
        raise OutputError(f"{path.name}: {error}") from error


def checkpoint_bytes(state: State, extra: Extra) -> bytes:
    """The file `write_checkpoint` writes. It holds no time of day and no path: the same state gives the same bytes."""
    state = state.on_host()
    values: dict[str, Any] = {
        "state/step": state.step,
        "state/x": state.x,
        "state/p": state.p,
        "state/f": state.f,
        "state/potential": state.potential,
        **{f"state/thermostat/{name}": value for name, value in state.thermostat.items()},
        **{f"state/memory/{name}": value for name, value in _remembered(state.memory).items()},
        **{f"extra/{name}": value for name, value in extra.items()},
    }
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("earliest", "v110"), userblock_size=_USER_BLOCK) as file:
        for name, value in sorted(values.items()):
            file.create_dataset(name, data=value, track_times=False)
        file.attrs["format"] = FORMAT
        file.attrs["state_digest"] = state.digest()
    content = buffer.getvalue()[_USER_BLOCK:]
    return _user_block(content) + content


def _read(path: Path) -> tuple[State, dict[str, Any]]:
    content = path.read_bytes()
    # Before HDF5 sees it: a damaged file can make the library do anything.
    if content[:_USER_BLOCK] != _user_block(content[_USER_BLOCK:]):
        raise ValueError("is damaged: it does not have the sha256 written with it")
    with h5py.File(io.BytesIO(content), "r") as file:
        if file.attrs["format"] != FORMAT:
            raise ValueError(f"has format {file.attrs['format']}, this version reads format {FORMAT}")
        values, digest = _values(file), file.attrs["state_digest"]
    core = _below("state/", values)
    remembered = _below("memory/", core)
    memory = Memory(remembered.get("step", -1), _below("start/", remembered), _below("result/", remembered))
    state = State(core["x"], core["p"], core["f"], core["potential"], core["step"], _below("thermostat/", core), memory)
    if state.digest() != digest:
        raise ValueError("does not have the state digest written with it")
    return state, _below("extra/", values)


def _remembered(memory: Memory) -> dict[str, Any]:
    """Nothing for force fields without memory."""
    if not memory.result:
        return {}
    start, result = ({f"{part}/{name}": value for name, value in values.items()}
                     for part, values in (("start", memory.start), ("result", memory.result)))  # fmt: skip
    return {"step": memory.step, **start, **result}


def _values(file: h5py.File) -> dict[str, Any]:
    values: dict[str, Any] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
            values[name] = value.item() if isinstance(value, np.generic) else value

    file.visititems(collect)
    return values


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _user_block(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode().ljust(_USER_BLOCK, b"\0")


def _second_name(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, other)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}_previous.h5")
