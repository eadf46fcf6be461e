"""In which order a square patch is eliminated towards its centre, written down once as a short program for the kernels.

Taking site s out of the symmetric matrix A of a patch changes the elements between its neighbours i, j by -A_is A_sj/A_ss.
Which elements exist follows from the order alone, so the program is the same for all patches of a radius and all poles.
A step of it is a row (operation, a, b, c) of integers about numbered places of memory:

=========  ===================================================
operation  meaning
=========  ===================================================
SITE       A[a] = diagonal element of the site b rows and c columns from the centre
HOP        A[a] = h
NORTH ...  A[a] = h times the strength of the bond from that site, on this side of the rim, to the next one below or right
PIVOT      inverse = 1/A[a]
FACTOR     g[b] = A[a] * inverse
UPDATE     A[a] -= g[b] A[c]
FILL       A[a] = -g[b] A[c]
ANSWER     the centre's Green's function is 1/A[a]
=========  ===================================================
"""

from __future__ import annotations

import heapq
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Site = tuple[int, int]

SITE, HOP, NORTH, SOUTH, WEST, EAST, PIVOT, FACTOR, UPDATE, FILL, ANSWER = range(11)
_CENTRE = (0, 0)


class _Elements:
    """Where the matrix elements in use are kept, and the steps that put those of H there when they are first asked for.

    A place is free again when its element is no longer needed: what is in use should stay in cache.
    """

    def __init__(self, radius: int, bonds: dict[Site, set[Site]]) -> None:
        self.steps: list[tuple[int, int, int, int]] = []
        self.count = 0
        self._radius = radius
        self._bonds = bonds
        self._places: dict[frozenset[Site], int] = {}
        self._free: list[int] = []

    def __contains__(self, pair: tuple[Site, Site]) -> bool:
        """Whether A_ij is not zero by now."""
        i, j = pair
        return i == j or j in self._bonds[i] or frozenset(pair) in self._places

    def at(self, i: Site, j: Site) -> int:
        """The place of A_ij."""
        if frozenset((i, j)) not in self._places:
            place = self.new(i, j)
            i, j = sorted((i, j))
            self.steps.append((SITE if i == j else self._hop(i, j), place, *i))
        return self._places[frozenset((i, j))]

    def _hop(self, i: Site, j: Site) -> int:
        """The operation for the hop from i to j, which is below or to the right: along the rim if both are on one side."""
        sides = zip((NORTH, SOUTH, WEST, EAST), (0, 0, 1, 1), (-1, 1, -1, 1), strict=True)
        return next((side for side, d, end in sides if i[d] == j[d] == end * self._radius), HOP)

    def new(self, i: Site, j: Site) -> int:
        """A place for A_ij, with nothing in it yet."""
        place = heapq.heappop(self._free) if self._free else self.count
        self.count = max(self.count, place + 1)
        self._places[frozenset((i, j))] = place
        return place

    def drop(self, i: Site, j: Site) -> None:
        """A_ij is not needed any more."""
        heapq.heappush(self._free, self._places.pop(frozenset((i, j))))


@cache
def elimination(radius: int) -> tuple[Array, int, int]:
    """The program (steps, 4) for patches of this radius, how many places it needs for A and how many for g.

    The site with the fewest neighbours left goes next: 175, 632 and 1533 UPDATEs and FILLs for radius 2, 3 and 4, against
    268, 1062 and 2968 row by row. (Minimum degree: George and Liu, SIAM Review 31, 1 (1989), doi:10.1137/1031001.)
    """
    bonds = _bonds(radius)
    neighbours = {site: set(around) for site, around in bonds.items()}
    elements, most = _Elements(radius, bonds), 0
    while len(neighbours) > 1:
        site = min(
            (s for s in neighbours if s != _CENTRE), key=lambda s: (len(neighbours[s]), -abs(s[0]) - abs(s[1]), s)
        )
        around = sorted(neighbours.pop(site))
        most = max(most, len(around))
        _take_out(site, around, elements)
        for i in around:
            neighbours[i] = (neighbours[i] | set(around)) - {i, site}
    elements.steps.append((ANSWER, elements.at(_CENTRE, _CENTRE), 0, 0))
    return np.array(elements.steps), elements.count, most


def _take_out(site: Site, around: list[Site], elements: _Elements) -> None:
    """Write the steps that eliminate `site` from between its neighbours `around`."""
    elements.steps.append((PIVOT, elements.at(site, site), 0, 0))
    couplings = [elements.at(site, i) for i in around]
    elements.steps += [(FACTOR, coupling, n, 0) for n, coupling in enumerate(couplings)]
    for n, i in enumerate(around):
        for coupling, j in zip(couplings[n:], around[n:], strict=True):
            operation, place = (UPDATE, elements.at(i, j)) if (i, j) in elements else (FILL, elements.new(i, j))
            elements.steps.append((operation, place, n, coupling))
    for i in [site, *around]:
        elements.drop(site, i)


def _bonds(radius: int) -> dict[Site, set[Site]]:
    reach = range(-radius, radius + 1)
    sites = {(x, y) for x in reach for y in reach}
    return {(x, y): sites & {(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)} for x, y in sites}
