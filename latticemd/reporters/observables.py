"""ObservableReporter: numbers and small arrays of the whole lattice, streamed to H5MD's top level.

Each is computed where the state lives, and only what is written comes to the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latticemd import observables
from latticemd.backends import on_host
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
    values = {
        "free_energy": frame.free_energy,
        "kinetic_energy": kinetic,
        "total_energy": frame.free_energy + kinetic,
        "conserved_energy": frame.conserved_energy,
    }
    return {name: (frame.share.collected(value), "energy") for name, value in values.items()}


def temperature(frame: Frame, options: dict[str, Any]) -> Values:
    """Kinetic temperature 2 K/N D (where there are momenta) and the virial one of displacements, a configurational one [energy]."""
    values, share = {}, frame.share
    degrees = share.whole.sites * frame.model.components
    if frame.model.motion is Motion.DISPLACEMENT:
        values["virial_temperature"] = -frame.virial / degrees
    if frame.integrator.momenta:
        values["temperature"] = observables.kinetic_temperature(frame.kinetic_energy, degrees)
    return {name: (share.collected(value), "energy") for name, value in values.items()}


def order_parameter(frame: Frame, options: dict[str, Any]) -> Values:
    """|mean of the order field|: 1/2 is a perfect charge-density wave."""
    return {"order_parameter": (frame.share.collected(frame.order_parameter), "1")}


def wall_fraction(frame: Frame, options: dict[str, Any]) -> Values:
    """Share of nearest-neighbour pairs whose order fields have opposite signs."""
    return {"wall_fraction": (frame.share.collected(frame.wall_fraction), "1")}


def structure_factor(frame: Frame, options: dict[str, Any]) -> Values:
    """S(q) of the charge n - o/2 (o orbitals per site), on the wave vectors `q` (units of pi) or on the whole grid in FFT order."""
    lattice, q = frame.share.whole, options.get("q") or "all"
    charge = frame.share.gathered(frame.density_in_place - 0.5 * frame.model.orbitals)
    if charge is None:
        return {}
    if q == "all":
        return {"structure_factor": (observables.structure_factor(charge, lattice), "1")}
    return {"structure_factor": (observables.structure_factor_at(charge, lattice, np.pi * np.array(q)), "1")}


def correlation(frame: Frame, options: dict[str, Any]) -> Values:
    """Circularly averaged C(r) of the order field, and the distance where it has fallen to half of C(0) [length]."""
    lattice, field = frame.share.whole, frame.share.gathered(frame.order_field_in_place)
    if field is None:
        return {}
    distances, values = observables.correlation(field, lattice)
    length = observables.half_length(distances, values)
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
    return {f"forcefield/{name}": (frame.share.collected(value), unit) for name, (value, unit) in details.items()}


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
            self.last[name] = value = on_host(value)
            if self.writer is not None:
                self.writer.append(f"observables/{name}", frame.step, frame.time, value, unit)
