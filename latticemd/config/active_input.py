"""The block `active` of a training: which run explores, and how many of its states are labelled in each round."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from latticemd.config.components import ForceFieldInput, chosen
from latticemd.config.section import Section
from latticemd.config.values import Choice, Integer, Text
from latticemd.parameters import Bounds

Count = Integer(Bounds(ge=1, le=2**31 - 1))


class ActiveInput(Section):
    """Rounds of exploring, picking, labelling and training again, by `latticemd train --active`."""

    run: Annotated[str, Text("the path of an input of `latticemd run`")] = Field(
        description="input of the run that explores: the committee moves its lattice, its seeds rise by one in each round"
    )
    members: Annotated[int, Integer(Bounds(ge=2, le=1000))] = Field(
        4, description="networks of the committee, which differ in their seeds"
    )
    rounds: Annotated[int, Count] = Field(5, description="rounds after the training on data.train alone")
    picks: Annotated[int, Count] = Field(10, description="states that are labelled in each round")
    forcefield: Annotated[ForceFieldInput, chosen("forcefield", "name")] = Field(
        {"name": "poles"}, validate_default=True, description="the way to get the labels"
    )
    compare: Annotated[str, Choice("random")] | None = Field(
        None, description="do everything once more with states picked at random, equally many"
    )
