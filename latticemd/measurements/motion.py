"""How far a trajectory is from being reversible, from conserving energy, from being the same after a restart."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticemd.backends import on_host
from latticemd.simulation import Simulation
from latticemd.state import Array, State


def reversal_error(simulation: Simulation, steps: int) -> float:
    """Largest |x - x_0| after `steps` forth, a flip of all momenta, and as many steps back [length]."""
    x, last = on_host(simulation.state.x).copy(), simulation.state.step + 2 * steps
    simulation.run(last - steps)
    simulation.state.p *= -1.0
    simulation.run(last)
    return float(np.abs(on_host(simulation.state.x) - x).max())


@dataclass(frozen=True)
class EnergyRecord:
    """Energies along a run, the start included, of shape (frames, R) [energy]; `time` (frames,) counts from the start."""

    time: Array
    conserved: Array
    kinetic: Array
    heat: Array

    @property
    def deviation(self) -> float:
        """Root mean square of conserved energy - its first value, over frames and replicas [energy]."""
        return float(_root_mean_square(self.conserved[1:] - self.conserved[0]))

    @property
    def slope(self) -> float:
        """Drift of the conserved energy by least squares, the replica with the largest [energy/time]."""
        slopes = np.polyfit(self.time, self.conserved, 1)[0]
        return float(slopes[np.abs(slopes).argmax()])

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the kinetic energy in time, the smallest of all replicas [energy]."""
        return float(_root_mean_square(self.kinetic - self.kinetic.mean(axis=0), axis=0).min())

    def exchanged(self, frames: int | None = None) -> float:
        """Largest heat the bath had given or taken by one of the first frames, root mean square over replicas [energy]."""
        heat = self.heat[: None if frames is None else frames + 1] - self.heat[0]
        return float(_root_mean_square(heat, axis=1).max())


def record_energy(simulation: Simulation, frames: int, stride: int = 1) -> EnergyRecord:
    """Run on for `frames` times `stride` steps and keep the energies. Cost: one step each, and what frames need."""
    rows, start = [], simulation.state.step
    for n in range(frames + 1):
        simulation.run(start + n * stride)
        frame = simulation.frame()
        heat = on_host(simulation.state.thermostat["heat"]).copy()
        rows.append((frame.time, frame.conserved_energy, frame.kinetic_energy, heat))
    time, conserved, kinetic, heat = (np.array(column) for column in zip(*rows, strict=True))
    return EnergyRecord(time - time[0], conserved, kinetic, heat)


def order_in_dt(coarse: EnergyRecord, fine: EnergyRecord) -> float | None:
    """log2 of the ratio of energy deviations when dt is halved; None where the finer one is rounding."""
    if fine.deviation < 1e-11 * max(1.0, float(np.abs(fine.conserved[0]).max())):
        return None
    return float(np.log2(coarse.deviation / fine.deviation))


def restarted(make: Callable[[State], Simulation], state: State, first: int, last: int) -> tuple[State, State]:
    """The states at step `last` of an uninterrupted run, and of one that goes through a checkpoint file at step `first`.

    `make` builds a simulation from a state, with objects that share nothing. Cost: 2 last steps.
    """
    from latticemd.output.checkpoint import read_checkpoint, write_checkpoint

    whole = make(state.copy())
    whole.run(last)
    before = make(state.copy())
    before.run(first)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.h5"
        write_checkpoint(path, before.state, {})
        after = make(read_checkpoint(path)[0])
    after.run(last)
    return whole.state, after.state


def state_difference(one: State, other: State) -> float:
    """The largest difference of x and p [length, mass length/time]."""
    one, other = one.on_host(), other.on_host()
    return float(max(np.abs(one.x - other.x).max(), np.abs(one.p - other.p).max()))


def step_symmetry_error(make: Callable[[State], Simulation], state: State) -> tuple[float, str] | None:
    """How far a step is from following the internal symmetries of the model, relative to how far it goes; the worst and its name.

    For each, one step from the turned state against the turned result of one step. None where the model has no symmetry.
    """
    simulation = make(state.copy())
    simulation.run(state.step + 1)
    after, errors = simulation.state, []
    scale = float(np.abs(after.x - state.x).max()) or 1.0
    for symmetry in simulation.system.model.internal_symmetries():
        turned = state.copy()
        turned.x, turned.p = state.x @ symmetry.matrix.T + symmetry.shift, state.p @ symmetry.matrix.T
        other = make(turned)
        other.run(state.step + 1)
        error = np.abs(other.state.x - (after.x @ symmetry.matrix.T + symmetry.shift)).max()
        errors.append((float(error) / scale, symmetry.name))
    return max(errors, default=None)


def step_against_forces(step: Simulation, reference: Simulation, steps: int) -> tuple[float, float]:
    """The rms error of one step where `reference` takes `steps` from the same state, and that of straight motion [length]."""
    before = step.state.copy()
    masses = step.system.model.site_masses()
    step.run(before.step + 1)
    reference.run(before.step + steps)
    straight = before.x + step.integrator.dt * before.p / masses
    return tuple(float(_root_mean_square(x - reference.state.x)) for x in (step.state.x, straight))  # type: ignore[return-value]


def _root_mean_square(values: Array, axis: int | None = None) -> Array:
    largest = max(float(np.abs(values).max()), 1e-300)  # an unstable run squares numbers near the end of their range
    root: Array = largest * np.sqrt(np.mean(np.square(values / largest), axis=axis))
    return root
