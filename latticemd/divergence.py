"""When a trajectory leaves the finite numbers: keep the last good state and the bad one, say why, and how to go on."""

from __future__ import annotations

import itertools
import json
import logging
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latticemd.backends import on_device
from latticemd.build import build_propagator
from latticemd.config import RunInput
from latticemd.errors import Diverged, OutputError
from latticemd.integrators import Integrator
from latticemd.models.model import Motion
from latticemd.output.checkpoint import read_checkpoint, write_state
from latticemd.output.directory import RunDirectory
from latticemd.parallel.share import Share
from latticemd.propagator import Propagator
from latticemd.simulation import Simulation
from latticemd.stability import stability_limit
from latticemd.state import Array, State
from latticemd.system import System

log = logging.getLogger("latticemd.run")

SAFE_SHARE = 0.1  # of the stability limit: a Verlet step then has an energy error of about 0.5 % of kT per mode
EXPLODED = 1e6  # thermal lengths sqrt(kT/k): nothing physical is so large, and an instability only stops at 1e308


@dataclass(frozen=True)
class LastGood:
    """The last state before the divergence that a replay reached; `note` says if it is not the one just before."""

    state: State
    note: str = ""


def explained(
    error: Diverged,
    bad: State,
    system: System,
    run_input: RunInput,
    directory: RunDirectory,
    extra: Mapping[str, Array | str | int | float],
    stop: Callable[[], bool],
) -> Diverged:
    """Write diverged.h5 and last_good.h5, and return the error with what a user needs to know and to do.

    `bad` is the state in which `error` was raised, `extra` what checkpoints hold beside the state. The last good state comes
    from a replay of the steps since the last checkpoint, which ends early when `stop()` is true.
    """
    share = system.share
    write_state(directory.diverged, bad, extra, share)
    integrator = build_propagator(run_input, share)
    lines = [f"diverged {error}", f"the bad state is in {directory.diverged}"]
    good = _last_good(bad, system, integrator, directory, stop)
    if good is None:
        lines.append("there is no good state to go back to: already the start of this run cannot be evaluated")
        return Diverged("\n".join(lines))
    good = LastGood(good.state.on_host(), good.note)
    write_state(directory.last_good, good.state, extra, share)
    lines[-1] += (
        f"; the last good one, of step {good.state.step} with |x|max {_largest(good.state.x, share):.3g} and |f|max "
    )
    lines[-1] += f"{_largest(good.state.f, share):.3g}, is in {directory.last_good}"
    if good.note:
        lines.append(good.note)
    if system.model.motion is Motion.OCCUPATION:
        cause = "occupations stay between 0 and 1 at any dt: the cause is the force field or a parameter of the model"
        return Diverged("\n".join([*lines, cause]))
    if not isinstance(integrator, Integrator):
        cause = (
            "a learned step that goes wrong was asked about a state unlike those it was trained on; use an integrator"
        )
        return Diverged("\n".join([*lines, cause]))
    cause, dt = _time_step(integrator, system, good.state.step)
    return Diverged("\n".join([*lines, cause, *_way_on(run_input, integrator, system, directory, good.state, dt)]))


def replay(bad_step: int, system: System, integrator: Propagator, state: State, stop: Callable[[], bool]) -> LastGood:
    """Repeat the steps from `state` until the error comes again, as it does at `bad_step` if the forces repeat themselves.

    No reporters look on. Raises Diverged when already the forces of `state` cannot be evaluated.
    """
    simulation = Simulation(system, integrator, state, resumed=True)
    good = state.copy()
    try:
        while state.step <= bad_step:
            if stop():
                return LastGood(good, f"(the replay towards step {bad_step} was interrupted at step {good.step})")
            integrator.step(state, system)
            system.require_bounded(state)  # on a GPU, where the run itself looked only now and then
            if state.step == bad_step:
                # Where forces lag behind the positions, those here may be what a reporter met, or the next step will.
                _ = simulation.frame().force
            good = state.copy()
    except Diverged as again:
        if state.step == bad_step or on_device(state.x):
            return LastGood(good)
        return LastGood(
            good,
            f"the replay from the last checkpoint diverged earlier, {again}: the force field does not repeat itself, "
            "and the last good state is one of the replay",
        )
    return LastGood(
        good,
        f"the replay from the last checkpoint passed step {bad_step} without diverging: the force field does not repeat "
        "itself, and the last good state is one of the replay",
    )


