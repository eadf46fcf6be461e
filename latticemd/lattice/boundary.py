"""What happens where the grid ends, per direction.

============  =====================================================================================================
periodic      the last cell has the first one as its neighbour
open          the lattice ends
antiperiodic  periodic, and an electron that goes once around changes its sign
theta         periodic, and an electron that goes once around, forwards, picks up exp(i pi theta): theta half flux
              quanta h/2e are enclosed
============  =====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from latticemd.errors import InputError
from latticemd.plugins import nearest

Boundary = str | float

BOUNDARIES = ("periodic", "open", "antiperiodic")


def boundaries_of(given: Boundary | Sequence[Boundary], directions: int) -> tuple[Boundary, ...]:
    """One boundary per direction; a single one holds for all. Raises InputError for what is not one."""
    each = (given,) * directions if isinstance(given, str | int | float) else tuple(given)
    if len(each) != directions:
        raise InputError(f"boundary has {len(each)} entries, but the lattice has {directions} direction(s)")
    return tuple(_normal(one) for one in each)


def twist_of(boundary: Boundary) -> float:
    """theta: what an electron picks up on its way around is exp(i pi theta)."""
    return boundary if isinstance(boundary, float) else float(boundary == "antiperiodic")


def _normal(boundary: Boundary) -> Boundary:
    """Equal physics, equal boundary: theta in (-1, 1), and the words for 0 and 1."""
    if isinstance(boundary, str):
        if boundary not in BOUNDARIES:
            raise InputError(f"unknown boundary {boundary!r}{nearest(boundary, list(BOUNDARIES))}; {_KNOWN}")
        return boundary
    if isinstance(boundary, bool) or not isinstance(boundary, int | float) or not math.isfinite(boundary):
        raise InputError(f"a boundary cannot be {boundary!r}; {_KNOWN}")
    theta = float(boundary - 2 * round(boundary / 2))
    return {0.0: "periodic", 1.0: "antiperiodic"}.get(abs(theta), theta)


_KNOWN = f"known: {', '.join(BOUNDARIES)}, or a twist in units of pi such as 0.25"
