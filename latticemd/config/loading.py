"""From a file and `--set` options to a `RunInput`, or to one error that lists everything that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from latticemd.config.messages import KINDS, VALUE, listed, sentence, shown
from latticemd.config.overrides import apply_overrides
from latticemd.config.schema import RunInput
from latticemd.config.section import Section
from latticemd.config.train_input import TrainInput
from latticemd.config.yaml_source import Source, parse_source, read_source
from latticemd.errors import InputError

MOST_PROBLEMS = 10  # listed in one error

Block = TypeVar("Block", bound=Section)


def load_input(path: Path, overrides: Sequence[str] = (), *, resuming: bool = False) -> RunInput:
    """Read, change by 'key.path=value' overrides, validate and resolve an input file.

    A run that is resumed no longer needs the file it started from, so `resuming` does not ask for it.

    Raises InputError with one line per problem: file and line (or override), key, what was expected.
    """
    return validated(RunInput, input_source(RunInput, path, overrides), Path(path).stem, resuming)


def load_training(path: Path, overrides: Sequence[str] = ()) -> TrainInput:
    """The same for the input of a training."""
    return validated(TrainInput, input_source(TrainInput, path, overrides), Path(path).stem)


def stored_input(text: str, path: Path) -> RunInput:
    """The resolved input that a file of a run carries as text; `path` names the file in errors."""
    return validated(RunInput, parse_source(text, str(path)), path.stem, resuming=True)


def input_source(schema: type[Section], path: Path, overrides: Sequence[str] = ()) -> Source:
    """The plain values of an input file after the overrides, with the line of each; not yet validated."""
    source = read_source(Path(path))
    if source.data is None:
        source.data = {}
        if not overrides:
            raise InputError(f"{source.name}: empty; expected keys {listed(schema.keys())}")
    if not isinstance(source.data, dict):
        raise source.error((), f"expected keys {listed(schema.keys())}, got {shown(source.data)}")
    apply_overrides(source, overrides)
    return source


def validated(schema: type[Block], source: Source, name: str, resuming: bool = False) -> Block:
    """The block that plain values stand for, or one InputError about all that is wrong; `name` is that of the input."""
    try:
        return schema.model_validate(source.data, context={"name": name, "resuming": resuming})
    except ValidationError as error:
        raise InputError("\n".join(_lines(source, error))) from None


def _lines(source: Source, error: ValidationError) -> list[str]:
    details = error.errors(include_url=False)
    details.sort(key=lambda detail: KINDS.index(detail["type"] if detail["type"] in KINDS else VALUE))
    lines = [f"{source.where(place)}: {sentence(place, d['msg'])}" for d in details if (place := d["loc"]) is not None]
    if len(lines) > MOST_PROBLEMS:
        return [*lines[:MOST_PROBLEMS], f"... and {len(lines) - MOST_PROBLEMS} more"]
    return lines
