"""A block of cells of a larger lattice, which passes for a lattice of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from latticemd.lattice.lattice import Array, Lattice


@dataclass(frozen=True)
class Everywhere:
    """How a block learns about the whole lattice: from values (R, n, ...) of its own cells, their sums and maxima (R,), and those
    of all its cells (R, N, ...); and the sums over all ranks of integers.
    """

    total: Callable[[Array], Array]
    highest: Callable[[Array], Array]
    extended: Callable[[Array], Array]
    summed: Callable[[Array], Array]


@dataclass(frozen=True, init=False)
class Block(Lattice):
    """The cells that a rank has of a lattice, and a rim of cells around them that it only knows.

    It is a lattice of the same kind, closed as the whole is: what lies across its seam is wrong, but that is seen from the
    rim alone. Layers stand in the order of their coordinates on the whole, so neighbours are met in the same order here and there,
    sums over them round alike, and where the block holds the end of the whole, the end with its phase is where it was.

    =========  ================================================================================
    field      meaning
    =========  ================================================================================
    original   the whole lattice
    known      (first, last + 1) of the stretches of known coordinates along each direction
    own        (first, last + 1) of the places along each direction that the rank has
    margin     layers around them at whose sites electrons are asked for too
    =========  ================================================================================

    `total` and `highest` take values on all sites of the block and tell about the whole lattice, to which all ranks contribute.
    """

    original: Lattice
    known: tuple[tuple[tuple[int, int], ...], ...]
    own: tuple[tuple[int, int], ...]
    everywhere: Everywhere = field(compare=False, repr=False)
    margin: int = 0

    def __init__(
        self, original: Lattice, known: tuple[Array, ...], own: tuple[tuple[int, int], ...], everywhere: Everywhere
    ) -> None:
        super().__init__(original.type, [len(one) for one in known], original.boundary, *(original.custom or ()))
        object.__setattr__(self, "original", original)
        object.__setattr__(self, "known", tuple(stretches(one) for one in known))
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "everywhere", everywhere)
        object.__setattr__(self, "margin", 0)

    @property
    def whole(self) -> Lattice:
        """The lattice that this is a block of."""
        return self.original

    @property
    def asked(self) -> tuple[tuple[int, int], ...]:
        """See `Lattice.asked`."""
        wider = [(a - self.margin, b + self.margin) for a, b in self.own]
        return tuple((a, b) if b - a < n else (0, n) for (a, b), n in zip(wider, self.shape, strict=True))

    def asking(self, layers: int) -> Block:
        """See `Lattice.asking`."""
        wider = copy.copy(self)
        object.__setattr__(wider, "margin", self.margin + layers)
        return wider

    def total(self, values: Array) -> Array:
        """See `Lattice.total`."""
        return self.everywhere.total(self.cropped(values))

    def highest(self, values: Array) -> Array:
        """See `Lattice.highest`."""
        return self.everywhere.highest(self.cropped(values))

    def counted(self, numbers: Array) -> Array:
        """See `Lattice.counted`."""
        return self.everywhere.summed(numbers)

    def refreshed(self, values: Array) -> Array:
        """See `Lattice.refreshed`."""
        return self.everywhere.extended(self.cropped(values))

    def cropped(self, values: Array) -> Array:
        """The part of values (R, N, ...) on the block that belongs to the cells which the rank has, (R, n, ...)."""
        return np.ascontiguousarray(self._inner(values)).reshape(len(values), -1, *values.shape[2:])

    def crop(self, values: Array, out: Array) -> None:
        """Write that part to `out`, unless it is there: see `in_one_piece`."""
        if not np.may_share_memory(values, out):
            inner = self._inner(values)
            out.reshape(inner.shape)[...] = inner

    def in_one_piece(self, values: Array) -> Array | None:
        """That part of values (R, N, ...) itself, where it is contiguous: of one replica, cut along the first direction alone."""
        inner = self._inner(values)
        if not inner.flags.c_contiguous:
            return None
        return inner.reshape(len(values), -1, *values.shape[2:])

    def _inner(self, values: Array) -> Array:
        cells = values.reshape(len(values), *self.shape, len(self.cell.basis), *values.shape[2:])
        return np.asarray(cells[(slice(None), *(slice(*span) for span in self.own))])

    @property
    def along(self) -> list[Array]:
        """Coordinates on the whole lattice of the layers along each direction."""
        return [np.concatenate([np.arange(*stretch) for stretch in stretches]) for stretches in self.known]

    @cached_property
    def places(self) -> Array:
        """See `Lattice.places`."""
        cells = np.stack(np.meshgrid(*self.along, indexing="ij"), axis=-1).reshape(-1, self.directions)
        return np.repeat(cells, len(self.cell.basis), axis=0)

    @cached_property
    def numbers(self) -> Array:
        """See `Lattice.numbers`."""
        basis = np.tile(np.arange(len(self.cell.basis)), len(self.places) // len(self.cell.basis))
        return np.asarray(self.original.site(self.places, basis))


@dataclass(frozen=True, init=False)
class Crewed(Lattice):
    """A lattice of which several ranks have everything, so that they can share work that concerns all sites.

    ========  ==================================================
    field     meaning
    ========  ==================================================
    original  the lattice
    member    number of the rank among them
    size      number of ranks
    ========  ==================================================
    """

    original: Lattice
    member: int
    size: int
    summed: Callable[[Array], Array] = field(compare=False, repr=False)

    def __init__(self, original: Lattice, member: int, size: int, summed: Callable[[Array], Array]) -> None:
        super().__init__(original.type, list(original.shape), original.boundary, *(original.custom or ()))
        for name, value in (("original", original), ("member", member), ("size", size), ("summed", summed)):
            object.__setattr__(self, name, value)

    @property
    def whole(self) -> Lattice:
        """The lattice itself."""
        return self.original

    def jobs(self, count: int) -> range:
        """See `Lattice.jobs`."""
        return range(self.member, count, self.size)

    def merged(self, results: Array) -> Array:
        """See `Lattice.merged`."""
        return self.summed(results)


def stretches(coordinates: Any) -> tuple[tuple[int, int], ...]:
    """Ascending coordinates as stretches without gaps."""
    breaks = np.flatnonzero(np.diff(coordinates) > 1) + 1
    return tuple((int(part[0]), int(part[-1]) + 1) for part in np.split(coordinates, breaks))
