"""ObservableReporter: numbers and small arrays of the whole lattice, streamed to H5MD's top level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latticemd import observables
from latticemd.errors import InputError
from latticemd.models.model import Motion
from latticemd.output.trajectory import TrajectoryWriter
from latticemd.schedules import When
from latticemd.simulation import Frame
from latticemd.state import Array

Values = dict[str, tuple[Array, str]]


def energy(frame: Frame, options: dict[str, Any]) -> Values:
    """Free, kinetic, total and conserved energy [energy]."""
    kinetic = frame.kinetic_energy
    return {
        "free_energy": (frame.free_energy, "energy"),
        "kinetic_energy": (kinetic, "energy"),
        "total_energy": (frame.free_energy + kinetic, "energy"),
        "conserved_energy": (frame.conserved_energy, "energy"),
    }


def temperature(frame: Frame, options: dict[str, Any]) -> Values:
    """Kinetic temperature 2 K/N D (where there are momenta) and the virial one of displacements, a configurational one [energy]."""
    values: Values = {}
    if frame.model.motion is Motion.DISPLACEMENT:
        values["virial_temperature"] = (observables.virial_temperature(frame.positions, frame.force), "energy")
    if frame.integrator.momenta:
        kinetic = observables.kinetic_temperature(frame.kinetic_energy, frame.positions[0].size)
        values["temperature"] = (kinetic, "energy")
    return values


def order_parameter(frame: Frame, options: dict[str, Any]) -> Values:
    """|mean of the order field|: 1/2 is a perfect charge-density wave."""
    return {"order_parameter": (observables.order_parameter(frame.order_field), "1")}


def wall_fraction(frame: Frame, options: dict[str, Any]) -> Values:
    """Share of nearest-neighbour pairs whose order fields have opposite signs."""
    return {"wall_fraction": (observables.wall_fraction(frame.order_field, frame.model.lattice.bonds()), "1")}


def structure_factor(frame: Frame, options: dict[str, Any]) -> Values:
    """S(q) of the charge n - o/2 (o orbitals per site), on the wave vectors `q` (units of pi) or on the whole grid in FFT order."""
    charge, lattice = frame.density - 0.5 * frame.model.orbitals, frame.model.lattice
    q = options.get("q") or "all"
    if q == "all":
        return {"structure_factor": (observables.structure_factor(charge, lattice), "1")}
    return {"structure_factor": (observables.structure_factor_at(charge, lattice, np.pi * np.array(q)), "1")}


def correlation(frame: Frame, options: dict[str, Any]) -> Values:
    """Circularly averaged C(r) of the order field, and the distance where it has fallen to half of C(0) [length]."""
    lattice = frame.model.lattice
    distances, values = observables.correlation(frame.order_field, lattice)
    length = observables.correlation_length(frame.order_field, lattice)
    return {
        "correlation/value_at_distance": (values, "1"),
        "correlation/distance": (distances, "length"),
        "correlation_length": (length, "length"),
    }


def forcefield(frame: Frame, options: dict[str, Any]) -> Values:
    """What the force field tells about its answer: solves, residual [energy] and moments of a self-consistent one."""
    details = frame.system.electrons.details
    if not details:
        raise InputError(
            f"observable forcefield: {type(frame.system.forcefield).__name__} tells nothing about its answers; leave it out"
        )
    return {f"forcefield/{name}": value for name, value in details.items()}


OBSERVABLES: dict[str, Callable[[Frame, dict[str, Any]], Values]] = {
    function.__name__: function
    for function in (energy, temperature, order_parameter, wall_fraction, structure_factor, correlation, forcefield)
}


@dataclass
class ObservableReporter:
    """Computes one observable when due and appends it as observables/<name>, shape (R, ...); keeps the last values."""

    name: str
    when: When
    writer: TrajectoryWriter | None = None
    options: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Array] = field(default_factory=dict)

    def report(self, frame: Frame) -> None:
        """Compute, remember, and append to the trajectory if there is one."""
        for name, (value, unit) in OBSERVABLES[self.name](frame, self.options).items():
            self.last[name] = value
            if self.writer is not None:
                self.writer.append(f"observables/{name}", frame.step, frame.time, value, unit)
