"""The states on which force fields are compared, in benches and in docs/forcefields.md."""

from __future__ import annotations

import numpy as np

from latticemd import Holstein, Lattice


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
