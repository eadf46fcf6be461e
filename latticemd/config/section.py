"""A block of the input: a frozen pydantic model whose fields are the only keys it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, core_schema

from latticemd.config.messages import MISSING, UNKNOWN, listed, problem, refuse, shown, unknown_key, unknown_word
from latticemd.config.values import Expect
from latticemd.errors import InputError


class Section(BaseModel):
    """Base of all blocks: unknown keys are refused, nothing is converted, nothing changes once it is loaded."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Each key as users write it, with the line about it."""
        return {info.alias or name: info.description or "" for name, info in cls.model_fields.items()}

    @model_validator(mode="wrap")
    @classmethod
    def explain(cls, data: Any, accept: ModelWrapValidatorHandler[Self]) -> Self:
        """Put what is wrong with the keys of this block into the user's words."""
        if not isinstance(data, dict | cls):
            refuse(f"expected a mapping with keys {listed(cls.keys())}, got {shown(data)}")
        try:
            return accept(data)
        except ValidationError as error:
            details = [cls._explained(detail) for detail in error.errors(include_url=False)]
            raise ValidationError.from_exception_data("input", details) from None

    @classmethod
    def _explained(cls, detail: ErrorDetails) -> InitErrorDetails:
        kind, place, message = detail["type"], detail["loc"], detail["msg"]
        if kind == "extra_forbidden":
            return problem(UNKNOWN, place, unknown_key(str(place[0]), cls.keys()))
        if kind == "missing":
            return problem(MISSING, place, f"missing{cls._wanted(str(place[0]))}")
        return problem(kind, place, message)

    @classmethod
    def _wanted(cls, key: str) -> str:
        """'; expected a number > 0 [time] (time step dt)' of a field."""
        field = next(info for name, info in cls.model_fields.items() if key in (name, info.alias))
        expected = "".join(f"; expected {rule.expected}" for rule in field.metadata if isinstance(rule, Expect))
        about = (field.description or "").partition(" [")[0]  # the dimension has been said
        return f"{expected} ({about})" if about else expected


@dataclass(frozen=True)
class Chosen:
    """Metadata of a block of which there are several kinds: the word under `key` selects the class that validates it.

    `find` returns the class for one of `words` and may raise InputError. (A plain pydantic union would put the names of
    the kinds among the keys of every message.)
    """

    key: str
    words: Callable[[], Sequence[str]]
    find: Callable[[str], type[Section]]
    default: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_wrap_validator_function(self.check, handler(source))

    def check(
        self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler, info: core_schema.ValidationInfo
    ) -> Section:
        """The validated block."""
        if isinstance(value, Section):
            return value
        if not isinstance(value, dict):
            refuse(f"expected a mapping with the key {self.key!r}, got {shown(value)}")
        if self.key not in value and self.default is None:
            refuse(f"missing; expected one of {listed(self.words())}", self.key, kind=MISSING)
        word = value.get(self.key, self.default)
        if not isinstance(word, str):
            refuse(f"expected one of {listed(self.words())}, got {shown(word)}", self.key)
        try:
            chosen = self.find(word)
        except InputError as error:
            refuse(str(error), self.key)
        return chosen.model_validate({self.key: word, **value}, context=info.context)


def choose(key: str, *kinds: type[Section], default: str | None = None) -> Chosen:
    """`Chosen` among classes whose field `key` is a Literal with the words that select them."""
    table = {word: kind for kind in kinds for word in get_args(kind.model_fields[key].annotation)}

    def find(word: str) -> type[Section]:
        if word not in table:
            raise InputError(unknown_word(word, key, list(table)))
        return table[word]

    return Chosen(key, lambda: list(table), find, default)
