"""Share: what one rank has of a simulation, some of its replicas and of each of them some cells, and how it learns of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for, on_host
from latticemd.backends.place import Place, cut
from latticemd.lattice import Lattice
from latticemd.lattice.block import Block, Crewed, Everywhere
from latticemd.models.model import Model
from latticemd.parallel.comm import Alone
from latticemd.parallel.halo import Halo
from latticemd.parallel.partition import Partition
from latticemd.parallel.streamed import Streamed, parts_of

Array = NDArray[Any]
M = TypeVar("M", bound=Model)

SLAB_BYTES = 2**24  # of values that are on their way to the first rank


class Share(Place):
    """The part of a partition that belongs to one rank of `world`. One rank alone has everything: nothing is copied, nobody asked.

    Most methods are collective: all ranks of the group, or of the world, call them in the same order.
    """

    def __init__(self, partition: Partition, world: Alone | None = None) -> None:
        self.partition = partition
        self.world = world or Alone()
        self.divided = partition.blocks > 1
        self.group = partition.group(self.world.rank)
        first, last = partition.replicas_of(self.group)
        self.first_replica, self.replicas = first, last - first
        self.comm = self.world if partition.groups == 1 else self.world.part(self.group)
        self.halo = Halo(partition, self.world.rank, self.comm)
        self._pieces: dict[tuple[int, int], Array] = {}

    @classmethod
    def all_of(cls, lattice: Lattice, replicas: int) -> Share:
        """Everything, on one rank."""
        return cls(Partition(lattice, replicas))

    @property
    def whole(self) -> Lattice:
        """The whole lattice."""
        return self.partition.lattice

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice on which this rank computes: the whole, or a block with the cells around it."""
        if self.partition.crew > 1:
            return Crewed(self.whole, self.comm.rank, self.comm.size, self.comm.summed)
        if not self.divided:
            return self.whole
        everywhere = Everywhere(self.total, self.highest, self.extended, self.comm.summed)
        return Block(self.whole, self.partition.known(self.world.rank), self.halo.own, everywhere)

    @property
    def sites(self) -> int:
        """Number of sites that are this rank's own."""
        cells = [b - a for a, b in self.partition.owned(self.world.rank)]
        return int(np.prod(cells)) * len(self.whole.cell.basis)

    def of_model(self, model: M) -> M:
        """The same model on the lattice on which this rank computes."""
        return model if self.lattice is self.whole else dataclasses.replace(model, lattice=self.lattice)

    def of_the_whole(self, model: M) -> M:
        """The model on the whole lattice, from that on the lattice on which this rank computes."""
        return model if self.lattice is self.whole else dataclasses.replace(model, lattice=self.whole)

    # all ranks of a group

    def extended(self, values: Array, out: Array | None = None) -> Array:
        """Values (R, n, ...) of the rank's own sites, with those of the sites around them: on all sites of `lattice`.

        In `out` if it is given, unless nobody else has sites: fresh memory costs more than a copy.
        """
        return self.extending(values, out)()

    def extending(self, values: Array, out: Array | None = None) -> Callable[[], Array]:
        """The same, on its way: what returns it when it is called. Meanwhile there is time for what needs the own sites alone."""
        return self.halo.filling(values, out) if self.divided else lambda: values

    def housed(self, values: Array, within: Array) -> Array:
        """Values (R, n, ...) of the own sites, in that part of `within` (R, N, ...) which is theirs, if it lies in one piece.

        Neither `extended` nor `crop` then copies them. Elsewhere they stay where they are.
        """
        own = self.lattice.in_one_piece(within) if isinstance(self.lattice, Block) else None
        if own is None:
            return values
        own[...] = values
        return own

    def cropped(self, values: Array) -> Array:
        """Of values on all sites of `lattice`, those of the rank's own sites; nothing is asked."""
        return self.lattice.cropped(values) if isinstance(self.lattice, Block) else values

    def crop(self, values: Array, out: Array) -> None:
        """Write them to `out`."""
        if isinstance(self.lattice, Block):
            self.lattice.crop(values, out)
        else:
            out[...] = values

    def total(self, values: Array) -> Array:
        """The sums (R,) over all sites of the whole lattice of values (R, n, ...) of the own sites, rounded once."""
        found: Array = kernels_for(values).total(values, self)
        return found

    def highest(self, values: Array) -> Array:
        """The largest (R,) over all sites of the whole lattice of values (R, n) of the own sites."""
        return self.comm.highest(values.max(axis=1)) if self.divided else values.max(axis=1)

    def added_up(self, tally: Array) -> Array:
        """See `Place.added_up`."""
        return self.comm.summed(tally)

    def pieces(self, sites: int, components: int, most: int) -> Array:
        """See `Place.pieces`."""
        if not self.divided:
            return super().pieces(sites, components, most)
        key = components, most
        if key not in self._pieces:
            per_cell = len(self.whole.cell.basis) * components
            here, parts = 0, []
            for first, last in self.partition.row_blocks(self.world.rank):
                length = (last - first) * per_cell
                parts.append(cut(here, first * per_cell, length, most))
                here += length
            self._pieces[key] = np.concatenate(parts)
            self._pieces[key].setflags(write=False)
        return self._pieces[key]

    def cut_bonds(self, field: Array) -> Array:
        """Share (R,) of nearest neighbours on the whole lattice where a field (R, n) of the own sites has opposite signs."""
        i, j = self._bonds
        around = self.extended(field)
        cut = on_host(kernels_for(around).cut_bonds(around, i, j))
        *cuts, bonds = self.comm.summed(np.array([*cut, len(i)], dtype=np.int64)).tolist()
        return np.array(cuts) / bonds

    @cached_property
    def _bonds(self) -> tuple[Array, Array]:
        """Pairs of neighbours on `lattice`, each where its first site is one of this rank's own."""
        bonds = self.lattice.bonds()
        if not isinstance(self.lattice, Block):
            return bonds.i, bonds.j
        own = np.zeros(self.lattice.sites, dtype=bool)
        own[self.lattice.cropped(np.arange(self.lattice.sites)[None])[0]] = True
        return bonds.i[own[bonds.i]], bonds.j[own[bonds.i]]

    # all ranks of the world

    def anywhere(self, condition: bool) -> bool:
        """Whether it holds on any rank."""
        return self.world.anywhere(condition)

    def collected(self, values: Array) -> Array:
        """Numbers (R, ...) of the replicas of all groups on the first rank; those of the group elsewhere."""
        if self.partition.groups == 1:
            return values
        leads = self.world.rank % self.partition.per_group == 0
        parts = [part for part in self.world.collected(values if leads else None) if part is not None]
        return np.concatenate(parts) if parts else values

    def streams(self, values: Array) -> Iterator[tuple[int, Array | Streamed]]:
        """Every replica of the whole simulation, and its values (N, ...) on the whole lattice, from those of the own sites.

        On several ranks they come slab by slab, and all ranks have to take each of them to the end.
        """
        if self.world.size == 1:
            yield from enumerate(values)
            return
        for replica in range(self.partition.replicas):
            mine = values[replica - self.first_replica] if self.partition.group_of(replica) == self.group else None
            shape = (self.whole.sites, *values.shape[2:])
            yield replica, Streamed(shape, values.dtype, self._slabs(mine, replica, values.shape[2:], values.dtype))

    def gathered(self, values: Array) -> Array | None:
        """Values (R, N, ...) of all replicas on the whole lattice, in the memory of the first rank; None on the others."""
        if self.world.size == 1:
            return values
        rows = [np.concatenate(list(parts_of(one)) or [values[0][:0]]) for _, one in self.streams(values)]
        return np.stack(rows) if self.world.rank == 0 else None

    # from a file that all ranks can read

    def taken(self, whole: Any) -> Array:
        """Of values (R, N, ...) of the whole simulation, an array or an HDF5 dataset, those of this rank; nothing else is read."""
        replicas = slice(self.first_replica, self.first_replica + self.replicas)
        if not self.divided:
            return np.asarray(whole[replicas])
        per_cell = len(self.whole.cell.basis)
        rows = self.partition.row_blocks(self.world.rank)
        return np.concatenate([whole[replicas, first * per_cell : last * per_cell] for first, last in rows], axis=1)

    def replicas_taken(self, whole: Any) -> Array:
        """Of values (R, ...) of all replicas, those of this rank."""
        return np.asarray(whole[self.first_replica : self.first_replica + self.replicas])

    def _slabs(self, mine: Array | None, replica: int, rest: tuple[int, ...], kind: Any) -> Iterator[Array]:
        """The values of a replica on the first rank, a few layers of cells along the first direction at a time."""
        partition, rank, shape = self.partition, self.world.rank, self.whole.shape
        per_cell = len(self.whole.cell.basis) * int(np.prod(rest, dtype=np.int64))
        layer = int(np.prod(shape[1:], dtype=np.int64)) * per_cell * kind.itemsize
        step = max(1, SLAB_BYTES // max(1, layer))
        first_of_group = partition.group_of(replica) * partition.per_group
        for begin in range(0, shape[0], step):
            end = min(begin + step, shape[0])
            slab = np.empty((end - begin, *shape[1:], per_cell), dtype=kind) if rank == 0 else None
            for other in range(first_of_group, first_of_group + partition.blocks):
                (first, last), *across = partition.owned(other)
                low, high = max(begin, first), min(end, last)
                if low >= high or rank not in (0, other):
                    continue
                inner = [b - a for a, b in across]
                if rank == other:
                    assert mine is not None
                    part = mine.reshape(last - first, *inner, per_cell)[low - first : high - first]
                    if rank:
                        self.world.send(np.ascontiguousarray(part), 0)
                else:
                    part = np.empty((high - low, *inner, per_cell), dtype=kind)
                    self.world.receive(part, other)
                if slab is not None:
                    slab[(slice(low - begin, high - begin), *(slice(*span) for span in across))] = part
            if slab is not None:
                yield slab.reshape(-1, *rest)
