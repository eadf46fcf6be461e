"""The block `stop_when`: what ends a run before its last step."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from latticemd.config.messages import MISSING, refuse
from latticemd.config.section import Section
from latticemd.config.values import INTERVAL, Integer, Real
from latticemd.parameters import Bounds

Limit = Annotated[float, Real("energy/length", Bounds(gt=0))]


class StopInput(Section):
    """The run halts where its force field is too uncertain of its forces, and keeps the states worth labelling.

    Nothing here changes the trajectory, so everything may change between a run and its continuation.
    """

    uncertainty: Limit | None = Field(
        None, description="largest uncertainty of the force, rms over the sites of a replica [energy/length]"
    )
    largest_uncertainty: Limit | None = Field(None, description="largest uncertainty of any site [energy/length]")
    every: Annotated[int, INTERVAL] = Field(1, description="steps between looks")
    save: Annotated[int, Integer(Bounds(ge=1, le=2**31 - 1))] = Field(
        20, description="how many of the most uncertain states uncertain.h5 holds at most"
    )

    @model_validator(mode="after")
    def limited(self) -> Self:
        """At least one limit."""
        if self.uncertainty is None and self.largest_uncertainty is None:
            refuse("missing; expected uncertainty, largest_uncertainty or both", "uncertainty", kind=MISSING)
        return self
