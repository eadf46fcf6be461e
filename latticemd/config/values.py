"""The kinds of values that keys take: what is accepted, and what is said to the user when something else is given.

Used as `dt: Annotated[float, Real("time", Bounds(gt=0))]`. Nothing is converted but whole numbers to real ones.
"""

from __future__ import annotations

import dataclasses
import operator
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from latticemd.config.messages import KINDS, problem, refuse, shown
from latticemd.config.yaml_source import scalar
from latticemd.parameters import Bounds
from latticemd.plugins import nearest

LAST_STEP = 2**40 - 1  # the random-number counter holds 40 bits of the step


@dataclass(frozen=True)
class Expect:
    """Whatever pydantic has against a value becomes 'expected <expected>, got <value>'."""

    expected: str
    words: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(self.check, self.schema(source, handler))

    def schema(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """What is accepted."""
        return handler(source)

    def check(self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler) -> Any:
        """The accepted value."""
        try:
            return accept(value)
        except ValidationError as error:
            inside = [detail for detail in error.errors() if detail["type"] in KINDS]
        if not inside:
            self.refuse(value)
        # Items have said what they expected; that the list is too short without them is no news.
        raise ValidationError.from_exception_data("input", [problem(d["type"], d["loc"], d["msg"]) for d in inside])

    def refuse(self, value: Any, *place: str | int) -> NoReturn:
        """Say what was expected."""
        meant = nearest(value, list(self.words)) if isinstance(value, str) else ""
        refuse(f"expected {self.expected}, got {shown(value)}{meant}", *place)


@dataclass(frozen=True, init=False)
class Bounded(Expect):
    """A number between limits."""

    bounds: Bounds = Bounds()  # noqa: RUF009  (frozen)

    def __init__(self, what: str, bounds: Bounds, unit: str = "") -> None:
        super().__init__(f"{what}{limits(bounds)}{unit}")
        object.__setattr__(self, "bounds", bounds)

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        tests = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
        return all(tests[name](value, limit) for name, limit in given(self.bounds).items())

    def refuse(self, value: Any, *place: str | int) -> NoReturn:
        """Say what was expected, and that quotes make text of a number."""
        if isinstance(value, str) and isinstance(scalar(value), int | float):
            refuse(f"expected {self.expected}, got the text {shown(value)}; remove the quotes", *place)
        super().refuse(value, *place)


class Real(Bounded):
    """A finite number within bounds; `dimension` is a word such as "energy/length"."""

    def __init__(self, dimension: str = "1", bounds: Bounds = Bounds()) -> None:  # noqa: B008  (frozen)
        super().__init__("a number", bounds, "" if dimension == "1" else f" [{dimension}]")

    def schema(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """A float within the bounds; whole numbers become floats."""
        return core_schema.float_schema(strict=True, allow_inf_nan=False, **given(self.bounds))


class Integer(Bounded):
    """A whole number within bounds."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008  (frozen)
        super().__init__("an integer", bounds)

    def schema(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """An int within the bounds."""
        return core_schema.int_schema(strict=True, **given(self.bounds))


@dataclass(frozen=True, init=False)
class Choice(Expect):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        super().__init__(" or ".join(map(repr, words)) if len(words) < 3 else f"one of {', '.join(words)}", words)

    def schema(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The words."""
        return core_schema.literal_schema(list(self.words))


@dataclass(frozen=True)
class Text(Expect):
    """Text on one line without control characters."""

    expected: str = "text on one line"

    def check(self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler) -> str:
        """The text."""
        if not (isinstance(value, str) and value.isprintable() and value.strip()):
            self.refuse(value)
        return value


def described(doc: str, dimension: str) -> str:
    """The one line about a key that schema and messages use."""
    return doc if dimension == "1" else f"{doc} [{dimension}]"


def given(bounds: Bounds) -> dict[str, Any]:
    """The limits that exist, as keyword arguments of a pydantic schema."""
    return {name: limit for name, limit in dataclasses.asdict(bounds).items() if limit is not None}


def limits(bounds: Bounds) -> str:
    """' > 0', ' from 0 to 7', ' >= 0 and < 1', or nothing."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limit = given(bounds)
    if limit.keys() == {"ge", "le"}:
        return f" from {_limit(limit['ge'])} to {_limit(limit['le'])}"
    return "".join(f"{' and' * (i > 0)} {signs[name]} {_limit(limit[name])}" for i, name in enumerate(limit))


def _limit(value: float) -> str:
    power = int(value + 1).bit_length() - 1
    return f"2^{power} - 1" if power > 20 and int(value) == 2**power - 1 else f"{value:g}"


SEED = Integer(Bounds(ge=0, le=2**64 - 1))
STEP = Integer(Bounds(ge=0, le=LAST_STEP))
INTERVAL = Integer(Bounds(ge=1, le=LAST_STEP))
FLAG = Expect("true or false")
