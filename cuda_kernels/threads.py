"""Which degrees of freedom a thread is for.

Arrays are (R, n), a replica in a row. A row is served by whole blocks, so what a block sums belongs to one replica. Each
thread takes TURNS pairs of degrees of freedom, THREADS apart: neighbouring threads touch neighbouring memory, and one pair
has its noise from one call of the generator.
"""

from __future__ import annotations

from numba import cuda

from cuda_kernels.device import THREADS, device

TURNS = 4
PER_BLOCK = 2 * TURNS * THREADS  # degrees of freedom


@device
def row_and_block(per_row: int) -> tuple[int, int]:
    """The row of this block, and its number among the `per_row` blocks of that row."""
    return cuda.blockIdx.x // per_row, cuda.blockIdx.x % per_row


@device
def pair_of(block: int, turn: int) -> int:
    """The pair of degrees of freedom 2 j, 2 j + 1 that this thread takes in this turn."""
    return (block * TURNS + turn) * THREADS + cuda.threadIdx.x
