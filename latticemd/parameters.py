"""Parameters of a physics component: dataclass fields that carry their dimension, bounds and meaning.

A model, force field, integrator or reporter is a dataclass whose fields made with `parameter` are the keys that users
write in the input. The input layer derives validation, documentation and templates from them, so they are typed once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Limits of a number: `gt`/`lt` exclusive, `ge`/`le` inclusive, None where there is no limit."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What an input key means: one line of text, its dimension in words, its bounds, and whether it may be a ramp."""

    doc: str
    dimension: str = "1"
    bounds: Bounds = Bounds()
    rampable: bool = False


def parameter(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    dimension: str = "1",
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    rampable: bool = False,
) -> Any:
    """A dataclass field that is also an input key; `dimension` is a word such as "energy/length", "1" for pure numbers."""
    about = Parameter(doc, dimension, Bounds(gt, ge, lt, le), rampable)
    return dataclasses.field(default=default, metadata={"parameter": about})


def parameters_of(component: type) -> Iterator[tuple[dataclasses.Field[Any], Parameter]]:
    """The (field, Parameter) pairs of a component class, in order of definition."""
    for field in dataclasses.fields(component):
        if "parameter" in field.metadata:
            yield field, field.metadata["parameter"]
