"""One pass over the frames of a run: what is computed of each frame, and what the run measured itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd import observables
from latticemd.analysis.quantity import Quantity
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.output.frames import Frames
from latticemd.output.trajectory import Trajectory

Array = NDArray[Any]

LENGTHS = ("half", "moment", "walls")  # definitions of L, see `latticemd.observables.correlation_length`
ENERGIES = ("free_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")


@dataclass(frozen=True)
class Value:
    """What is known of one frame: (R,) or (R, K) with its coordinate (K,), and dimension words."""

    value: Array
    unit: str
    coordinate: Array | None = None
    coordinate_unit: str = ""


def order_and_walls(order_field: Array, lattice: Lattice, unit: str) -> Iterator[tuple[str, Value]]:
    """Global order, order inside the domains, wall fraction, and the length that walls tell; on every lattice."""
    walls = observables.wall_fraction(order_field, lattice.bonds())
    yield "order_parameter", Value(observables.order_parameter(order_field), unit)
    yield "local_amplitude", Value(observables.local_amplitude(order_field), unit)
    yield "wall_fraction", Value(walls, "1")
    yield "length_walls", Value(observables.wall_length(walls, lattice), "length")


def correlations(order_field: Array, lattice: Lattice, unit: str) -> Iterator[tuple[str, Value]]:
    """C(r), ring averages of S(q) around the ordering vector, and the two lengths they tell; periodic, one site per cell."""
    square = unit if unit == "1" else f"{unit}^2"
    r, c = observables.correlation(order_field, lattice)
    k, structure = observables.radial_structure_factor(observables.structure_factor(order_field, lattice), lattice)
    yield "correlation", Value(c, square, r, "length")
    yield "structure_factor", Value(structure, square, k, "1/length")
    yield "length_half", Value(observables.half_length(r, c), "length")
    yield "length_moment", Value(observables.moment_length(k, structure), "length")


Measure = Callable[[Array, Lattice, str], Iterator[tuple[str, Value]]]


def measures_for(lattice: Lattice) -> tuple[list[Measure], list[str]]:
    """What can be measured on a lattice, and a sentence about each thing that can't."""
    try:
        observables.require_transform(lattice)
    except InputError as error:
        return [order_and_walls], [f"no C(r), S(q) and lengths that follow from them: {error}"]
    return [order_and_walls, correlations], []


def measure_frames(frames: Frames, measures: list[Measure]) -> dict[str, Quantity]:
    """Apply the measures to the order field of every frame. Memory: that of one frame and of the results.

    Cost: O(F R N log N), for 512 x 512 sites 0.15 s per frame and replica.
    """
    rows: dict[str, list[Value]] = {}
    for frame in range(len(frames)):
        field = frames.order_field(frame)
        for measure in measures:
            for name, value in measure(field, frames.model.lattice, frames.unit):
                rows.setdefault(name, []).append(value)
    return {
        name: Quantity(
            frames.time,
            np.stack([row.value for row in values]),
            values[0].unit,
            values[0].coordinate,
            values[0].coordinate_unit,
        )
        for name, values in rows.items()
    }


def measured_by_the_run(trajectory: Trajectory) -> dict[str, Quantity]:
    """Energies and temperature (F, R) that the run wrote itself, at its own times.

    What says nothing is left out: what is nowhere finite, the kinetic energy of motion without momenta, which is zero, and the
    total energy where it is then the free energy once more.
    """
    found: dict[str, Quantity] = {}
    for name in ENERGIES:
        path = f"observables/{name}"
        if path not in trajectory.elements():
            continue
        value = trajectory.value(path)[:]
        value = value.reshape(len(value), -1)
        repeated = any(np.array_equal(value, other.values, equal_nan=True) for other in found.values())
        if np.isfinite(value).any() and value.any() and not repeated:
            found[name] = Quantity(trajectory.times(path), value, trajectory.layout(path).unit)
    return found
