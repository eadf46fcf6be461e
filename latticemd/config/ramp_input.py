"""Numbers that may change with the step: a number, or a mapping that says how it runs.

    temperature: {kind: linear, from: 1.0, to: 0.1, start: 0, end: 400}
    temperature: {kind: piecewise, points: [[0, 1.0], [100, 0.5]]}
    temperature: {kind: exponential, from: 2.0, to: 0.1, start: 0, time_constant: 50}
    temperature: {kind: constant, value: 1.0}

Steps count from 0. What a ramp is worth at a step is computed by `latticemd.ramps`; here it is only checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import core_schema

from latticemd.config.messages import Place, refuse
from latticemd.config.section import Section, choose
from latticemd.config.values import STEP, Expect, Real
from latticemd.parameters import Bounds

Number = Annotated[float, Real()]
Step = Annotated[int, STEP]


class RampBlock(Section):
    """Base of the ways a number can run."""

    def values(self) -> dict[Place, float]:
        """The numbers that bound the ramp, by their place in the block: it never leaves their range."""
        raise NotImplementedError


class Constant(RampBlock):
    """The same value at every step."""

    kind: Literal["constant"] = Field(description="kind of ramp")
    value: Number = Field(description="the value at every step")

    def values(self) -> dict[Place, float]:
        """The value."""
        return {("value",): self.value}


class Linear(RampBlock):
    """From `first` at step `start` to `last` at step `end`, constant outside."""

    kind: Literal["linear"] = Field(description="kind of ramp")
    first: Number = Field(alias="from", description="first value, up to the step start")
    last: Number = Field(alias="to", description="last value, from the step end on")
    start: Step = Field(0, description="step at which it begins")
    end: Step = Field(description="step at which it ends")

    def values(self) -> dict[Place, float]:
        """Both ends."""
        return {("from",): self.first, ("to",): self.last}

    @model_validator(mode="after")
    def forwards(self) -> Self:
        """The end comes after the start."""
        if self.end <= self.start:
            refuse(f"expected a step after start ({self.start}), got {self.end}", "end")
        return self


class Exponential(RampBlock):
    """last + (first - last) exp(-(step - start)/time_constant), constant before `start`."""

    kind: Literal["exponential"] = Field(description="kind of ramp")
    first: Number = Field(alias="from", description="first value, up to the step start")
    last: Number = Field(alias="to", description="value that is approached")
    start: Step = Field(0, description="step at which it begins")
    time_constant: Annotated[float, Real("steps", Bounds(gt=0))] = Field(description="steps for a factor 1/e")

    def values(self) -> dict[Place, float]:
        """The first value and the one that is approached."""
        return {("from",): self.first, ("to",): self.last}


Point = Annotated[tuple[Step, Number], Field(strict=False), Expect("a pair [step, value]")]


class Piecewise(RampBlock):
    """Straight lines between points, constant outside."""

    kind: Literal["piecewise"] = Field(description="kind of ramp")
    points: Annotated[
        tuple[Point, ...],
        Field(strict=False, min_length=1),
        Expect("a list of pairs [step, value], such as [[0, 1.0], [100, 0.5]]"),
    ] = Field(description="pairs [step, value]")

    def values(self) -> dict[Place, float]:
        """The values of all points."""
        return {("points", i, 1): value for i, (_, value) in enumerate(self.points)}

    @model_validator(mode="after")
    def forwards(self) -> Self:
        """Steps increase."""
        for i in range(1, len(self.points)):
            before, step = self.points[i - 1][0], self.points[i][0]
            if step <= before:
                refuse(f"expected a step after that of the point before ({before}), got {step}", "points", i, 0)
        return self


RAMPS = (Linear, Piecewise, Exponential, Constant)

RampInput = Annotated[Linear | Piecewise | Exponential | Constant, Field(discriminator="kind"), choose("kind", *RAMPS)]
_RAMP: TypeAdapter[RampBlock] = TypeAdapter(RampInput)


class Rampable(Real):
    """A number or a ramp; all values of the ramp obey the bounds. Annotates `float | RampBlock`."""

    def schema(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The bounded number, or any ramp."""
        return core_schema.union_schema([super().schema(source, handler), handler.generate_schema(RampInput)])

    def check(self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler) -> Any:
        """The number, or the validated ramp."""
        if not isinstance(value, dict | RampBlock):
            try:
                return accept(value)
            except ValidationError:
                self.refuse(value)
        ramp = _RAMP.validate_python(value)
        for place, number in ramp.values().items():
            if not self.allows(number):
                self.refuse(number, *place)
        return ramp


def values_of(number: float | RampBlock) -> list[float]:
    """The numbers that bound a ramp, or the one number itself."""
    return list(number.values().values()) if isinstance(number, RampBlock) else [number]
