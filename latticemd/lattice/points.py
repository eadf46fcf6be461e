"""No lattice at all: N points in space, which are where x says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice.cells import UnitCell
from latticemd.lattice.lattice import Array, Bonds, Lattice
from latticemd.lattice.symmetry import Operation, Symmetry

POINTS = "points"
_CELL = UnitCell(((1.0, 0.0, 0.0),), ((0.0, 0.0, 0.0),))


@dataclass(frozen=True, init=False)
class Points(Lattice):
    """N points in open three-dimensional space, `type` "points" and `shape` (N,): no neighbours, bonds or cells of their own.

    What asks for neighbours finds none; the place of every point is the origin, so that x is its position.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        object.__setattr__(self, "type", POINTS)
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "custom", None)
        object.__setattr__(self, "boundary", ("open",))
        if len(self.shape) != 1 or self.shape[0] < 1:
            raise InputError(
                f"points have a shape of one number, how many there are, such as [5]; got {list(self.shape)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Their type and number."""
        return {"type": POINTS, "shape": list(self.shape)}

    @property
    def description(self) -> str:
        """How many there are."""
        return f"{self.sites} points in space"

    def resized(self, shape: Sequence[int]) -> Lattice:
        """Another number of points."""
        return Points(shape)

    @cached_property
    def cell(self) -> UnitCell:
        """One point in three dimensions; numbers of points count along the first."""
        return _CELL

    @cached_property
    def positions(self) -> Array:
        """The origin for all, (N, 3)."""
        return np.zeros((self.sites, 3))

    def offsets(self, shell: int = 1) -> tuple[()]:
        """None: points have no neighbours."""
        return ()

    @lru_cache(maxsize=8)  # noqa: B019  (as that of other lattices)
    def bonds(self, shell: int = 1) -> Bonds:
        """None."""
        none = np.zeros(0, dtype=np.int64)
        return Bonds(none, none, np.zeros((0, 3)), np.ones(0))

    @cached_property
    def staggered(self) -> Array:
        """1 for all: there are no sublattices."""
        return np.ones(self.sites)

    @cached_property
    def point_group(self) -> list[Operation]:
        """The identity alone: what turns points in space is a symmetry of their model, since it moves no label."""
        return [
            Operation("identity", np.eye(3, dtype=int), np.eye(3), np.zeros(1, dtype=int), np.zeros((1, 1), dtype=int))
        ]

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """The identity alone; which points may change places, a model says."""
        yield Symmetry("identity", np.arange(self.sites), np.eye(3))
