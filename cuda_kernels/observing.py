"""What reporters ask for, added up on the device so that numbers cross the bus and not the fields they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from cuda_kernels.device import THREADS, kernel
from cuda_kernels.summing import sum_of_block
from cuda_kernels.threads import row_and_block

Array = Any

TURNS = 8  # bonds that a thread looks at


@kernel
def cut_bonds(field: Array, i: Array, j: Array, per_row: int, cut: Array) -> None:
    """Add to the integers cut (R,) how many bonds (B,) join sites where a field (R, N) has opposite signs."""
    counts = cuda.shared.array(THREADS, np.int64)
    r, block = row_and_block(per_row)
    own = np.int64(0)
    for turn in range(TURNS):
        b = (block * TURNS + turn) * THREADS + cuda.threadIdx.x
        if b < i.size and field[r, i[b]] * field[r, j[b]] < 0.0:
            own += np.int64(1)
    found = sum_of_block(own, counts)
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(cut, r, found)


@kernel
def group_sums(values: Array, members: Array, first: Array, out: Array) -> None:
    """out[r, g] = the sum of values (R, n) over members[first[g]] ... members[first[g + 1] - 1], a block for each."""
    scratch = cuda.shared.array(THREADS, np.float64)
    r, group = row_and_block(out.shape[1])
    own = 0.0
    for k in range(first[group] + cuda.threadIdx.x, first[group + 1], cuda.blockDim.x):
        own += values[r, members[k]]
    found = sum_of_block(own, scratch)
    if cuda.threadIdx.x == 0:
        out[r, group] = found
