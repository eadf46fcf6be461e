"""Density matrices that a self-consistent search may start from: which of several solutions is found depends on them."""

from __future__ import annotations

import numpy as np

from latticemd.backends import kernels_for
from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model
from latticemd.rng import Stream


def seeded(pattern: str, model: Model, amplitude: float, number: int, is_complex: bool) -> DensityMatrix:
    """rho of one replica: isolated sites, half filled, with an order of this amplitude (1 is saturated) put on them.

    ================  ====================================================================================
    pattern           rho_i, with sigma the Pauli matrices
    ================  ====================================================================================
    paramagnet        1/2, which makes no field at all
    antiferromagnet   [1 + amplitude (-1)^(x+y) sigma^z]/2; for electrons without spin as paramagnet
    charge            [1 + amplitude (-1)^(x+y)]/2
    random            1/2 + amplitude/4 times a Hermitian matrix of normal numbers, from `number`
    ================  ====================================================================================
    """
    sites, o = model.lattice.sites, model.orbitals
    number_type = complex if is_complex else float
    blocks = np.broadcast_to(0.5 * np.eye(o, dtype=number_type), (sites, o, o)).copy()
    if pattern == "antiferromagnet" and o == 2:
        blocks += 0.5 * amplitude * model.lattice.staggered[:, None, None] * np.diag([1.0, -1.0])
    elif pattern == "charge":
        blocks += 0.5 * amplitude * model.lattice.staggered[:, None, None] * np.eye(o)
    elif pattern == "random":
        blocks += 0.25 * amplitude * _random_hermitian(sites, o, number, is_complex)
    elif pattern not in ("paramagnet", "antiferromagnet"):
        raise InputError(f"unknown seed {pattern!r}; known: paramagnet, antiferromagnet, charge, random")
    hops = len(model.hops().i)
    if o == 1:
        return DensityMatrix(blocks[None, :, 0, 0].real, np.zeros((1, hops), dtype=number_type))
    return DensityMatrix(blocks[None], np.zeros((1, hops, o, o), dtype=number_type))


def _random_hermitian(sites: int, o: int, number: int, is_complex: bool) -> Array:
    """Normal matrices (N, o, o), real unless complex ones are wanted."""
    normals = np.empty((1, sites, 2 * o * o))
    kernels_for(normals).normals(number, int(Stream.MEAN_FIELD), 0, 0, 0, normals)
    real, imaginary = normals[0].reshape(sites, 2, o, o).swapaxes(0, 1)
    matrix = real + 1j * imaginary if is_complex else real
    hermitian: Array = 0.5 * (matrix + matrix.conj().swapaxes(1, 2))
    return hermitian
