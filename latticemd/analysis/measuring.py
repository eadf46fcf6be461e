"""One pass over the frames of a run: what is computed of each frame, and what the run measured itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd import observables
from latticemd.analysis.distributions import histogram
from latticemd.analysis.domains import domain_sizes, size_distribution, size_of_a_sites_domain
from latticemd.analysis.quantity import Quantity, common_times
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Model, Motion
from latticemd.output.frames import Frames
from latticemd.output.trajectory import Trajectory

Array = NDArray[Any]

LENGTHS = ("half", "moment", "walls")  # definitions of L, see `latticemd.observables.correlation_length`
MEASURED = ("free_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")  # by a run itself
# Quantities that grow with the lattice; people want them per site.
EXTENSIVE = (*MEASURED[:-1], "classical_energy", "electronic_energy", "heat")


@dataclass(frozen=True)
class Snapshot:
    """One frame: the model at its step, x (R, N, D), the order field (R, N) and its dimension."""

    model: Model
    x: Array
    order_field: Array
    unit: str

    @property
    def lattice(self) -> Lattice:
        """The lattice."""
        return self.model.lattice


@dataclass(frozen=True)
class Value:
    """What is known of one frame: (R,) or (R, K) with its coordinate (K,), and dimension words."""

    value: Array
    unit: str
    coordinate: Array | None = None
    coordinate_unit: str = ""


Measure = Callable[[Snapshot], Iterator[tuple[str, Value]]]


def order_and_walls(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """Global order, order inside the domains, wall fraction, and the length that walls tell; on every lattice."""
    walls = observables.wall_fraction(seen.order_field, seen.lattice.bonds())
    yield "order_parameter", Value(observables.order_parameter(seen.order_field), seen.unit)
    yield "local_amplitude", Value(observables.local_amplitude(seen.order_field), seen.unit)
    yield "wall_fraction", Value(walls, "1")
    yield "length_walls", Value(_in_the_box(observables.wall_length(walls, seen.lattice), seen.lattice), "length")


def correlations(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """C(r), ring averages of S(q) around the ordering vector, and the two lengths they tell; periodic, one site per cell."""
    field, lattice = seen.order_field, seen.lattice
    square = seen.unit if seen.unit == "1" else f"{seen.unit}^2"
    r, c = observables.correlation(field, lattice)
    k, structure = observables.radial_structure_factor(observables.structure_factor(field, lattice), lattice)
    yield "correlation", Value(c, square, r, "length")
    yield "structure_factor", Value(structure, square, k, "1/length")
    yield "length_half", Value(observables.half_length(r, c), "length")
    yield "length_moment", Value(_in_the_box(observables.moment_length(k, structure), lattice), "length")


def shortest_period(lattice: Lattice) -> float:
    """The shortest way around the box, or across it where it is open [length]."""
    return float((np.array(lattice.shape) * np.linalg.norm(lattice.vectors, axis=1)).min())


def _in_the_box(lengths: Array, lattice: Lattice) -> Array:
    """Lengths (R,), nan where they outgrow the box: there is one domain then, with some noise in it."""
    return np.where(lengths <= shortest_period(lattice), lengths, np.nan)


def domains(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """Number of domains per site, the size of the domain that a site is in, and the share of the largest one."""
    bonds, sites = seen.lattice.bonds(), seen.lattice.sites
    sizes = [domain_sizes(field, bonds) for field in seen.order_field]
    yield "domains_per_site", Value(np.array([len(one) / sites for one in sizes]), "1")
    yield "domain_size", Value(np.array([size_of_a_sites_domain(one) for one in sizes]), "sites")
    yield "largest_domain", Value(np.array([one[0] / sites if len(one) else np.nan for one in sizes]), "1")


def domain_distribution(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """Share of the sites in domains of each size."""
    bonds, sites = seen.lattice.bonds(), seen.lattice.sites
    found = [size_distribution(domain_sizes(field, bonds), sites) for field in seen.order_field]
    yield "domain_distribution", Value(np.array([share for _, share in found]), "1", found[0][0], "sites")


def classical_energy(seen: Snapshot) -> Iterator[tuple[str, Value]]:
    """V(x), the part of the energy that knows no electrons."""
    yield "classical_energy", Value(seen.model.classical_energy(seen.x), "energy")


def displacements_in(edges: Array) -> Measure:
    """The measure of the probability density of the components of x in the given bins."""

    def displacements(seen: Snapshot) -> Iterator[tuple[str, Value]]:
        middles = 0.5 * (edges[1:] + edges[:-1])
        for component in range(seen.x.shape[2]):
            name = "displacements" if seen.x.shape[2] == 1 else f"displacements_{component}"
            yield name, Value(histogram(seen.x[..., component], edges), "1/length", middles, "length")

    return displacements


def measures_for(frames: Frames) -> tuple[list[Measure], list[str]]:
    """What is measured on every frame, and a sentence about each thing that can't be."""
    measures: list[Measure] = [order_and_walls, domains]
    notes = []
    if frames.has("displacement"):
        measures.append(classical_energy)
    try:
        observables.require_transform(frames.model.lattice)
    except InputError as error:
        notes.append(f"no C(r), S(q) and lengths that follow from them: {error}")
    else:
        measures.append(correlations)
    return measures, notes


