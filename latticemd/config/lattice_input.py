"""The block `lattice`: type, shape and boundaries, or a lattice of the user's own."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import core_schema

from latticemd.config.messages import MISSING, refuse
from latticemd.config.section import Section
from latticemd.config.values import Choice, Expect, Integer, Real
from latticemd.errors import InputError
from latticemd.lattice import POINTS, UNIT_CELLS, Lattice
from latticemd.lattice.boundary import BOUNDARIES, boundaries_of
from latticemd.lattice.custom import custom_cell, require_vectors
from latticemd.parameters import Bounds

_ONE = Expect("'periodic', 'open', 'antiperiodic' or a twist in units of pi such as 0.25", BOUNDARIES)


class Boundaries(Expect):
    """One boundary for all directions, or a list of them."""

    def check(self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler) -> Any:
        """The boundary or boundaries, each a word or a finite number."""
        each = [((k,), one) for k, one in enumerate(value)] if isinstance(value, list | tuple) else [((), value)]
        for place, one in each:
            number = isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            if not number and one not in BOUNDARIES:
                _ONE.refuse(one, *place)
        return accept(value)


_Boundary = Literal["periodic", "open", "antiperiodic"] | float
_Row = Annotated[
    tuple[Annotated[float, Real("length")], ...], Field(strict=False), Expect("a list of numbers, such as [1, 0]")
]


class LatticeInput(Section):
    """The lattice: a grid of unit cells, each with one or more sites."""

    type: Annotated[str, Choice(*UNIT_CELLS, "custom", POINTS)] = Field(
        description="Bravais lattice and basis; points for particles in space"
    )
    shape: Annotated[
        tuple[Annotated[int, Integer(Bounds(ge=1, le=2**31 - 1))], ...],
        Field(strict=False),
        Expect("a list of integers, such as [32, 32]"),
    ] = Field(description="size: number of cells along each direction")
    boundary: Annotated[
        _Boundary | Annotated[tuple[_Boundary, ...], Field(strict=False)],
        Boundaries("a boundary or a list of them, one per direction"),
    ] = Field("periodic", description="how the lattice ends: a word, or a twist of the electrons' phase in units of pi")
    vectors: (
        Annotated[
            tuple[_Row, ...],
            Field(strict=False),
            Expect("a list of primitive vectors, such as [[1, 0], [0.5, 0.866]]"),
        ]
        | None
    ) = Field(None, description="primitive vectors of a custom lattice [length]")
    basis: (
        Annotated[
            tuple[_Row, ...],
            Field(strict=False),
            Expect("a list of sites in fractions of the vectors, such as [[0, 0], [0.3333, 0.3333]]"),
        ]
        | None
    ) = Field(None, description="sites of a custom cell: fractions of the vectors, then lengths across them")

    @model_validator(mode="after")
    def fits(self) -> Self:
        """The lattice can be built."""
        self._require_cell()
        if self.type == POINTS:
            return self._points()
        directions = len(self.vectors or UNIT_CELLS[self.type].vectors)
        for key, build in (("boundary", lambda: boundaries_of(self.boundary, directions)), ("shape", self.to_lattice)):
            try:
                build()
            except InputError as error:
                refuse(str(error), key)
        return self

    def _points(self) -> Self:
        """Points have a number, and are in open space."""
        if "boundary" in self.model_fields_set and self.boundary != "open":
            refuse(f"expected open, since points are in open space, got {self.boundary!r}", "boundary")
        try:
            self.to_lattice()
        except InputError as error:
            refuse(str(error), "shape")
        return self.model_copy(update={"boundary": "open"})

    def to_lattice(self) -> Lattice:
        """The lattice this block describes."""
        if self.type == POINTS:
            return Lattice.from_dict({"type": POINTS, "shape": self.shape})
        return Lattice(self.type, self.shape, self.boundary, self.vectors, self.basis)

    def _require_cell(self) -> None:
        if self.type != "custom":
            for key in ("vectors", "basis"):
                if getattr(self, key) is not None:
                    refuse(f"a {self.type} lattice has its own; they go with type: custom", key)
            return
        if self.vectors is None:
            refuse("missing; expected a list of vectors, such as [[1, 0], [0.5, 0.866]]", "vectors", kind=MISSING)
        try:
            require_vectors(self.vectors)
        except InputError as error:
            refuse(str(error), "vectors")
        try:
            custom_cell(self.vectors, self.basis or ((0.0,) * len(self.vectors[0]),))
        except InputError as error:
            refuse(str(error), "basis")
