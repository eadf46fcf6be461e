"""Probing a block of a square lattice: the recursion runs a few steps on the block with its rim, then the rim is fetched anew.

Every step spoils one more layer of the rim, as what lies beyond it is wrong; RIM steps later T_k and T_k-1 come from the ranks that
have them. The numbers of each site are those of `forcefields.kpm.square` on the whole lattice, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcefields.kpm.chebyshev import Interval, Series
from forcefields.kpm.colouring import colours_along
from forcefields.kpm.probing import Probed
from forcefields.kpm.square import begin_vector, close_rows, end_vector, make_buffer, row_of, run_waves, stride_of
from latticemd.lattice.block import Block
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]

RIM = 8  # layers, and steps between two exchanges: wider rims cost more work than they save messages


@dataclass(frozen=True)
class OnBlock:
    """Coloured vectors on a block of a square lattice with one real `hopping` [energy]; colours are those of the whole lattice."""

    block: Block
    hopping: float
    distance: int
    precision: Any  # the NumPy type of the vectors; sums are double

    def propagate(
        self, hamiltonian: Hamiltonian, intervals: list[Interval], series: list[Series], pairs: bool = False
    ) -> Probed:
        """See `probing.OnGraph.propagate`. There are no traces: what concerns all sites follows from energies and densities."""
        shape = self.block.shape
        found = np.zeros((len(intervals), 2, *shape))
        for r, (interval, one) in enumerate(zip(intervals, series, strict=True)):
            scale = 2.0 / interval.half_width
            diagonal = (scale * (hamiltonian.levels[r] - interval.centre)).reshape(shape).astype(self.precision)
            hop = np.asarray(scale * self.hopping, self.precision)[()]
            self._propagate_one(diagonal, hop, np.stack([one.density, one.energy], axis=1), found[r])
        density, energy = (found[:, n].reshape(hamiltonian.levels.shape) for n in range(2))
        return Probed(density, energy, None, [])

    def _propagate_one(self, diagonal: Array, hop: Any, c: Array, density: Array) -> None:
        """Add density and energy of one replica to (2, Lx, Ly)."""
        shape = diagonal.shape
        layers = self.block.along
        down, across = (colours_along(extent, self.distance) for extent in self.block.whole.shape)
        beside = across.max() + 1
        level, even, odd = (make_buffer(shape[0], shape[1], diagonal) for _ in range(3))
        signs = np.zeros((0, shape[1]), np.int8)
        for number in range((down.max() + 1) * beside):
            rows = down[layers[0]] == number // beside
            columns = np.flatnonzero(across[layers[1]] == number % beside)
            found, trace = np.zeros((2, shape[0], columns.size)), np.zeros(len(c))
            begin_vector(diagonal, hop, c, rows, columns, signs, level, even, odd, found, trace)
            for start in range(2, len(c), RIM):
                self._fetch(even, odd)
                waves = min(RIM, len(c) - start)
                run_waves(start, waves, shape, hop, c, rows, columns, signs, level, even, odd, found, trace)
            end_vector(rows, columns, found, density)

    def _fetch(self, even: Array, odd: Array) -> None:
        """Fetch the rims of T_k and T_k-1."""
        rows, columns = self.block.shape
        stride = stride_of(columns, even.itemsize)
        first = row_of(0, stride, even.itemsize)
        fields = [t[first : first + rows * stride].reshape(rows, stride)[:, :columns] for t in (even, odd)]
        fresh = self.block.refreshed(np.stack(fields).reshape(2, -1).astype(np.float64))
        for t, field, values in zip((even, odd), fields, fresh, strict=True):
            field[...] = values.reshape(rows, columns)
            close_rows(0, rows, (rows, columns), stride, t)
