"""State: everything that changes in time and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import on_device, on_host, to_device
from latticemd.parallel.streamed import collected, parts_of, streams, whole_shape

if TYPE_CHECKING:
    from latticemd.parallel.share import Share

Array = NDArray[Any]


@dataclass
class Memory:
    """What the force field starts from (`latticemd.forcefield.Remembering`), by name: arrays with R first, or nothing.

    An evaluation at a step starts from the result of the last one at ANOTHER step, so it doesn't matter how often a step is
    evaluated: a reporter that looks, or a restart, changes nothing.

    ========  ==============================================
    field     meaning
    ========  ==============================================
    step      of the last evaluation; -1 before the first
    start     what evaluations at this step start from
    result    what the last one has found
    ========  ==============================================
    """

    step: int = -1
    start: dict[str, Array] = field(default_factory=dict)
    result: dict[str, Array] = field(default_factory=dict)

    def start_at(self, step: int) -> dict[str, Array]:
        """What an evaluation at this step starts from."""
        return self.start if step == self.step else self.result

    def copy(self) -> Memory:
        """An independent copy of every array."""
        start, result = ({name: value.copy() for name, value in part.items()} for part in (self.start, self.result))
        return Memory(self.step, start, result)


@dataclass
class State:
    """R independent copies of N sites with D components each.

    ===========  ============  ======================================================================
    field        shape         meaning
    ===========  ============  ======================================================================
    x            (R, N, D)     classical variable [length]
    p            (R, N, D)     its momentum [mass length/time]; stays zero in overdamped motion
    f            (R, N, D)     total force at x [energy/length]
    potential    (R,)          free energy at x: Omega, or Omega + mu N at fixed filling [energy]
    thermostat   (R, ...)      by name: variables of the bath and its heat [energy], or those of a minimiser
    step         integer       number of time steps taken
    memory       (R, ...)      by name: what a self-consistent force field starts from; empty for all others
    ===========  ============  ======================================================================

    `f` and `potential` follow from `x` and the step; they are kept because the next step starts from them.
    """

    x: Array
    p: Array
    f: Array
    potential: Array
    step: int = 0
    thermostat: dict[str, Array] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def at_rest(cls, x: Array) -> State:
        """A state with positions `x` of shape (R, N, D), no momenta, and forces not yet computed."""
        x = np.array(x, dtype=np.float64, order="C")
        if x.ndim != 3:
            raise ValueError(f"positions need shape (R, N, D), got {x.shape}")
        return cls(x, np.zeros_like(x), np.zeros_like(x), np.zeros(len(x)))

    @property
    def replicas(self) -> int:
        """Number of independent copies R."""
        return len(self.x)

    def copy(self) -> State:
        """An independent copy of every array."""
        return State(
            self.x.copy(),
            self.p.copy(),
            self.f.copy(),
            self.potential.copy(),
            self.step,
            {name: value.copy() for name, value in self.thermostat.items()},
            self.memory.copy(),
        )

    def on_device(self, precision: Any = np.float64) -> State:
        """The same state on the GPU, with x, p and f in this precision; sums over replicas stay in double."""
        bath = {name: to_device(value) for name, value in self.thermostat.items()}
        x, p, f = (to_device(value, precision) for value in (self.x, self.p, self.f))
        return State(x, p, f, to_device(self.potential), self.step, bath, self.memory)

    def on_host(self) -> State:
        """The state itself if it is on the host, else a copy of it there, in double precision."""
        if not on_device(self.x):
            return self
        bath = {name: on_host(value) for name, value in self.thermostat.items()}
        x, p, f = (on_host(value).astype(np.float64) for value in (self.x, self.p, self.f))
        return State(x, p, f, on_host(self.potential), self.step, bath, self.memory)

    def digest(self, share: Share | None = None) -> str:
        """sha256 over what a later step depends on: step, x, p, thermostat variables, what the force field starts from.

        All as little-endian bytes. Of a state that several ranks have, each its `share`, it is that of the whole.
        """
        sha = hashlib.sha256(b"latticemd state 1")
        sha.update(np.array([self.step], dtype="<i8").tobytes())
        for name, value in (("x", on_host(self.x)), ("p", on_host(self.p))):
            sha.update(f"{name}{whole_shape(value, share)}".encode())
            for _, one in streams(value, share):
                for part in parts_of(one):
                    sha.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
        start = {f"start/{name}": value for name, value in self.memory.start_at(self.step).items()}
        for name, value in [*sorted(self.thermostat.items()), *sorted(start.items())]:
            value = collected(value, share)
            sha.update(f"{name}{value.shape}".encode())
            sha.update(np.ascontiguousarray(on_host(value), dtype="<f8").tobytes())
        return str(share.world.told(sha.hexdigest())) if share else sha.hexdigest()
