"""All linear maps between features of nearby sites that commute with a group: the kernels of equivariant convolutions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forcefields.equivariant.group import Array, LatticeGroup
from forcefields.equivariant.representations import Representation

_INDEPENDENT = 1e-6  # length below which what is left of a row is rounding
_Pair = tuple[int, int, tuple[int, ...]]  # source and target in the basis, cells from target to source


@dataclass(frozen=True, eq=False)
class Intertwiners:
    """A basis of kernels W with W(g r) = rho_out(g) W(r) rho_in(g)^T for all operations g and displacements r.

    y_i(target) = sum_{k, source, j} c_k kernels[k, ..., target, i, source, j] x_j(source)

    =======  ====================================  ==============================================================
    field    shape                                 meaning
    =======  ====================================  ==============================================================
    kernels  (K, 2 reach + 1, ..., b, m, b, n)     orthonormal; the middle of the grid axes is the same cell
    =======  ====================================  ==============================================================
    """

    kernels: Array

    @property
    def count(self) -> int:
        """K, free coefficients."""
        return len(self.kernels)


@lru_cache(maxsize=256)  # of one network: they are frozen, and compared by identity
def intertwiners(group: LatticeGroup, source: Representation, target: Representation, radius: float) -> Intertwiners:
    """The kernels between features of sites at most `radius` apart [length].

    Displacements fall into orbits under the group. In each, the kernel of one displacement is any matrix that commutes with
    the operations that keep the displacement (the image of the average over them), and its images follow.
    """
    pairs = _pairs(group, radius)
    reach = max((abs(n) for *_, offset in pairs for n in offset), default=0)
    d, b = group.lattice.directions, group.basis
    shape = (2 * reach + 1,) * d + (b, target.dimension, b, source.dimension)
    kernels, done = [], set()
    for pair in pairs:
        if pair in done:
            continue
        images = [group.moved(g, *pair) for g in range(group.order)]
        done |= set(images)
        for matrix in _commuting([g for g, image in enumerate(images) if image == pair], pair, source, target):
            kernel = np.zeros(shape)
            for g, (s, t, offset) in enumerate(images):
                place = tuple(n + reach for n in offset)
                kernel[place][t, :, s] = target.matrices[g, pair[1]] @ matrix @ source.matrices[g, pair[0]].T
            kernels.append(kernel / np.linalg.norm(kernel))
    return Intertwiners(np.array(kernels).reshape(len(kernels), *shape))


def _pairs(group: LatticeGroup, radius: float) -> list[_Pair]:
    """Pairs of sites at most `radius` apart with the target in the first cell, near ones first."""
    cell = group.lattice.cell
    vectors, basis = np.array(cell.vectors), np.array(cell.basis)
    most = 1 + np.ceil(
        (radius + np.ptp(basis, axis=0).max(initial=0.0)) * np.linalg.norm(np.linalg.pinv(vectors), axis=0)
    )
    found = []
    for offset in itertools.product(*(range(-int(n), int(n) + 1) for n in most)):
        for source, target in itertools.product(range(group.basis), repeat=2):
            distance = float(np.linalg.norm(np.array(offset) @ vectors + basis[source] - basis[target]))
            if distance <= radius + 1e-6:
                found.append((round(distance, 6), (source, target, offset)))
    return [pair for _, pair in sorted(found)]


def _commuting(stabiliser: list[int], pair: _Pair, source: Representation, target: Representation) -> list[Array]:
    """An orthonormal basis of the matrices (m, n) that commute with operations which keep a pair of sites."""
    left, right = target.matrices[stabiliser, pair[1]], source.matrices[stabiliser, pair[0]]
    m, n = target.dimension, source.dimension
    average = np.einsum("gij,gkl->ikjl", left, right).reshape(m * n, m * n) / len(stabiliser)
    return [row.reshape(m, n) for row in spanning(average.T)]


def spanning(rows: Array) -> list[Array]:
    """An orthonormal basis of what rows (n, m) span: the rows in order, made orthogonal to those before.

    Of a projector (a symmetric matrix) this is its image. Unlike eigenvectors of a degenerate eigenvalue it is the same on
    every machine; coefficients in files count on it.
    """
    found: list[Array] = []
    for row in rows:
        rest = row.copy()
        for _ in range(2):  # once more, for orthogonality to rounding
            for one in found:
                rest -= (one @ rest) * one
        length = np.linalg.norm(rest)
        if length > _INDEPENDENT:
            found.append(rest / length)
    return found
