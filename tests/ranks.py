"""Ranks as threads of one process, so that what ranks do together can be tested without MPI."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from queue import Queue

import numpy as np

from latticemd.parallel.comm import Alone, Exchange
from latticemd.simulation import Frame

# Up to Python 3.11 a cached property has one lock for all frames, which ranks that wait for each other would hold.
for _shared in vars(Frame).values():
    if isinstance(_shared, cached_property):
        _shared.lock = nullcontext()


class _Meeting:
    """Where ranks leave what they say, and wait for each other."""

    def __init__(self, size):
        self.said = [None] * size
        self.barrier = threading.Barrier(size, timeout=120)
        self.mail = {}
        self.parts = {}


class Threaded(Alone):
    """One of several ranks that are threads."""

    def __init__(self, rank, meeting):
        self.rank, self._meeting = rank, meeting
        self.size = len(meeting.said)
        self.sent = 0

    def _all(self, value):
        meeting = self._meeting
        meeting.said[self.rank] = copy.deepcopy(value)
        meeting.barrier.wait()
        said = list(meeting.said)
        meeting.barrier.wait()
        return said

    def summed(self, values):
        return np.sum(self._all(values), axis=0)

    def highest(self, values):
        return np.max(self._all(values), axis=0)

    def anywhere(self, condition):
        return any(self._all(condition))

    def told(self, value):
        return self._all(value)[0]

    def collected(self, value):
        said = self._all(value)
        return said if self.rank == 0 else []

    def part(self, colour):
        colours = self._all(colour)
        members = [rank for rank, other in enumerate(colours) if other == colour]
        if members[0] == self.rank:
            self._meeting.parts[colour] = _Meeting(len(members))
        self._all(None)
        return Threaded(members.index(self.rank), self._meeting.parts[colour])

    def _mail(self, source, to):
        # setdefault is one step for threads; a defaultdict may make two queues of which one is lost.
        return self._meeting.mail.setdefault((source, to), Queue())

    def send(self, values, to):
        assert values.flags.c_contiguous
        self._mail(self.rank, to).put(values.copy())

    def receive(self, values, source):
        assert values.flags.c_contiguous
        came = self._mail(source, self.rank).get(timeout=120)
        assert came.shape == values.shape
        values[...] = came

    def exchange(self, sends, receives):
        return _Messages(self, sends, receives)


class _Messages(Exchange):
    def __init__(self, comm, sends, receives):
        self.comm, self.sends, self.receives = comm, sends, receives

    def begin(self):
        for peer, values in self.sends:
            self.comm.sent += values.nbytes
            self.comm.send(values, peer)

    def end(self):
        for peer, values in self.receives:
            self.comm.receive(values, peer)


def on_ranks(size, work):
    """What `work(comm)` returns on each of so many ranks."""
    if size == 1:
        return [work(Alone())]
    meeting = _Meeting(size)

    def one(rank):
        try:
            return work(Threaded(rank, meeting))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
        return [future.result() for future in futures]
