"""torch's process group: how ranks of torchrun talk, and how ranks of a training share gradients, on CPUs by gloo."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from latticemd.errors import InputError
from latticemd.parallel.comm import Alone, Array

_POLL = 0.01  # seconds


class Torchrun(Alone):
    """The ranks that torchrun has started. No single rank sends to another.

    torchrun keeps a store of words that outlives every rank. How ranks end is agreed there, because a rank that dies takes the
    connections of the others with it.
    """

    def __init__(self) -> None:
        try:
            import torch.distributed as dist
            from torch.distributed.rendezvous import rendezvous
        except ImportError as error:
            raise InputError(
                f"ranks of torchrun talk through torch, which is missing ({error}): pip install 'latticemd[ml]'"
            ) from error
        store, self.rank, self.size = next(iter(rendezvous("env://")))
        self._store = dist.PrefixStore("latticemd", store)
        self._meetings = 0
        dist.init_process_group("gloo", store=dist.PrefixStore("group", store), rank=self.rank, world_size=self.size)

    def summed(self, values: Array) -> Array:
        """See `Alone.summed`."""
        return self._reduced(values, "SUM")

    def highest(self, values: Array) -> Array:
        """See `Alone.highest`."""
        return self._reduced(np.asarray(values, dtype=np.float64), "MAX")

    def told(self, value: Any) -> Any:
        """See `Alone.told`."""
        import torch.distributed as dist

        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def collected(self, value: Any) -> list[Any]:
        """See `Alone.collected`."""
        import torch.distributed as dist

        said: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(value, said)
        return said or []

    def part(self, colour: int) -> Torchrun:
        """See `Alone.part`: always all of them."""
        return self

    def met(self, patience: float) -> bool:
        """See `Mpi.met`. A rank that another one has ended leaves without a word."""
        self._meetings += 1
        place, end = f"meeting {self._meetings}", time.monotonic() + patience
        self._store.add(place, 1)
        while time.monotonic() < end:
            if self._store.check(["ended"]):
                sys.exit(1)
            if self._store.add(place, 0) >= self.size:
                return True
            time.sleep(_POLL)
        return False

    def wait(self) -> None:
        """See `Mpi.wait`."""
        self.met(float("inf"))

    def end_all(self, code: int) -> NoReturn:
        """See `Mpi.end_all`: torchrun ends the others when one leaves with an error."""
        self._store.set("ended", "")
        sys.exit(code)

    def _reduced(self, values: Array, how: str) -> Array:
        import torch
        import torch.distributed as dist

        shared = torch.from_numpy(np.array(values))  # a copy, which is replaced by what all ranks have
        dist.all_reduce(shared, getattr(dist.ReduceOp, how))
        found: Array = shared.numpy()
        return found


@contextmanager
def process_group(world: Alone) -> Iterator[None]:
    """torch's default group with the ranks of `world`, for a while.

    An error leaves it open: a connection that closes would be the error of all others, before they could hear of the first.
    """
    if world.size == 1 or isinstance(world, Torchrun):
        yield
        return
    import torch.distributed as dist

    store = _store(world)
    dist.init_process_group("gloo", store=store, rank=world.rank, world_size=world.size)
    yield
    dist.destroy_process_group()


def _store(world: Alone) -> Any:
    """Where the ranks of MPI find each other a second time: kept by the first one, on a port that is free."""
    import torch.distributed as dist

    here = socket.gethostname()
    alike = not world.anywhere(world.told(here) != here)
    host = "localhost" if alike else world.told(here)
    if world.rank:
        return dist.TCPStore(host, world.told(None), world.size, is_master=False)
    store = dist.TCPStore(host, 0, world.size, is_master=True, wait_for_workers=False)
    world.told(store.port)
    return store
