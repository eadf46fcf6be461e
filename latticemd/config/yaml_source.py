"""YAML text -> plain values and the line each of them stands on.

Scalars follow YAML 1.2: 1e-3 is a number, 012 is twelve, and yes, on, 1:30 and 2024-01-01 are text. What no input needs
and what has surprised or attacked readers of YAML is refused: duplicate keys, anchors, tags, several documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from latticemd.config.messages import Place, escaped, sentence
from latticemd.errors import InputError

LARGEST_FILE = 2**20  # bytes
DEEPEST = 16  # levels of nesting

_INTEGER = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # type: ignore[dict-item]


@dataclass
class Source:
    """Plain values (dict, list, str, int, float, bool, None) and where each place in them was written."""

    name: str
    data: Any = None
    origins: dict[Place, str] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """'input.yaml:4' of a place, or of the innermost block around it that was written."""
        while place and place not in self.origins:
            place = place[:-1]
        return self.origins.get(place, self.name)

    def error(self, place: Place, message: str) -> InputError:
        """The one form in which problems reach the user."""
        return InputError(f"{self.where(place)}: {sentence(place, message)}")


def read_source(path: Path) -> Source:
    """Read and parse a file. Raises InputError with file and line."""
    name = escaped(str(path), longest=4096)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read: {reason}") from error
    if len(raw) > LARGEST_FILE:
        raise InputError(f"{name}: larger than {LARGEST_FILE // 2**20} MiB; an input is a short text of keys")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: not UTF-8 text; an input is a YAML text file") from error
    return parse_source(text, name)


def parse_source(text: str, name: str, origin: str | None = None) -> Source:
    """Parse one YAML document; every place is said to come from `origin`, or from its line of `name`."""
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{origin or f'{name}:{line}'}: contains a NUL byte; an input is a YAML text file")
    source, loader = Source(name), None
    try:
        loader = yaml.SafeLoader(text)
        _Reader(source, origin).read(iter(loader.get_event, None))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{origin or f'{name}:{line}'}: contains a control character, which YAML forbids") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = origin or (f"{name}:{mark.line + 1}" if mark else name)
        raise InputError(f"{where}: not valid YAML: {_explain(error)}") from error
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF" that stands for no character
        line = loader.line + 1 if loader else 1
        raise InputError(f"{origin or f'{name}:{line}'}: not valid YAML: {escaped(str(error))}") from error
    return source


def scalar(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= 4000 else text  # Python refuses to convert more than 4300 digits
    if _PREFIXED.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return float(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    """Builds values from parser events with an explicit stack, so that no depth of nesting can exhaust Python's."""

    def __init__(self, source: Source, origin: str | None) -> None:
        self.source = source
        self.origin = origin
        self.open: list[tuple[Place, Any]] = []  # blocks being filled, outermost first
        self.key: str | None = None  # the key whose value comes next

    def read(self, events: Iterator[yaml.Event]) -> None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(event, (), "a second document ('---') begins; one file holds one input")
            elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise self.error(event, (), "anchors and aliases (& and *) are not allowed; write the value out")
            elif isinstance(event, yaml.NodeEvent):
                self.take(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()

    def take(self, event: Any) -> None:
        """A scalar, or the beginning of a mapping or list: a key, or a value for the place that is next."""
        if event.tag is not None and event.tag != "!":
            raise self.error(event, (), f"tags such as {escaped(event.tag)} are not allowed; write the plain value")
        if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
            try:  # JSON writes characters beyond the first plane as two escapes
                event.value = event.value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError as error:
                raise self.error(event, (), "an escape sequence stands for no character") from error
        inside = self.open[-1][1] if self.open else None
        if isinstance(inside, dict) and self.key is None:
            self.take_key(event, inside)
            return
        place = self.next_place()
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event.value) if event.implicit[0] and event.style is None else event.value
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        # A key's line is the line of its entry, so a value below its key does not move it.
        self.source.origins.setdefault(place, self.line(event))
        if inside is None:
            self.source.data = value
        elif isinstance(inside, dict):
            inside[self.key] = value
        else:
            inside.append(value)
        self.key = None
        if not isinstance(event, yaml.ScalarEvent):
            if len(self.open) == DEEPEST:
                raise self.error(event, (), f"nested more than {DEEPEST} levels deep")
            self.open.append((place, value))

    def take_key(self, event: Any, inside: dict[str, Any]) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, self.open[-1][0], "a key must be a word, not a list or mapping")
        place = (*self.open[-1][0], event.value)
        if event.value == "<<" and event.style is None:
            raise self.error(event, (), "merge keys (<<) are not allowed; write the keys out")
        if event.value in inside:
            raise self.error(event, place, f"duplicate key; first given at {self.source.origins[place]}")
        self.source.origins[place] = self.line(event)
        self.key = event.value

    def next_place(self) -> Place:
        if not self.open:
            return ()
        place, inside = self.open[-1]
        return (*place, self.key if self.key is not None else len(inside))

    def line(self, event: yaml.Event) -> str:
        return self.origin or f"{self.source.name}:{event.start_mark.line + 1}"  # type: ignore[union-attr]

    def error(self, event: yaml.Event, place: Place, message: str) -> InputError:
        return InputError(f"{self.line(event)}: {sentence(place, message)}")


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = escaped(str(error.problem or error.context))
    if "'\\t'" in problem:
        return "a tab where YAML expects spaces; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a second ': ' on the line, or a wrong indentation; quote text that contains ': '"
    return problem