def rare_measures_for(frames: Frames, edges: Array) -> list[Measure]:
    """What is measured on a few frames only: distributions; `edges` are bins of displacements."""
    moved = frames.has("displacement") and frames.model.motion is Motion.DISPLACEMENT
    return [domain_distribution, *([displacements_in(edges)] if moved else [])]


def measure_frames(frames: Frames, measures: Sequence[Measure], chosen: Sequence[int]) -> dict[str, Quantity]:
    """Apply the measures to the chosen frames, one at a time. Memory: that of one frame and of the results.

    Cost: O(F R N log N), for 512 x 512 sites 0.1 s per frame and replica.
    """
    rows: dict[str, list[Value]] = {}
    for frame in chosen:
        seen = Snapshot(frames.model_at(frame), frames.displacement(frame), frames.order_field(frame), frames.unit)
        for measure in measures:
            for name, value in measure(seen):
                rows.setdefault(name, []).append(value)
    time = frames.time[list(chosen)]
    return {
        name: Quantity(
            time, np.stack([row.value for row in values]), first.unit, first.coordinate, first.coordinate_unit
        )
        for name, values in rows.items()
        for first in values[:1]
    }


def measured_by_the_run(trajectory: Trajectory) -> dict[str, Quantity]:
    """Energies and temperature (F, R) that the run wrote itself, at its own times.

    What says nothing is left out: what is nowhere finite, the kinetic energy of motion without momenta, which is zero, and the
    total energy where it is then the free energy once more.
    """
    found: dict[str, Quantity] = {}
    for name in MEASURED:
        path = f"observables/{name}"
        if path not in trajectory.elements():
            continue
        value = trajectory.value(path)[:]
        value = value.reshape(len(value), -1)
        repeated = any(np.array_equal(value, other.values, equal_nan=True) for other in found.values())
        if np.isfinite(value).any() and value.any() and not repeated:
            found[name] = Quantity(trajectory.times(path), value, trajectory.layout(path).unit)
    return found


def energy_budget(found: dict[str, Quantity]) -> dict[str, Quantity]:
    """What follows from the energies that are known.

    ==================  =======================================================================================
    electronic_energy   free energy less classical energy, where a frame and the run's own energies meet
    heat                total less conserved energy: what the bath has given since the start
    ==================  =======================================================================================
    """
    budget = {}
    if {"free_energy", "classical_energy"} <= found.keys():
        free, classical = found["free_energy"], found["classical_energy"]
        times = common_times([free, classical])
        if len(times):
            budget["electronic_energy"] = Quantity(times, free.at(times).values - classical.at(times).values, "energy")
    total = found.get("total_energy", found.get("free_energy"))
    conserved = found.get("conserved_energy")
    if total is not None and conserved is not None and np.array_equal(total.time, conserved.time):
        budget["heat"] = Quantity(total.time, total.values - conserved.values, "energy")
    return budget
