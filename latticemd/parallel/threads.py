"""Ranks as threads of one process, so that what ranks do together can be checked without MPI.

One of them runs at a time, until it waits for the others: kernels that use threads of their own meet no other caller.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latticemd.parallel.comm import Alone, Exchange

Array = NDArray[Any]
T = TypeVar("T")

_PATIENCE = 600.0  # seconds that a rank waits for the others


class _Meeting:
    """Where ranks leave what they say, and wait for each other."""

    def __init__(self, size: int, turn: threading.Lock) -> None:
        self.said: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=_PATIENCE)
        self.mail: dict[tuple[int, int], Queue[Array]] = {}
        self.parts: dict[int, _Meeting] = {}
        self.turn = turn  # held by the rank that runs

    def wait(self) -> None:
        """Until all have come, while others have their turn."""
        self.turn.release()
        try:
            self.barrier.wait()
        finally:
            self.turn.acquire()

    def box(self, source: int, to: int) -> Queue[Array]:
        """Messages on their way from one rank to another."""
        return self.mail.setdefault((source, to), Queue())


class Threaded(Alone):
    """One of several ranks that are threads; `sent` counts the bytes of its messages."""

    def __init__(self, rank: int, meeting: _Meeting) -> None:
        self.rank, self._meeting = rank, meeting
        self.size = len(meeting.said)
        self.sent = 0

    def summed(self, values: Array) -> Array:
        """See `Alone.summed`."""
        return np.asarray(np.sum(self._all(values), axis=0))

    def highest(self, values: Array) -> Array:
        """See `Alone.highest`."""
        return np.asarray(np.max(self._all(values), axis=0))

    def anywhere(self, condition: bool) -> bool:
        """See `Alone.anywhere`."""
        return any(self._all(condition))

    def told(self, value: Any) -> Any:
        """See `Alone.told`."""
        return self._all(value)[0]

    def collected(self, value: Any) -> list[Any]:
        """See `Alone.collected`."""
        said = self._all(value)
        return said if self.rank == 0 else []

    def part(self, colour: int) -> Threaded:
        """See `Alone.part`."""
        members = [rank for rank, other in enumerate(self._all(colour)) if other == colour]
        if members[0] == self.rank:
            self._meeting.parts[colour] = _Meeting(len(members), self._meeting.turn)
        self._all(None)
        return Threaded(members.index(self.rank), self._meeting.parts[colour])

    def send(self, values: Array, to: int) -> None:
        """See `Alone.send`."""
        _require_contiguous(values)
        self._meeting.box(self.rank, to).put(values.copy())

    def receive(self, values: Array, source: int) -> None:
        """See `Alone.receive`."""
        _require_contiguous(values)
        turn = self._meeting.turn
        turn.release()
        try:
            came = self._meeting.box(source, self.rank).get(timeout=_PATIENCE)
        finally:
            turn.acquire()
        if came.shape != values.shape:
            raise ValueError(f"rank {source} sent an array {came.shape} to one {values.shape} of rank {self.rank}")
        values[...] = came

    def exchange(self, sends: Sequence[tuple[int, Array]], receives: Sequence[tuple[int, Array]]) -> Exchange:
        """See `Alone.exchange`."""
        return _Messages(self, sends, receives)

    def _all(self, value: Any) -> list[Any]:
        meeting = self._meeting
        meeting.said[self.rank] = copy.deepcopy(value)
        meeting.wait()
        said = list(meeting.said)
        meeting.wait()
        return said


class _Messages(Exchange):
    def __init__(
        self, comm: Threaded, sends: Sequence[tuple[int, Array]], receives: Sequence[tuple[int, Array]]
    ) -> None:
        self._comm, self._sends, self._receives = comm, sends, receives

    def begin(self) -> None:
        """See `Exchange.begin`."""
        for peer, values in self._sends:
            self._comm.sent += values.nbytes
            self._comm.send(values, peer)

    def end(self) -> None:
        """See `Exchange.end`."""
        for peer, values in self._receives:
            self._comm.receive(values, peer)


def _require_contiguous(values: Array) -> None:
    if not values.flags.c_contiguous:  # as MPI would
        raise ValueError("messages are contiguous arrays")


def on_ranks(size: int, work: Callable[[Alone], T]) -> list[T]:
    """What `work(comm)` returns on each of so many ranks. Raises what it raised on the first rank that failed."""
    if size == 1:
        return [work(Alone())]
    meeting = _Meeting(size, threading.Lock())

    def one(rank: int) -> T:
        with meeting.turn:
            try:
                return work(Threaded(rank, meeting))
            except BaseException:
                meeting.barrier.abort()
                raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
    problems = [problem for future in futures if (problem := future.exception()) is not None]
    problems.sort(key=lambda problem: isinstance(problem, threading.BrokenBarrierError))  # who waited for it comes last
    if problems:
        raise problems[0]
    return [future.result() for future in futures]
