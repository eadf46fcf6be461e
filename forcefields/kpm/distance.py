"""How far apart equal colours must be for a wanted error: measured on the configuration, without a sample of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.kpm.probing import Probed

Array = NDArray[Any]

DISTANCES = (4, 6, 8, 12, 16, 24, 32, 48)  # to choose from
LOOK = 8  # colours of a first look, which costs less than any colouring


@dataclass(frozen=True)
class Colouring:
    """The orbitals of one replica in colours whose sites are `distance` apart, and what the vectors of these see.

    `paint()` makes the colours (n,). `see(signs, asked)` probes with signs (n,), or None for ones, and with the vectors of
    the colours `asked`, or None for all.
    """

    distance: int
    paint: Callable[[], Array]
    see: Callable[[Array | None, Array | None], Probed]

    @cached_property
    def colours(self) -> Array:
        """The colour of each orbital, (n,)."""
        return self.paint()

    @property
    def complete(self) -> bool:
        """Whether no two orbitals share a colour."""
        return int(self.colours.max()) + 1 == len(self.colours)

    def looks_coarse(self, signs: Array, tolerance: float) -> bool:
        """Whether a few colours are enough to see that the error is larger than `tolerance`."""
        asked = np.unique(np.linspace(0, self.colours.max(), LOOK).astype(int))
        seen = np.isin(self.colours, asked)
        one, other = (self.see(each, asked).diagonal[:, seen] for each in (None, signs))
        return _rms(one - other) > tolerance

    def measured(self, signs: Array) -> tuple[Probed, float]:
        """What all vectors see, and the estimated rms error of that."""
        plain = self.see(None, None)
        if self.complete:
            return plain, 0.0
        turned = self.see(signs, None)
        error = _rms(plain.diagonal - turned.diagonal)
        if plain.pairs is not None and turned.pairs is not None:
            error = max(error, _rms(np.abs(plain.pairs - turned.pairs)))
        return plain, error


def finest_needed(colourings: list[Colouring], signs: Array, tolerance: float) -> tuple[Colouring, Probed, float]:
    """The first colouring whose rms error is at most `tolerance`, or the last one; what it sees, and its estimated error.

    The error of a diagonal entry is the sum of f_ij over the other orbitals j of i's colour. With random signs s (n,) on all
    orbitals it becomes the sum of s_i f_ij s_j: an independent error whose square has the mean sum_j |f_ij|^2. The mean
    square of the difference between both is therefore that of the wanted error plus that of this one. It costs as much again
    as the answer itself; for colourings that are too coarse a look at LOOK colours is enough.
    """
    for colouring in colourings:
        last = colouring is colourings[-1] or colouring.complete
        if not last and colouring.looks_coarse(signs, tolerance):
            continue
        seen, error = colouring.measured(signs)
        if last or error <= tolerance:
            break
    return colouring, seen, error


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
