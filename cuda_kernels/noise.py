"""Philox normals on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from cuda_kernels import philox
from cuda_kernels.device import kernel, shared_source
from cuda_kernels.threads import TURNS, pair_of, row_and_block

Array = Any

_philox = shared_source(
    philox,
    "philox_round",
    "philox4x32",
    "uniform",
    "log",
    "sincos_turn",
    "counter",
    "uniform_pair",
    "normal_pair",
)
normal_pair = _philox.normal_pair


@kernel
def normals(key: int, stream: int, occurrence: int, step: int, first: int, per_row: int, out: Array) -> None:
    """Fill out (R, n); the words are unsigned and 64 bits long, `first` is the number of the first replica."""
    r, block = row_and_block(per_row)
    for turn in range(TURNS):
        j = pair_of(block, turn)
        if 2 * j < out.shape[1]:
            even, odd = normal_pair(key, stream, occurrence, step, first + np.uint64(r), np.uint64(j))
            out[r, 2 * j] = even
            if 2 * j + 1 < out.shape[1]:
                out[r, 2 * j + 1] = odd
