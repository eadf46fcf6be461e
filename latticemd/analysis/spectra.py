"""Where the levels of the electrons lie in a snapshot: the density of states, of all sites and of those at domain walls.

The levels are counted by a force field that is `latticemd.forcefield.Spectral`, such as `kpm`, and found by its name like any
other. Densities are per orbital: their integral over energy is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.measuring import Measure, Snapshot, Value
from latticemd.errors import InputError
from latticemd.forcefield import Spectral
from latticemd.lattice import Bonds
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.models.model import Model
from latticemd.plugins import load_plugin

Array = NDArray[Any]

VECTORS = 16  # a density of N sites is noisy by 1/(16 N)^(1/2)
FINEST = 2000  # energies, half a width apart: a level is no narrower than a thousandth of the spectrum


@dataclass(frozen=True)
class Window:
    """Energies (E,) [energy] at which densities are asked for, and how wide a level appears."""

    energies: Array
    width: float

    @classmethod
    def holding(cls, intervals: Iterable[tuple[float, float]], temperature: float) -> Window:
        """Energies that hold all levels of several configurations; levels as wide as kT, what electrons can tell apart."""
        ends = np.array(list(intervals))
        low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
        width = max(temperature, 2.0 * (high - low) / FINEST)
        low, high = low - 3.0 * width, high + 3.0 * width
        return cls(np.linspace(low, high, 1 + int(np.ceil(2.0 * (high - low) / width))), width)


def level_bounds(model: Model, x: Array) -> tuple[float, float]:
    """Energies between which all levels of H_el lie for x (R, N, D), by Gershgorin's circles [energy]. Cost: O(R N)."""
    hamiltonian = Hamiltonian.of(model, x)
    radius = np.zeros(hamiltonian.levels.shape)
    for r in range(len(x)):
        size = np.abs(hamiltonian.replica(r).amplitude)
        for end in (hamiltonian.i, hamiltonian.j):
            radius[r] += np.bincount(end, size, minlength=hamiltonian.size)
    return float((hamiltonian.levels - radius).min()), float((hamiltonian.levels + radius).max())


def sites_at_walls(order_field: Array, bonds: Bonds) -> tuple[Array, Array]:
    """Which sites have a neighbour in another domain, and which are as far from walls that no neighbour has: (R, N) booleans."""
    at_wall = np.zeros(order_field.shape, bool)
    near = np.zeros(order_field.shape, bool)
    for r, field in enumerate(order_field):
        cut = field[bonds.i] * field[bonds.j] < 0
        at_wall[r, bonds.i[cut]] = at_wall[r, bonds.j[cut]] = True
        near[r, bonds.i] |= at_wall[r, bonds.j]
        near[r, bonds.j] |= at_wall[r, bonds.i]
    return at_wall, ~(at_wall | near)


def spectral_forcefield(name: str = "kpm") -> Spectral:
    """A force field that knows the density of states. Raises InputError for one that does not."""
    forcefield = load_plugin("forcefield", name)(random_vectors=VECTORS)
    if not isinstance(forcefield, Spectral):
        raise InputError(f"force field {name} knows no density of states; kpm does")
    return forcefield


def densities_of_states(forcefield: Spectral, window: Window) -> Measure:
    """The measure of the density of states: of all sites, of those at domain walls, and of those inside domains."""

    def measure(seen: Snapshot) -> Iterator[tuple[str, Value]]:
        walls, inside = sites_at_walls(seen.order_field, seen.lattice.bonds())
        for name, sites in (("", None), ("_at_walls", walls), ("_inside", inside)):
            density = forcefield.density_of_states(seen.model, seen.x, window.energies, window.width, sites)
            yield f"density_of_states{name}", Value(density, "1/energy", window.energies, "energy")

    return measure
