"""The cells around a block, fetched from the ranks that have them: direction after direction, so that corners come along."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.parallel.comm import Alone
from latticemd.parallel.partition import Partition

Array = NDArray[Any]


@dataclass(frozen=True)
class Message:
    """What two ranks exchange along one direction: layers of the block with its rim, by their places along this direction.

    ========  ======================================================
    field     meaning
    ========  ======================================================
    peer      the other rank, of the same group
    sent      places (n,) of the layers that the other one needs
    received  places (m,) of the layers that it has
    ========  ======================================================
    """

    peer: int
    sent: Array
    received: Array


def messages(partition: Partition, rank: int, axis: int) -> list[Message]:
    """Those of a rank along one direction, with all ranks beside it in this direction."""
    known, (first, last) = partition.known(rank)[axis], partition.owned(rank)[axis]
    found = []
    here = partition.coordinates(rank)
    for coordinate in range(partition.grid[axis]):
        if coordinate == here[axis]:
            continue
        there = (*here[:axis], coordinate, *here[axis + 1 :])
        peer = int(np.ravel_multi_index(there, partition.grid))
        (begin, end), wanted = partition.owned(peer)[axis], partition.known(peer)[axis]
        sent = wanted[(wanted >= first) & (wanted < last)]
        received = known[(known >= begin) & (known < end)]
        if len(sent) or len(received):
            found.append(Message(peer, np.searchsorted(known, sent), np.searchsorted(known, received)))
    return found


class Halo:
    """Fills the rim of a block of a rank; arrays are (R, *extents, width) with the rim, (R, n, ...) without.

    Buffers and requests are made once for each number of values per cell. `bytes_sent` counts what has left this rank.
    """

    def __init__(self, partition: Partition, rank: int, comm: Alone) -> None:
        self._comm = comm
        self._extents = partition.extents(rank)
        known = partition.known(rank)
        ends = zip(known, partition.owned(rank), strict=True)
        self._own = tuple(slice(*np.searchsorted(layers, span).tolist()) for layers, span in ends)
        self._axes = [axis for axis, k in enumerate(partition.grid) if k > 1]
        self._messages = {axis: messages(partition, rank, axis) for axis in self._axes}
        self._plans: dict[tuple[int, int], _Plan] = {}
        self.bytes_sent = 0

    @property
    def own(self) -> tuple[tuple[int, int], ...]:
        """The layers along each direction that are the rank's own."""
        return tuple((span.start, span.stop) for span in self._own)

    def filled(self, values: Array, out: Array | None = None) -> Array:
        """The values (R, n, ...) of the own cells, with those of the cells around them, (R, m, ...); in `out` if it is given."""
        replicas, rest = len(values), values.shape[2:]
        inner = [span.stop - span.start for span in self._own]
        width = values.shape[1] // math.prod(inner) * math.prod(rest)
        key = replicas, width
        if key not in self._plans:
            self._plans[key] = self._plan(*key)
        shape = replicas, *self._extents, width
        whole = np.empty(shape) if out is None else out.reshape(shape)
        whole[(slice(None), *self._own)] = values.reshape(replicas, *inner, width)
        self.bytes_sent += self._plans[key].fill(whole)
        return whole.reshape(replicas, -1, *rest)

    def _plan(self, replicas: int, width: int) -> _Plan:
        legs = []
        for axis in self._axes:
            # Along earlier directions the rim is there already, and goes along: it is where corners come from.
            spans = [slice(None) if other < axis else own for other, own in enumerate(self._own)]
            legs.append(_Leg.of(self._comm, self._messages[axis], axis, spans, self._extents, replicas, width))
        return _Plan(legs)


@dataclass(frozen=True)
class _Leg:
    """The exchange along one direction: where to read, where to write, and buffers between."""

    sends: list[tuple[tuple[Any, ...], Array]]
    receives: list[tuple[tuple[Any, ...], Array]]
    exchange: Any

    @classmethod
    def of(
        cls,
        comm: Alone,
        along: list[Message],
        axis: int,
        spans: list[slice],
        extents: tuple[int, ...],
        replicas: int,
        width: int,
    ) -> _Leg:
        across = [len(range(*span.indices(n))) for span, n in zip(spans, extents, strict=True)]

        def side(places: Array) -> tuple[tuple[Any, ...], Array]:
            # A slice where it will do: it is copied several times faster than places from a list.
            step = slice(int(places[0]), int(places[-1]) + 1) if np.all(np.diff(places) == 1) else places
            index = (slice(None), *spans[:axis], step, *spans[axis + 1 :])
            return index, np.empty((replicas, *across[:axis], len(places), *across[axis + 1 :], width))

        sends = {one.peer: side(one.sent) for one in along if len(one.sent)}
        receives = {one.peer: side(one.received) for one in along if len(one.received)}
        exchange = comm.exchange(
            [(peer, buffer) for peer, (_, buffer) in sends.items()],
            [(peer, buffer) for peer, (_, buffer) in receives.items()],
        )
        return cls(list(sends.values()), list(receives.values()), exchange)


@dataclass(frozen=True)
class _Plan:
    legs: list[_Leg]

    def fill(self, whole: Array) -> int:
        """Fill the rim of (R, *extents, width); the number of bytes sent."""
        sent = 0
        for leg in self.legs:
            for index, buffer in leg.sends:
                buffer[...] = whole[index]
                sent += buffer.nbytes
            leg.exchange.run()
            for index, buffer in leg.receives:
                whole[index] = buffer
        return sent
