"""A minimisation in a directory: what `latticemd minimize` does, from the input to the figure."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from latticemd import __version__, observables
from latticemd.backends import on_host
from latticemd.build import build_model, build_state, build_system, placed
from latticemd.config import RunInput
from latticemd.errors import Diverged, LatticeMDError, StoppedEarly
from latticemd.minimization import Fire, largest_force, minimize
from latticemd.minimization.progress import MinimizationProgress
from latticemd.models.model import require_displacements
from latticemd.output.checkpoint import Extra, write_state
from latticemd.output.directory import RunDirectory
from latticemd.output.provenance import made_with
from latticemd.output.summary import write_summary, write_text_atomically
from latticemd.runner import log_file, noted_signals, output_directory
from latticemd.schedules import When
from latticemd.state import Array, State
from latticemd.system import System

log = logging.getLogger("latticemd.run")


def run_minimization(
    run_input: RunInput,
    directory: Path | None = None,
    *,
    fire: Fire | None = None,
    steps: int = 10_000,
    overwrite: bool = False,
    console: Any = None,
) -> dict[str, Any]:
    """Minimise the free energy from the initial configuration of an input; returns the summary that is also written.

    Ramped parameters of the model keep their values at step 0; the bath plays no part, except that the electrons have its
    temperature where the input gives them none. `directory` is `minimum_directory(run_input)` unless given.
    `minimum.h5` is replaced at the input's checkpoint interval, so a kill costs no more than that.

    Raises StoppedEarly after SIGTERM or SIGINT, with the configuration reached saved, and Diverged when positions or forces
    are not finite.
    """
    started = time.perf_counter()
    fire = fire or Fire()
    model, _ = build_model(run_input)
    require_displacements(model, "minimisation")  # before a directory is made
    system = build_system(run_input, ramped=False)
    # Before the directory is entered: with --overwrite, the start may be a file of the run that is replaced.
    state = placed(run_input, State.at_rest(build_state(run_input, model).x))
    with RunDirectory(directory or minimum_directory(run_input), overwrite=overwrite) as place, ExitStack() as stack:
        stack.enter_context(log_file(place.log))
        write_text_atomically(place.input, run_input.to_yaml())
        _announce(run_input, system, state, fire, place)
        record = _Record(place, system, fire, run_input)
        progress = MinimizationProgress(fire.force_tolerance, console)
        stack.callback(progress.close)
        interrupted = stack.enter_context(noted_signals())

        def watch(state: State) -> None:
            record(state)
            progress(state)

        try:
            minimize(state, system, fire, steps, watch, stop=lambda: bool(interrupted))
        except Diverged as error:
            raise record.explain(error, state) from error
        record.save(state)
        if interrupted and state.step < steps and not fire.converged(state).all():
            raise StoppedEarly(
                f"stopped by {interrupted[0]} after {state.step} steps, max |F| {largest_force(state).max():.2e}; "
                f"{how_to_continue(place.path)}"
            )
        progress.close()
        summary = _summary(run_input, system, state, fire, time.perf_counter() - started)
        write_summary(place.summary, summary)
        if run_input.output.figures:
            _draw(place.path)
    return summary


def minimum_directory(run_input: RunInput) -> Path:
    """Where a minimisation goes unless told otherwise: beside the run of the same input."""
    run = output_directory(run_input)
    return run.parent / f"{run.name or 'run'}_minimized"


def how_to_continue(directory: Path) -> str:
    """The option with which `run` and `minimize` start from the configuration in a directory."""
    return f"go on with --set 'initial={{kind: file, path: {directory / 'minimum.h5'}}}' and another --output"


class _Record:
    """The curve of energies and forces so far, saved with the configuration at regular steps."""

    def __init__(self, place: RunDirectory, system: System, fire: Fire, run_input: RunInput) -> None:
        self.place, self.system, self.fire = place, system, fire
        self.input = run_input.to_yaml()
        self.when = When(every=run_input.output.checkpoint_every)
        self.saved_step = -1
        self.energy: list[Array] = []
        self.force: list[Array] = []

    def __call__(self, state: State) -> None:
        self.energy.append(on_host(state.potential).copy())
        self.force.append(largest_force(state))
        if self.when.due(state.step):
            self.save(state)

    def save(self, state: State) -> None:
        """Replace minimum.h5; nothing to do if this step is saved already."""
        if state.step != self.saved_step:
            write_state(self.place.minimum, state.on_host(), self._extra(state))
            self.saved_step = state.step

    def explain(self, error: Diverged, state: State) -> Diverged:
        """Save the bad state beside the last good one and say what is likely."""
        write_state(self.place.diverged, state.on_host(), self._extra(state))
        return Diverged(
            f"the minimisation diverged {error}; is the energy bounded from below for these parameters? the state is in "
            f"{self.place.diverged}, the last good one, of step {self.saved_step}, in {self.place.minimum}"
        )

    def _extra(self, state: State) -> Extra:
        return {
            "input": self.input,
            "version": __version__,
            "force_tolerance": self.fire.force_tolerance,
            "converged": self.fire.converged(state),
            "curve/free_energy": np.array(self.energy),
            "curve/largest_force": np.array(self.force),
            "order_field": on_host(self.system.order_field(state, 0)),
        }


def _announce(run_input: RunInput, system: System, state: State, fire: Fire, place: RunDirectory) -> None:
    model = system.model
    log.info("latticemd %s: minimum of %s in %s", __version__, run_input.title or run_input.model.name, place.path)
    electrons = f"electronic temperature {model.electronic_temperature:g}" if model.electronic else "no electrons"
    log.info("%s, %d replica(s); %s; force field %s; until max |F| <= %g", model.lattice.description, state.replicas,
             electrons, run_input.forcefield.name, fire.force_tolerance)  # fmt: skip
    if not system.capabilities.conservative:
        log.warning("force field %s is not conservative: its force is not the gradient of an energy, so the search is for a "
                    "point where it vanishes, which need not exist", run_input.forcefield.name)  # fmt: skip


def _summary(run_input: RunInput, system: System, state: State, fire: Fire, wall_seconds: float) -> dict[str, Any]:
    phi = on_host(system.order_field(state, 0))

    def plain(values: Array) -> Any:
        return values.tolist()[0] if len(values) == 1 else values.tolist()

    order = {}
    if system.model.electronic:
        bonds = system.model.lattice.bonds()
        order["order_parameter"] = plain(observables.order_parameter(phi))
        order["wall_fraction"] = plain(observables.wall_fraction(phi, bonds))
    return {
        "title": run_input.title,
        "converged": bool(fire.converged(state).all()),
        "force_tolerance": fire.force_tolerance,
        "steps": plain(state.thermostat["fire_steps"]),
        "energy": plain(on_host(state.potential)),
        "max_force": plain(largest_force(state)),
        **order,
        "digest": state.digest(),
        "backend": run_input.backend,
        "precision": run_input.precision,
        "force_calls": system.force_calls,
        "wall_seconds": wall_seconds,
        **made_with(run_input.backend),
    }


def _draw(directory: Path) -> None:
    """Draw the figure; a minimum that took hours is not lost to a drawing problem."""
    try:
        from latticemd.minimization.figure import draw_minimization

        drawn = draw_minimization(directory)
    except (LatticeMDError, OSError, ValueError, KeyError, ImportError) as error:
        log.warning("the figure could not be drawn: %s", error)
        return
    log.info("figure: %s", drawn.relative_to(directory))
