"""What ranks say to each other. `Alone` is one rank that has nobody to talk to; nothing else need know how many there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Alone:
    """One rank. Every method is collective: all ranks call it, in the same order."""

    rank = 0
    size = 1

    def summed(self, values: Array) -> Array:
        """Numbers added up over all ranks: exact for integers, and for what one rank alone knows while the others give zero."""
        return values

    def highest(self, values: Array) -> Array:
        """The largest of each number over all ranks."""
        return values

    def anywhere(self, condition: bool) -> bool:
        """Whether it holds on any rank."""
        return bool(self.summed(np.array([condition], dtype=np.int64))[0])

    def told(self, value: Any) -> Any:
        """What the first rank says."""
        return value

    def collected(self, value: Any) -> list[Any]:
        """What every rank says, in order, on the first rank; nothing on the others."""
        return [value]

    def part(self, colour: int) -> Alone:
        """The ranks that give the same colour, in the same order."""
        return self

    def send(self, values: Array, to: int) -> None:
        """Send a contiguous array to a rank that receives it."""
        raise NotImplementedError("there is nobody to send to")

    def receive(self, values: Array, source: int) -> None:
        """Fill a contiguous array with what a rank sends."""
        raise NotImplementedError("there is nobody to receive from")

    def exchange(self, sends: Sequence[tuple[int, Array]], receives: Sequence[tuple[int, Array]]) -> Exchange:
        """Messages that are exchanged again and again, from and into these contiguous arrays."""
        return Exchange()


class Exchange:
    """Messages between nobody."""

    def begin(self) -> None:
        """Send what is in the arrays now."""

    def end(self) -> None:
        """Return when all others have come, and what was sent has left its arrays."""


class Mpi(Alone):
    """The ranks of an MPI communicator of mpi4py."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()

    def summed(self, values: Array) -> Array:
        """See `Alone.summed`."""
        total = np.empty_like(values)
        self._comm.Allreduce(np.ascontiguousarray(values), total)
        return total

    def highest(self, values: Array) -> Array:
        """See `Alone.highest`."""
        from mpi4py import MPI

        values = np.ascontiguousarray(values, dtype=np.float64)
        largest = np.empty_like(values)
        self._comm.Allreduce(values, largest, op=MPI.MAX)
        return largest

    def told(self, value: Any) -> Any:
        """See `Alone.told`."""
        return self._comm.bcast(value)

    def collected(self, value: Any) -> list[Any]:
        """See `Alone.collected`."""
        return self._comm.gather(value) or []

    def part(self, colour: int) -> Mpi:
        """See `Alone.part`."""
        return Mpi(self._comm.Split(colour, self.rank))

    def send(self, values: Array, to: int) -> None:
        """See `Alone.send`."""
        self._comm.Send(values, dest=to)

    def receive(self, values: Array, source: int) -> None:
        """See `Alone.receive`."""
        self._comm.Recv(values, source=source)

    def exchange(self, sends: Sequence[tuple[int, Array]], receives: Sequence[tuple[int, Array]]) -> Exchange:
        """See `Alone.exchange`."""
        requests = [self._comm.Recv_init(array, source=rank) for rank, array in receives]
        requests += [self._comm.Send_init(array, dest=rank) for rank, array in sends]
        return _Persistent(requests)

    # how ranks end

    def met(self, patience: float) -> bool:
        """Whether all ranks come here before so many seconds have passed."""
        request, end = self._comm.Ibarrier(), time.monotonic() + patience
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def wait(self) -> None:
        """Return when all ranks have come here."""
        self._comm.Barrier()

    def end_all(self, code: int) -> NoReturn:
        """End all ranks now, with this exit code."""
        self._comm.Abort(code)
        raise SystemExit(code)


class _Persistent(Exchange):
    """Persistent requests: their set-up is paid for once."""

    def __init__(self, requests: list[Any]) -> None:
        from mpi4py import MPI

        self._requests = requests
        self._start, self._wait = MPI.Prequest.Startall, MPI.Request.Waitall

    def begin(self) -> None:
        """See `Exchange.begin`."""
        self._start(self._requests)

    def end(self) -> None:
        """See `Exchange.end`."""
        self._wait(self._requests)
