"""Entries of f(H) seen through probing vectors, for any Hamiltonian: the specification of the kernels, and the path of all
that have none.

    f_ij = sum_k c_k T_k(h)_ij  ~  w sum_v (f(h) v)_i v_j,      h = (H - centre) / half_width

i and j number orbitals. T_k(h) v follows from T_{k+1} = 2 h T_k - T_{k-1}. With coloured vectors (v = 1, or a sign, on the
orbitals of one colour, w = 1) only one v is not zero at j, and the error is the sum of s_j f_ij' s_j' over the other orbitals
j' of j's colour. With R random ones (v = +-1, w = 1/R) it is noise of the size sqrt(sum_j' |f_ij'|^2 / R).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from forcefields.kpm.chebyshev import Interval, Series
from latticemd.models.hamiltonian import Hamiltonian

Array = NDArray[Any]

BLOCK_BYTES = 2**25  # of vectors that are multiplied together


class Probed(NamedTuple):
    """What the vectors saw.

    ==========  ==============  =========================================================
    field       shape           meaning
    ==========  ==============  =========================================================
    diagonal    (R, n)          f_ii of every orbital
    energy      (R, n)          omega_ii of every orbital
    pairs       (R, P) or None  f_ij of the pairs of the Hamiltonian, if they were asked for
    traces      R times (M,)    Tr T_k(h)
    ==========  ==============  =========================================================
    """

    diagonal: Array
    energy: Array
    pairs: Array | None
    traces: list[Array]


@dataclass(frozen=True)
class Coloured:
    """One vector for each colour.

    =========  ==============  ===========================================================================
    field      shape           meaning
    =========  ==============  ===========================================================================
    colours    (n,)            0, 1, ... of every orbital
    signs      (n,) or None    +1 or -1 at every orbital; None for +1 everywhere
    asked      (V,) or None    colours whose vectors are made, None for all; entries of others stay zero
    =========  ==============  ===========================================================================
    """

    colours: Array
    signs: Array | None = None
    asked: Array | None = None

    @cached_property
    def _numbers(self) -> Array:
        return np.arange(int(self.colours.max()) + 1) if self.asked is None else self.asked

    @cached_property
    def _vector(self) -> Array:
        """The number of the vector that is not zero at each orbital, (n,); -1 where there is none."""
        vector = np.full(int(self.colours.max()) + 1, -1)
        vector[self._numbers] = np.arange(len(self._numbers))
        return vector[self.colours]

    @property
    def count(self) -> int:
        """V."""
        return len(self._numbers)

    @property
    def weight(self) -> float:
        """w."""
        return 1.0

    def vectors(self, first: int, last: int) -> Array:
        """Vectors first ... last - 1 as columns, (n, last - first)."""
        ones = (self._vector[:, None] == np.arange(first, last)).astype(float)
        return ones if self.signs is None else self.signs[:, None] * ones

    def add(self, images: Array, first: int, i: Array, j: Array, entries: Array) -> None:
        """Add image_i v_j to the `entries` (B,) of the pairs i, j for the images (n, b) of vectors from `first` on."""
        column = self._vector[j] - first
        seen = np.flatnonzero((column >= 0) & (column < images.shape[1]))
        signs = 1.0 if self.signs is None else self.signs[j[seen]]
        entries[seen] += images[i[seen], column[seen]] * signs


@dataclass(frozen=True)
class Random:
    """Vectors of random signs; `signs` (V, n) are +1 or -1."""

    signs: Array

    @property
    def count(self) -> int:
        """V."""
        return len(self.signs)

    @property
    def weight(self) -> float:
        """w."""
        return 1.0 / len(self.signs)

    def vectors(self, first: int, last: int) -> Array:
        """Vectors first ... last - 1 as columns, (n, last - first)."""
        return self.signs[first:last].T.astype(float)

    def add(self, images: Array, first: int, i: Array, j: Array, entries: Array) -> None:
        """Add image_i v_j to the `entries` (B,) of the pairs i, j for the images (n, b) of vectors from `first` on."""
        for column, image in enumerate(images.T):
            entries += image[i] * self.signs[first + column, j]


@dataclass(frozen=True)
class OnGraph:
    """Probing any Hamiltonian, whose pairs of orbitals are a sparse matrix."""

    probes: Coloured | Random

    def propagate(
        self, hamiltonian: Hamiltonian, intervals: list[Interval], series: list[Series], pairs: bool = False
    ) -> Probed:
        """f(H) and omega(H) for the series of each replica, f of its pairs too if wanted.

        Both f_ij and the conjugate of f_ji are probed, and averaged, so that a density matrix is Hermitian.
        """
        every = np.arange(hamiltonian.size)
        i, j = (every, every)
        if pairs:
            i = np.concatenate([i, hamiltonian.i, hamiltonian.j])
            j = np.concatenate([j, hamiltonian.j, hamiltonian.i])
        found = [
            self._entries(hamiltonian.replica(r), *one, i, j)
            for r, one in enumerate(zip(intervals, series, strict=True))
        ]
        entries, energy, traces = (
            np.array([one[0] for one in found]),
            np.array([one[1] for one in found]),
            [one[2] for one in found],
        )
        diagonal = entries[:, : len(every)].real
        if not pairs:
            return Probed(diagonal, energy.real, None, traces)
        there, back = np.split(entries[:, len(every) :], 2, axis=1)
        return Probed(diagonal, energy.real, 0.5 * (there + back.conj()), traces)

    def _entries(
        self, one: Hamiltonian, interval: Interval, series: Series, i: Array, j: Array
    ) -> tuple[Array, Array, Array]:
        """f_ij (B,) for the pairs of orbitals i, j (B,), omega_ii (n,) and the traces of T_k(h) (M,), of one replica."""
        twice, c, w = twice_scaled(one, interval), series.density, series.energy
        entries, traces = np.zeros(len(i), dtype=twice.dtype), np.zeros(len(c))
        energy, every = np.zeros(one.size, dtype=twice.dtype), np.arange(one.size)
        block = max(1, BLOCK_BYTES // (twice.dtype.itemsize * one.size))
        for first in range(0, self.probes.count, block):
            v = self.probes.vectors(first, min(first + block, self.probes.count))
            before, now = v.astype(twice.dtype), 0.5 * (twice @ v)
            image, stored = c[0] * before, w[0] * before
            traces[0] += np.vdot(v, v)
            for k in range(1, len(c)):
                image += c[k] * now
                stored += w[k] * now
                traces[k] += np.vdot(v, now).real
                if k + 1 < len(c):
                    before, now = now, twice @ now - before
            self.probes.add(image, first, i, j, entries)
            self.probes.add(stored, first, every, every, energy)
        weight = self.probes.weight
        return weight * entries, weight * energy, weight * traces


def twice_scaled(one: Hamiltonian, interval: Interval) -> Any:
    """2 h of one replica, sparse (n, n)."""
    rows, columns = np.concatenate([one.i, one.j]), np.concatenate([one.j, one.i])
    amplitude = np.concatenate([one.amplitude, np.conj(one.amplitude)])
    hopping = sparse.coo_array((amplitude, (rows, columns)), shape=(one.size,) * 2).tocsr()
    return (hopping + sparse.diags_array(one.levels[0] - interval.centre)).tocsr() * (2.0 / interval.half_width)
