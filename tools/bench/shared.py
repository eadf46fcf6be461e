"""What benches share: the states on which force fields are compared, and how a call is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from latticemd import Holstein, Lattice
from latticemd.forcefield import Electrons, ForceField


def states(side: int) -> dict[str, tuple[Holstein, np.ndarray]]:
    """The states on which methods are compared: model and positions (1, N, 1)."""
    lattice = Lattice("square", (side, side))
    noise = np.random.default_rng(0).normal(size=(1, lattice.sites, 1))
    plain = Holstein(lattice)
    return {
        "A order and noise": (plain, plain.ordered(1.4) + 0.3 * noise),
        "B disorder": (plain, noise),
        "C nearly free": (plain, 0.1 * noise),
        "published g = 3.5": (Holstein(lattice, coupling=3.5), 5.27 * noise),
        "B at kT = 0.02": (Holstein(lattice, electronic_temperature=0.02), noise),
    }


def processor_seconds(function: Callable[[], Any]) -> float:
    """Processor time of one call on this thread."""
    started = time.thread_time()
    function()
    return time.thread_time() - started


def evaluated(forcefield: ForceField, model: Holstein, x: np.ndarray) -> Callable[[], Electrons]:
    """A call that evaluates `forcefield`, which it prepares now."""
    out = Electrons.empty(len(x), model)
    forcefield.prepare(model, len(x))

    def call() -> Electrons:
        forcefield.evaluate(model, x, 0, out)
        return out

    return call
