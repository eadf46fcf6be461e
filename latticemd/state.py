"""State: everything that changes in time and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
    ===========  ============  ======================================================================

    `f` and `potential` follow from `x` and the step; they are kept because the next step starts from them.
    """

    x: Array
    p: Array
    f: Array
    potential: Array
    step: int = 0
    thermostat: dict[str, Array] = field(default_factory=dict)

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
        )

    def digest(self) -> str:
        """sha256 over step, x, p and the thermostat variables as little-endian bytes: what a later step depends on."""
        sha = hashlib.sha256(b"latticemd state 1")
        sha.update(np.array([self.step], dtype="<i8").tobytes())
        for name, value in [("x", self.x), ("p", self.p), *sorted(self.thermostat.items())]:
            sha.update(f"{name}{value.shape}".encode())
            sha.update(np.ascontiguousarray(value, dtype="<f8").tobytes())
        return sha.hexdigest()
