"""Dense linear algebra on the device: cuSOLVER and cuBLAS through CuPy; LAPACK where the device is simulated."""

from __future__ import annotations

import numpy as np

from cuda_kernels.device import SIMULATED
from latticemd.backends.cuda.arrays import Array, empty
from latticemd.backends.cuda.simulated import SimulatedArray

BATCHED_UP_TO = (
    256  # rows of matrices that fill a card only together; larger ones go one by one through the blocked routines
)

if not SIMULATED:
    import cupy


def eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues (B, n) and eigenvectors (B, n, n), as columns, of Hermitian matrices (B, n, n)."""
    if SIMULATED:
        values, vectors = np.linalg.eigh(matrices.memory)
        return _simulated(values, matrices), _simulated(vectors, matrices)
    if matrices.shape[1] <= BATCHED_UP_TO:
        values, vectors = cupy.linalg.eigh(matrices)
        return values, vectors
    values, vectors = empty(matrices.shape[:2]), empty(matrices.shape, matrices.dtype)
    for one, matrix in enumerate(matrices):
        values[one], vectors[one] = cupy.linalg.eigh(matrix)
    return values, vectors


def inverse(matrices: Array) -> tuple[Array, Array]:
    """Inverses (B, n, n) of matrices and log |det| (B,) of these."""
    if SIMULATED:
        memory = matrices.memory
        return _simulated(np.linalg.inv(memory), matrices), _simulated(np.linalg.slogdet(memory)[1], matrices)
    if matrices.shape[1] <= BATCHED_UP_TO:
        return cupy.linalg.inv(matrices), cupy.linalg.slogdet(matrices)[1]
    inverses, logarithms = empty(matrices.shape, matrices.dtype), empty(len(matrices))
    for one, matrix in enumerate(matrices):
        inverses[one], logarithms[one] = cupy.linalg.inv(matrix), cupy.linalg.slogdet(matrix)[1]
    return inverses, logarithms


def _simulated(values: np.ndarray, like: SimulatedArray) -> SimulatedArray:
    return SimulatedArray(values, like.traffic)
