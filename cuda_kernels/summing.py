"""Sums over blocks of threads in an order that depends on nothing but the number of sites: no atomic addition of floats.

A block adds up what its threads have in a tree, and leaves a part; the last block of a row to arrive adds up the parts. A row
is a replica, so a sum doesn't depend on how many replicas share a launch, and a second launch isn't needed.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from cuda_kernels.device import device, kernel

Array = Any


@device
def sum_of_block(value: float, scratch: Array) -> float:
    """The sum over all threads of a block; all of them must come here. `scratch`, one each, is shared memory."""
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    scratch[t] = value
    cuda.syncthreads()
    while n > 1:
        half = (n + 1) // 2
        if t < n - half:
            scratch[t] += scratch[t + half]
        cuda.syncthreads()
        n = half
    total = scratch[0]
    cuda.syncthreads()  # who comes back must not overwrite what others have yet to read
    return total


@device
def largest_of_block(value: float, scratch: Array) -> float:
    """The largest value of all threads of a block; see `sum_of_block`."""
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    scratch[t] = value
    cuda.syncthreads()
    while n > 1:
        half = (n + 1) // 2
        if t < n - half:
            scratch[t] = max(scratch[t], scratch[t + half])
        cuda.syncthreads()
        n = half
    largest = scratch[0]
    cuda.syncthreads()
    return largest


@device
def sum_of_row(
    value: float, row: int, block: int, blocks: int, parts: Array, arrived: Array, scratch: Array, last: Array
) -> float:
    """The sum over all threads of all blocks of a row, in the last block to arrive; `last` (1,) is then 1, elsewhere 0.

    `parts` (R, blocks) and `arrived` (R,), all zero, are in global memory, the latter zero again in the end; `scratch` and
    `last` are in shared memory. All threads of a block must come here.
    """
    t = cuda.threadIdx.x
    part = sum_of_block(value, scratch)
    if t == 0:
        parts[row, block] = part
        cuda.threadfence()  # the part is seen by whoever sees that it has arrived
        last[0] = 1 if cuda.atomic.add(arrived, row, 1) == blocks - 1 else 0
    cuda.syncthreads()
    total = 0.0
    if last[0] == 1:
        cuda.threadfence()
        for b in range(t, blocks, cuda.blockDim.x):
            total += parts[row, b]
        total = sum_of_block(total, scratch)
        if t == 0:
            arrived[row] = 0
    return total


@kernel
def note_unbounded(x: Array, largest: float, alarm: Array) -> None:
    """Set alarm[0] = 1 unless every element of x (n,) is a number of modulus below `largest`."""
    e = cuda.grid(1)
    if e < x.size and not abs(x[e]) < largest:  # also for NaN
        alarm[0] = 1
