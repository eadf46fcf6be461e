"""How problems with the input are worded, and how they travel through pydantic to the user.

Validators call `refuse`; whatever they refuse keeps its place in the input (a tuple of keys and indices), so that
`sentence` can be put behind a file name and a line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from latticemd.plugins import nearest

# Kinds of problems, most useful first: an unknown key often explains the missing one.
UNKNOWN, VALUE, MISSING = "unknown_key", "value", "missing_key"
KINDS = (UNKNOWN, VALUE, MISSING)

LONGEST_SHOWN = 60  # characters of a value or key in a message

Place = tuple[str | int, ...]


def refuse(message: str, *place: str | int, kind: str = VALUE) -> NoReturn:
    """Fail validation with `message`, at `place` relative to what is being validated."""
    raise ValidationError.from_exception_data("input", [problem(kind, place, message)])


def problem(kind: str, place: Place, message: str) -> InitErrorDetails:
    """One problem, as pydantic carries it."""
    # The message goes in as a value, not as the template: users may write braces.
    return InitErrorDetails(type=PydanticCustomError(kind, "{message}", {"message": message}), loc=place, input=None)


def sentence(place: Place, message: str) -> str:
    """'dynamics.dt: expected ...', or the message alone when the problem is the input as a whole."""
    return f"{dotted(place)}: {message}" if place else message


def dotted(place: Place) -> str:
    """A place as users write it in --set: keys and indices joined by dots."""
    return ".".join(escaped(str(part)) for part in place)


def escaped(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Text that is safe on a terminal and not too long."""
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= longest else f"{text[:longest]}..."


def shown(value: Any) -> str:
    """A value as the user wrote it, more or less: short, one line, no control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        length = f" ({len(value)} characters)" if len(value) > LONGEST_SHOWN else ""
        return f"'{escaped(value)}'{length}"
    if isinstance(value, Mapping):
        return f"a mapping with keys {listed(value)}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return escaped(f"[{', '.join(map(shown, value))}]") if len(value) <= LONGEST_SHOWN else f"{len(value)} items"
    return escaped(str(value))


def listed(words: Iterable[str]) -> str:
    """'a, b, c', shortened when there are very many."""
    words = list(words)
    more = ", ..." if len(words) > LONGEST_SHOWN else ""
    return ", ".join(map(escaped, words[:LONGEST_SHOWN])) + more


def unknown_key(key: str, known: Mapping[str, str]) -> str:
    """'unknown key; did you mean ...? (keys: ...)'; `known` maps each valid key to the line about it."""
    return f"unknown key{_meant(key, known)} (keys: {listed(known)})"


def unknown_word(word: str, what: str, known: Sequence[str], hint: str = "") -> str:
    """'unknown kind 'linaer'; did you mean 'linear'? (known: linear, ...)'."""
    closest = nearest(word, list(known)) if len(word) <= LONGEST_SHOWN else ""
    return f"unknown {what} {shown(word)}{closest} (known: {listed(known) or 'none'}{hint})"


def _meant(word: str, known: Mapping[str, str]) -> str:
    """The valid word a user had in mind: a typo of it, or else a name or symbol that its description contains.

    So 'timestep' finds the key described as 'time step dt', and 'kappa' the one described as 'coupling kappa'.
    """
    if len(word) > LONGEST_SHOWN:
        return ""
    closest = nearest(word, list(known))
    for candidate, about in known.items():
        words = re.findall(r"\w+", about)
        names = {*words, *(a + b for a, b in itertools.pairwise(words))}
        if word.replace("_", "") in names and not _is_typo(word, closest):
            return f"; did you mean {candidate!r}?"
    return closest


def _is_typo(word: str, suggestion: str) -> bool:
    """Whether `suggestion` differs from `word` by so little that it must be what was meant."""
    import difflib

    quoted = re.search(r"'(.*)'", suggestion)
    return quoted is not None and difflib.SequenceMatcher(a=word, b=quoted[1]).ratio() > 0.8
