"""The cells around a block, fetched from the ranks that have them, corners included, in one round of messages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.lattice.block import stretches
from latticemd.parallel.comm import Alone
from latticemd.parallel.partition import Partition

Array = NDArray[Any]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Message:
    """What two ranks of a group exchange, as boxes of cells in an order that both of them know.

    ========  ======================================================
    field     meaning
    ========  ======================================================
    peer      the other rank
    sent      boxes of own cells that the other one needs, among own
    received  boxes of its cells, among own cells and their rim
    ========  ======================================================
    """

    peer: int
    sent: list[Box]
    received: list[Box]


def messages(partition: Partition, rank: int) -> list[Message]:
    """Those of a rank with all others of its group that it has a neighbour in."""
    first = [a for a, _ in partition.owned(rank)]
    known = partition.known(rank)
    found = []
    for peer in range(partition.blocks):
        if peer == rank % partition.blocks:
            continue
        sent = _boxes(partition.known(peer), partition.owned(rank))
        received = _boxes(known, partition.owned(peer))
        if sent or received:
            here = [[_moved(span, -start) for span, start in zip(box, first, strict=True)] for box in sent]
            there = [
                [
                    _moved(span, int(np.searchsorted(axis, span[0])) - span[0])
                    for span, axis in zip(box, known, strict=True)
                ]
                for box in received
            ]
            found.append(Message(peer, [tuple(box) for box in here], [tuple(box) for box in there]))
    return found


def _boxes(wanted: tuple[Array, ...], owned: tuple[tuple[int, int], ...]) -> list[tuple[tuple[int, int], ...]]:
    """The cells of one rank's block that another one wants, as boxes of coordinates on the whole lattice."""
    along = [axis[(axis >= a) & (axis < b)] for axis, (a, b) in zip(wanted, owned, strict=True)]
    if any(len(axis) == 0 for axis in along):
        return []
    return list(itertools.product(*(stretches(axis) for axis in along)))


def _moved(span: tuple[int, int], by: int) -> slice:
    return slice(span[0] + by, span[1] + by)


class Halo:
    """Fills the rim of a block of a rank; arrays are (R, *extents, width) with the rim, (R, n, ...) without.

    Buffers and requests are made once for each number of values per cell. `bytes_sent` counts what has left this rank.
    """

    def __init__(self, partition: Partition, rank: int, comm: Alone) -> None:
        self._comm = comm
        self._extents = partition.extents(rank)
        ends = zip(partition.known(rank), partition.owned(rank), strict=True)
        self._own = tuple(slice(*np.searchsorted(layers, span).tolist()) for layers, span in ends)
        self._messages = messages(partition, rank) if partition.blocks > 1 else []
        self._plans: dict[tuple[int, int], _Plan] = {}
        self.bytes_sent = 0

    @property
    def own(self) -> tuple[tuple[int, int], ...]:
        """The layers along each direction that are the rank's own."""
        return tuple((span.start, span.stop) for span in self._own)

    def filling(self, values: Array, out: Array | None = None) -> Callable[[], Array]:
        """Send the values (R, n, ...) of the own cells round; what returns them with those of the cells around them, (R, m, ...),
        in `out` if it is given, once they are called for. Until then others may be on their way, and nothing else may be sent.

        Where `values` are the own cells of `out`, they stay where they are.
        """
        replicas, rest = len(values), values.shape[2:]
        inner = [span.stop - span.start for span in self._own]
        width = values.shape[1] // math.prod(inner) * math.prod(rest)
        if (replicas, width) not in self._plans:
            self._plans[replicas, width] = _Plan.of(self._comm, self._messages, replicas, width)
        plan = self._plans[replicas, width]
        whole = (
            np.empty((replicas, *self._extents, width)) if out is None else out.reshape(replicas, *self._extents, width)
        )
        cells, own = values.reshape(replicas, *inner, width), whole[(slice(None), *self._own)]
        self.bytes_sent += plan.begin(cells)
        if not np.may_share_memory(own, cells):
            own[...] = cells

        def filled() -> Array:
            plan.end(whole)
            return whole.reshape(replicas, -1, *rest)

        return filled


@dataclass(frozen=True)
class _Plan:
    """A round of messages: boxes to read and to write, each with its place in a buffer."""

    sends: list[tuple[Box, Array]]
    receives: list[tuple[Box, Array]]
    exchange: Any

    @classmethod
    def of(cls, comm: Alone, of_rank: list[Message], replicas: int, width: int) -> _Plan:
        sends, sent = _buffers({one.peer: one.sent for one in of_rank if one.sent}, replicas, width)
        receives, received = _buffers({one.peer: one.received for one in of_rank if one.received}, replicas, width)
        return cls(sends, receives, comm.exchange(sent, received))

    def begin(self, cells: Array) -> int:
        """Send what others need of the own cells (R, ..., width); the number of bytes."""
        for box, part in self.sends:
            part[...] = cells[(slice(None), *box)]
        self.exchange.begin()
        return sum(part.nbytes for _, part in self.sends)

    def end(self, whole: Array) -> None:
        """Wait for what has been sent, and put it around the own cells."""
        self.exchange.end()
        for box, part in self.receives:
            whole[(slice(None), *box)] = part


def _buffers(
    boxes: dict[int, list[Box]], replicas: int, width: int
) -> tuple[list[tuple[Box, Array]], list[tuple[int, Array]]]:
    """Boxes with their parts of the buffers, and the buffer of each peer."""
    places, buffers = [], []
    for peer, of_peer in boxes.items():
        shapes = [(replicas, *(span.stop - span.start for span in box), width) for box in of_peer]
        ends = list(itertools.accumulate(map(math.prod, shapes), initial=0))
        buffer = np.empty(ends[-1])
        for box, shape, (a, b) in zip(of_peer, shapes, itertools.pairwise(ends), strict=True):
            places.append((box, buffer[a:b].reshape(shape)))
        buffers.append((peer, buffer))
    return places, buffers
