"""What one orbital and several orbitals per site have in common: arrays of numbers, or of small square matrices.

An array of blocks has the shape (n,) for one orbital per site and (n, o, o) for o > 1; with replicas in front (R, n) and
(R, n, o, o). Numbers are not treated as 1 x 1 matrices, because that would be ten times slower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.models.hamiltonian import as_blocks

Array = NDArray[Any]


def are_matrices(blocks: Array) -> bool:
    """Whether these are blocks of several orbitals."""
    return blocks.ndim > 2


def adjoint(blocks: Array) -> Array:
    """A^+ of each block."""
    return np.conj(blocks.swapaxes(-1, -2) if are_matrices(blocks) else blocks)


def hermitian(blocks: Array) -> Array:
    """(A + A^+)/2 of each block: real for numbers."""
    return 0.5 * (blocks + adjoint(blocks)) if are_matrices(blocks) else blocks.real


def inverse(blocks: Array) -> Array:
    """1/A of each block."""
    return np.linalg.inv(blocks) if are_matrices(blocks) else 1.0 / blocks


def dressed(outer: Array, inner: Array) -> Array:
    """A B A^+ of each pair of blocks, such as the self-energy H M H^+ of a message M that came over a hop H."""
    return outer @ inner @ adjoint(outer) if are_matrices(outer) else np.abs(outer) ** 2 * inner


def trace(blocks: Array) -> Array:
    """Tr A of each block."""
    return np.einsum("...aa->...", blocks) if are_matrices(blocks) else blocks


def square(blocks: Array) -> Array:
    """Tr A A^+ of each block."""
    squares = np.abs(blocks) ** 2
    return squares.sum(axis=(-2, -1)) if are_matrices(blocks) else squares


def unit(blocks: Array) -> Array | float:
    """The block 1 that goes with such blocks, to be added to all of them."""
    return np.eye(blocks.shape[-1]) if are_matrices(blocks) else 1.0


def norms(blocks: Array) -> Array:
    """The largest singular value of each block: unitary changes of orbitals keep it. Raises ArithmeticError for NaN."""
    if not are_matrices(blocks):
        return np.abs(blocks)
    _require_finite(blocks)
    return np.linalg.norm(blocks, ord=2, axis=(-2, -1))


def extremes(blocks: Array) -> tuple[Array, Array]:
    """The lowest and the highest eigenvalue of each Hermitian block. Raises ArithmeticError for NaN."""
    if not are_matrices(blocks):
        return blocks, blocks
    _require_finite(blocks)
    values = np.linalg.eigvalsh(blocks)
    return values[..., 0], values[..., -1]


def weighted(weights: Array, values: Array) -> Array:
    """sum_p weights_p values_p of real weights (P,) and arrays (P, ...), one term after the other.

    BLAS adds up in an order that depends on how many sites there are, and where among them one is.
    """
    total = np.zeros_like(values[0])
    for weight, value in zip(weights, values, strict=True):
        # As pairs of real numbers: so each is multiplied once and added once on any machine.
        total.view(np.float64)[...] += weight * np.ascontiguousarray(value).view(np.float64)
    return total


def as_matrices(blocks: Array, orbitals: int) -> Array:
    """Blocks (n,) or (n, o, o) as (n, o, o), where numbers stand for multiples of 1."""
    return blocks if are_matrices(blocks) else as_blocks(blocks, orbitals)


def _require_finite(blocks: Array) -> None:
    if not np.isfinite(blocks).all():
        raise ArithmeticError("the Hamiltonian is not finite; are the positions?")
