"""From a file and `--set` options to a `RunInput`, or to one error that lists everything that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from latticemd.config.messages import KINDS, VALUE, listed, sentence, shown
from latticemd.config.overrides import apply_overrides
from latticemd.config.schema import RunInput
from latticemd.config.yaml_source import Source, parse_source, read_source
from latticemd.errors import InputError

MOST_PROBLEMS = 10  # listed in one error


def load_input(path: Path, overrides: Sequence[str] = (), *, resuming: bool = False) -> RunInput:
    """Read, change by 'key.path=value' overrides, validate and resolve an input file.

    A run that is resumed no longer needs the file it started from, so `resuming` does not ask for it.

    Raises InputError with one line per problem: file and line (or override), key, what was expected.
    """
    source = read_source(Path(path))
    if source.data is None:
        source.data = {}
        if not overrides:
            raise InputError(f"{source.name}: empty; expected keys {listed(RunInput.keys())}")
    if not isinstance(source.data, dict):
        raise source.error((), f"expected keys {listed(RunInput.keys())}, got {shown(source.data)}")
    apply_overrides(source, overrides)
    return _validated(source, Path(path).stem, resuming)


def stored_input(text: str, path: Path) -> RunInput:
    """The resolved input that a file of a run carries as text; `path` names the file in errors."""
    return _validated(parse_source(text, str(path)), path.stem, resuming=True)


def _validated(source: Source, name: str, resuming: bool) -> RunInput:
    try:
        return RunInput.model_validate(source.data, context={"name": name, "resuming": resuming})
    except ValidationError as error:
        raise InputError("\n".join(_lines(source, error))) from None


def _lines(source: Source, error: ValidationError) -> list[str]:
    details = error.errors(include_url=False)
    details.sort(key=lambda detail: KINDS.index(detail["type"] if detail["type"] in KINDS else VALUE))
    lines = [f"{source.where(place)}: {sentence(place, d['msg'])}" for d in details if (place := d["loc"]) is not None]
    if len(lines) > MOST_PROBLEMS:
        return [*lines[:MOST_PROBLEMS], f"... and {len(lines) - MOST_PROBLEMS} more"]
    return lines
