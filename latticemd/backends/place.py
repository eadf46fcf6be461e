"""Where the degrees of freedom that a kernel sweeps lie on the whole lattice: all of them, or a rank's part."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Place:
    """The whole lattice in the order of its sites; `latticemd.parallel` has the part of a rank.

    Noise follows from the number of a degree of freedom on the whole lattice, and sums are over the whole lattice: this is what
    kernels ask to know about it. Degrees of freedom are counted per replica, site by site.
    """

    divided = False  # whether others have a part of the lattice too

    def pieces(self, sites: int, components: int, most: int) -> Array:
        """Cuts (B, 3) of N D degrees of freedom into pieces of `most` or less: where each begins here and on the whole, and its
        length. A piece is contiguous in both, and holds whole sites if `most` does.
        """
        return _even_pieces(sites * components, most)

    def added_up(self, tally: Array) -> Array:
        """Integers (R, W) of unfinished sums over the sites here, summed over all that have a part of the lattice."""
        return tally


WHOLE = Place()


def cut(here: int, whole: int, length: int, most: int) -> Array:
    """One contiguous stretch as pieces, (B, 3)."""
    starts = np.arange(0, length, most, dtype=np.int64)
    return np.stack([here + starts, whole + starts, np.minimum(most, length - starts)], axis=1)


@lru_cache(maxsize=64)
def _even_pieces(length: int, most: int) -> Array:
    pieces = cut(0, 0, length, most)
    pieces.setflags(write=False)
    return pieces
