"""Small text files that are replaced in one step: the summary of a run, its resolved input."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latticemd.output.directory import write_atomically


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write `summary` as JSON with sorted keys, see `json_text`."""
    write_text_atomically(path, json_text(summary, sort_keys=True))


def json_text(value: Any, *, sort_keys: bool = False) -> str:
    """A value as lines of JSON: floats that read back exactly, null for NaN and infinity.

    Values may be text, numbers, booleans, None, NumPy scalars and arrays, paths, and mappings or sequences of these;
    anything else is a `TypeError`.
    """
    return json.dumps(_plain(value), indent=2, sort_keys=sort_keys, allow_nan=False) + "\n"


def write_text_atomically(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` (UTF-8) in one step."""
    write_atomically(path, text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
