"""The block `parallel`: how the ranks of a run share its replicas and cells."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from latticemd.config.section import Section
from latticemd.config.values import Expect, Integer
from latticemd.parameters import Bounds

_COUNT = Integer(Bounds(ge=1, le=2**31 - 1))


class ParallelInput(Section):
    """What mpirun starts shares replicas first, which need not talk to each other, then blocks of cells with the least surface.

    Results are the same bytes whatever is written here, so it may change between a run and its continuation.
    """

    grid: (
        Annotated[
            tuple[Annotated[int, _COUNT], ...],
            Field(strict=False, min_length=1),
            Expect("a number of ranks for each direction of the lattice, such as [2, 2]"),
        ]
        | None
    ) = Field(None, description="ranks along each direction of the lattice; of least surface unless given")
    replicas: Annotated[int, _COUNT] | None = Field(
        None, description="groups of ranks that share the replicas, each with a grid of its own"
    )
