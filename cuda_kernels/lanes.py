"""What threads of a warp tell each other without memory."""

from __future__ import annotations

from typing import Any

from numba import cuda

from cuda_kernels.device import SIMULATED, device

Array = Any

WARP = 16 if SIMULATED else 32


if SIMULATED:  # where there are no warps: by a barrier of the block, so all of its threads must come here together

    @device
    def from_lane(value: Any, lane: int, room: Array) -> Any:
        """The value that another lane of the warp has here; `room`, one for each thread, is shared memory."""
        t = cuda.threadIdx.x
        room[t] = value
        cuda.syncthreads()
        found = room[t // WARP * WARP + lane]
        cuda.syncthreads()
        return found

else:

    @device
    def from_lane(value: Any, lane: int, room: Array) -> Any:
        """The value that another lane of the warp has here; all lanes must come here together, `room` isn't touched."""
        return cuda.shfl_sync(0xFFFFFFFF, value, lane)
