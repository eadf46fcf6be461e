"""How replicas and cells are cut into shares: pure geometry, the same on every rank and without any of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice

Array = NDArray[np.int64]
Span = tuple[int, int]  # first, and last + 1


def spans(length: int, parts: int) -> list[Span]:
    """Nearly equal parts of 0 ... length - 1, the longer ones first."""
    ends = [length * n // parts for n in range(parts + 1)]
    lengths = sorted((b - a for a, b in itertools.pairwise(ends)), reverse=True)
    return list(itertools.pairwise(itertools.accumulate(lengths, initial=0)))


def factorisations(number: int, factors: int) -> Iterator[tuple[int, ...]]:
    """All ways to write a number as an ordered product of so many factors."""
    if factors == 1:
        yield (number,)
        return
    for first in range(1, number + 1):
        if number % first == 0:
            for rest in factorisations(number // first, factors - 1):
                yield (first, *rest)


def least_surface(shape: Sequence[int], ranks: int) -> tuple[int, ...]:
    """The grid of ranks whose largest block has the fewest cells next to it; of equal ones the one that splits earlier directions,
    along which blocks are contiguous in memory. Raises InputError where there are more ranks than cells can be given to.
    """

    def surface(grid: tuple[int, ...]) -> tuple[int, int]:
        block = [-(-n // k) for n, k in zip(shape, grid, strict=True)]
        cut = [2 * math.prod(block) // b for b, k in zip(block, grid, strict=True) if k > 1]
        return sum(cut), math.prod(block)

    fits = [grid for grid in factorisations(ranks, len(shape)) if all(k <= n for n, k in zip(shape, grid, strict=True))]
    if not fits:
        raise InputError(
            f"a lattice of {'x'.join(map(str, shape))} cells cannot be cut into {ranks} blocks; use fewer ranks"
        )
    return min(fits, key=lambda grid: (*surface(grid), tuple(-k for k in grid)))


@dataclass(frozen=True)
class Partition:
    """Replicas are dealt to groups of ranks; within a group every rank has a block of cells of each of its replicas.

    ===========  =====================================================================================
    field        meaning
    ===========  =====================================================================================
    lattice      the whole
    replicas     number R of replicas in all
    groups       number of groups that share the replicas
    grid         ranks along each direction of the lattice, within a group
    halo         layers of cells around its own that a rank needs to know
    crew         ranks that have the same replicas and all their cells, and share the work on them; 1 where there are blocks
    ===========  =====================================================================================

    Rank n is number n % (prod(grid) crew) of its group, in C order of the grid. A block with its halo is never longer than the
    lattice; where the lattice is open, nothing lies beyond its end.
    """

    lattice: Lattice
    replicas: int = 1
    groups: int = 1
    grid: tuple[int, ...] = ()
    halo: int = 0
    crew: int = 1

    def __post_init__(self) -> None:
        if not self.grid:
            object.__setattr__(self, "grid", (1,) * len(self.lattice.shape))
        if len(self.grid) != len(self.lattice.shape):
            raise InputError(
                f"parallel.grid: {list(self.grid)} has {len(self.grid)} directions, the lattice has {len(self.lattice.shape)}"
            )
        if any(k > n for n, k in zip(self.lattice.shape, self.grid, strict=True)):
            shape = "x".join(map(str, self.lattice.shape))
            raise InputError(
                f"parallel.grid: a lattice of {shape} cells is too small for a grid of {list(self.grid)} ranks; use fewer ranks"
            )
        if self.groups > self.replicas:
            raise InputError(
                f"parallel.replicas: {self.groups} groups of ranks for {self.replicas} replica(s); use fewer ranks or more replicas"
            )

    @property
    def ranks(self) -> int:
        """In all."""
        return self.groups * self.per_group

    @property
    def per_group(self) -> int:
        """Ranks of a group."""
        return self.blocks * self.crew

    @property
    def blocks(self) -> int:
        """Number of blocks that a replica is cut into, one for each rank of a group."""
        return math.prod(self.grid)

    def group(self, rank: int) -> int:
        """The number of the group of a rank."""
        return rank // self.per_group

    def replicas_of(self, group: int) -> Span:
        """Which replicas a group has."""
        return spans(self.replicas, self.groups)[group]

    def group_of(self, replica: int) -> int:
        """Which group has a replica."""
        return next(g for g, (a, b) in enumerate(spans(self.replicas, self.groups)) if a <= replica < b)

    def coordinates(self, rank: int) -> tuple[int, ...]:
        """Where a rank is in the grid of its group."""
        return tuple(int(n) for n in np.unravel_index(rank // self.crew % self.blocks, self.grid))

    def owned(self, rank: int) -> tuple[Span, ...]:
        """The cells along each direction that a rank has."""
        places = zip(self.lattice.shape, self.grid, self.coordinates(rank), strict=True)
        return tuple(spans(n, k)[c] for n, k, c in places)

    def known(self, rank: int) -> tuple[Array, ...]:
        """Coordinates along each direction of the cells that a rank has or needs to know, ascending."""
        return tuple(self._known(axis, span) for axis, span in enumerate(self.owned(rank)))

    def extents(self, rank: int) -> tuple[int, ...]:
        """Cells along each direction that a rank has or needs to know."""
        return tuple(len(layers) for layers in self.known(rank))

    def row_blocks(self, rank: int) -> list[Span]:
        """Contiguous stretches of cells on the whole lattice that a rank has, in order."""
        owned, shape = self.owned(rank), self.lattice.shape
        split = max((axis for axis, k in enumerate(self.grid) if k > 1), default=0)
        first, last = owned[split]
        after = math.prod(shape[split + 1 :])
        lines = itertools.product(*(range(a, b) for a, b in owned[:split]))
        found = []
        for line in lines:
            row = 0
            for n, c in zip(shape, line, strict=False):
                row = row * n + c
            found.append(((row * shape[split] + first) * after, (row * shape[split] + last) * after))
        return found

    def halo_cells(self, rank: int) -> int:
        """Cells whose values a rank receives in one exchange."""
        return math.prod(self.extents(rank)) - math.prod(b - a for a, b in self.owned(rank))

    def _known(self, axis: int, span: Span) -> Array:
        (first, last), n = span, self.lattice.shape[axis]
        if self.grid[axis] == 1:
            return np.arange(n)
        reach = np.arange(first - self.halo, last + self.halo)
        if self.lattice.periodic[axis]:
            return np.unique(reach % n)
        return reach[(reach >= 0) & (reach < n)]