def _last_good(
    bad: State,
    system: System,
    integrator: Propagator,
    directory: RunDirectory,
    stop: Callable[[], bool],
) -> LastGood | None:
    if not system.share.world.told(directory.checkpoint.exists() or directory.previous_checkpoint.exists()):
        return None  # the first checkpoint holds the state a run begins with, so this one never began
    try:
        state, _ = read_checkpoint(directory.checkpoint, system.share)
        log.info("repeating steps %d to %d to find the last good state", state.step, bad.step)
        if on_device(bad.x):
            state = state.on_device(bad.x.dtype)
        return replay(bad.step, system, integrator, state, stop)
    except (Diverged, OutputError) as problem:
        log.warning("the last checkpoint gives no good state: %s", problem)
        return None


def _time_step(integrator: Integrator, system: System, step: int) -> tuple[str, float]:
    """A sentence about the role of the time step, and the dt to try instead [time]."""
    model, dt = system.model_at(step), integrator.dt
    if integrator.motion is Motion.SPIN:
        return "spins keep their length at any dt: more likely a cause is in the electronic force", 0.5 * dt
    if not model.electronic:
        return "two particles may have met more closely than dt resolves", 0.5 * dt
    stiffness = model.largest_stiffness()
    limit = stability_limit(integrator, [stiffness], model.harmonic_stiffness(), model.inertia())
    if integrator.momenta:
        product = f"dt times the stiffest frequency is {dt * math.sqrt(stiffness / model.inertia()):.3g}"
    else:
        product = f"dt times stiffness/friction is {dt * stiffness / integrator.friction:.3g}"
    if dt > limit:
        return f"{product}, and steps above dt = {limit:.3g} are unstable", SAFE_SHARE * limit
    return (
        f"{product}, and steps up to dt = {limit:.3g} are stable as far as the lattice's springs go: "
        "more likely than dt is a cause in the electronic force",
        min(SAFE_SHARE * limit, 0.5 * dt),
    )


def _way_on(
    run_input: RunInput, integrator: Integrator, system: System, directory: RunDirectory, good: State, dt: float
) -> list[str]:
    """The command that continues from the last good state, or that starts anew when this state is beyond use."""
    dynamics = run_input.dynamics
    dt = float(f"{dt:.2g}")
    trial = f"try dt: {dt:g} (latticemd info --suggest-dt {shlex.quote(str(directory.input))} measures what suits)"
    model = system.model_at(good.step)
    stiffness = model.harmonic_stiffness()  # zero for spins, which cannot explode
    if stiffness and not _largest(good.x, system.share) < EXPLODED * math.sqrt(
        model.electronic_temperature / stiffness
    ):
        settings = {"dynamics.dt": f"{dt:g}", "dynamics.steps": _steps(dynamics.steps * dynamics.dt, dt)}
        return [f"the last good state is itself beyond use, so start anew and {trial}", _command(directory, settings)]
    velocity = ", velocity: file" if integrator.momenta else ""
    settings = {
        "initial": f"{{kind: file, path: {json.dumps(str(directory.last_good))}{velocity}}}",
        "dynamics.dt": f"{dt:g}",
        "dynamics.steps": _steps((dynamics.steps - good.step) * dynamics.dt, dt),
        # Steps count from 0 again, so the old seed would repeat the noise of the beginning.
        "dynamics.seed": str((dynamics.seed + 1) % 2**64),
    }
    lines = [f"to go on from the last good state to the same time, {trial}", _command(directory, settings)]
    if system.ramps or not integrator.temperature.is_constant:
        lines.append("(the ramps of the input begin again at step 0)")
    return lines


def _steps(time: float, dt: float) -> str:
    return str(math.ceil(time / dt - 1e-9))  # 0.3/0.1 is a little less or more than 3


def _command(directory: RunDirectory, settings: Mapping[str, str]) -> str:
    free = (f"{directory.path}_{n}" for n in itertools.count(2))
    words = [
        "latticemd",
        "run",
        str(directory.input),
        "--output",
        next(name for name in free if not Path(name).exists()),
    ]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    return f"  {shlex.join(words)}"


def _largest(values: Array, share: Share) -> float:
    return float(share.world.highest(np.array([np.abs(values).max()]))[0])
