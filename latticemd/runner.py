"""A simulation in a directory: what `latticemd run` does, from the input to the figures."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from latticemd import __version__
from latticemd.backends import gpu
from latticemd.build import build_propagator, build_state, build_system, placed
from latticemd.config import RunInput
from latticemd.config.blocks import StructureFactor
from latticemd.config.writing import flat
from latticemd.divergence import explained
from latticemd.errors import Diverged, InputError, LatticeMDError, StoppedEarly, TooUncertain
from latticemd.models.model import Model
from latticemd.output.checkpoint import read_checkpoint, write_checkpoint
from latticemd.output.directory import RunDirectory
from latticemd.output.header import header_of
from latticemd.output.provenance import made_with
from latticemd.output.summary import write_summary, write_text_atomically
from latticemd.output.trajectory import Elsewhere, TrajectoryHeader, TrajectoryWriter
from latticemd.parallel.comm import Alone
from latticemd.parallel.launch import first_alone, first_enters
from latticemd.parallel.share import Share
from latticemd.plugins import load_plugin
from latticemd.reporters.observables import ObservableReporter
from latticemd.reporters.uncertainty import Limits, UncertaintyReporter
from latticemd.schedules import When
from latticemd.simulation import Frame, Reporter, Simulation
from latticemd.state import State
from latticemd.system import System

log = logging.getLogger("latticemd.run")

OF_MOTION = ("energy", "temperature")  # what is measured unless the input says otherwise,
OF_ELECTRONS = ("order_parameter", "wall_fraction")  # and where there are electrons to order
MOST_GATHERED = 2**26  # sites: half a gigabyte of a field
# Keys that may differ between a run and its continuation: how long, how often it is saved, where it lies now, when it halts.
_MAY_CHANGE = (
    "title",
    "dynamics.steps",
    "output.directory",
    "output.checkpoint_every",
    "output.figures",
    "stop_when",
    "parallel",
)


def run(
    run_input: RunInput,
    *,
    resume: bool = False,
    overwrite: bool = False,
    walltime: float | None = None,
    console: Any = None,
    world: Alone | None = None,
) -> dict[str, Any]:
    """Run an input in its output directory and return the summary that is also written there.

    All ranks of a `world` call it together, each for its share; the first one writes the files, which are those of a single rank.

    `walltime` [second] ends the run in time with a checkpoint; SIGTERM and SIGINT do the same. Raises StoppedEarly after
    such an end, TooUncertain after one by `stop_when`, Diverged when the trajectory leaves the finite numbers, OutputError when
    the directory cannot be used.
    """
    started = time.perf_counter()
    run_input = run_input.model_copy(
        update={"label": None}
    )  # not for a run, so it may change between a run and its continuation
    world = world or Alone()
    system = build_system(run_input, world=world)
    share = system.share
    _require_uncertainty(run_input, system)
    _require_one_rank(run_input, share)
    directory = RunDirectory(output_directory(run_input), overwrite=overwrite, resume=resume)
    _refuse_to_remove_the_start(run_input, directory)
    with ExitStack() as stack:
        first_enters(world, stack, lambda: directory)
        first_enters(world, stack, lambda: log_file(directory.log))
        state = _resumed_state(run_input, directory, share) if resume else build_state(run_input, system.model, share)
        state = placed(run_input, state)
        if state.step >= run_input.dynamics.steps and world.told(directory.summary.exists()):
            log.info("%s is finished: %d of %d steps", directory.path, state.step, run_input.dynamics.steps)
            return dict(json.loads(directory.summary.read_text()))
        header = _header(run_input, system)

        def begin() -> TrajectoryWriter:
            # The summary is written last, so its presence says that nothing is left to do, also after a kill at the very end.
            directory.forget_earlier_end()
            if not resume:
                write_text_atomically(directory.input, run_input.to_yaml())
            return TrajectoryWriter(directory, header, resume_step=state.step if resume else None)

        writer = first_enters(world, stack, begin) or Elsewhere()
        watch = _watch(run_input, directory, header)
        _announce(run_input, system, state, directory)
        progress = load_plugin("reporter", "progress")(run_input.dynamics.steps, console)
        stack.callback(progress.close)
        checkpoint = _Checkpointer(directory, writer, watch, run_input, system)
        reporters = [*_reporters(run_input, writer, system.model), *([watch] if watch else []), progress, checkpoint]
        interrupted = stack.enter_context(noted_signals())
        # What is not finite ends the run with one message; NumPy would come before it with a dozen warnings.
        stack.enter_context(np.errstate(all="ignore"))

        def stop() -> bool:
            late = walltime is not None and time.perf_counter() - started > walltime
            return world.anywhere(bool(interrupted) or late or bool(watch and watch.reason))

        try:
            simulation = Simulation(system, build_propagator(run_input, share), state, reporters, resumed=resume)
            if resume and watch:  # the state at which the run has halted, if the limit is still the same
                if world.rank == 0:
                    watch.restore()
                watch.report(simulation.frame())
            simulation.run(run_input.dynamics.steps, stop)
        except Diverged as error:
            writer.seal()  # the frames that led here are worth seeing; a resumed run is cut to the checkpoint anyway
            if watch:
                watch.save()
            raise explained(error, state, system, run_input, directory, checkpoint.extra, stop) from error
        checkpoint.save(simulation.state)
        if simulation.state.step < run_input.dynamics.steps:
            if watch and watch.reason:
                progress.close()
                raise _too_uncertain(run_input, simulation, watch, directory, time.perf_counter() - started)
            cause = next(
                (one[0] for one in world.collected(interrupted) if one), f"wall-clock limit of {walltime or 0:g} s"
            )
            raise StoppedEarly(
                f"stopped by {cause} at step {simulation.state.step} of {run_input.dynamics.steps}; "
                f"checkpoint written: continue with --resume"
            )
        summary = _summary(run_input, simulation, "finished", time.perf_counter() - started)

        def finish() -> None:
            writer.finish()
            write_summary(directory.summary, summary)
            progress.close()
            if run_input.output.figures:
                _draw(directory.path)

        first_alone(world, finish)
    return summary


def output_directory(run_input: RunInput) -> Path:
    """Where the files of a run go."""
    assert run_input.output.directory is not None, "an input from load_input has its directory resolved"
    return Path(run_input.output.directory)


def _refuse_to_remove_the_start(run_input: RunInput, directory: RunDirectory) -> None:
    if run_input.initial.kind == "file" and directory.removes(Path(run_input.initial.path)):
        raise InputError(
            f"initial.path: {run_input.initial.path} belongs to the run that --overwrite would remove; "
            "use --output for a new directory"
        )


class _Checkpointer:
    """Makes trajectory and state durable, in this order, so that the trajectory always reaches the checkpoint."""

    def __init__(
        self,
        directory: RunDirectory,
        writer: TrajectoryWriter,
        watch: UncertaintyReporter | None,
        run_input: RunInput,
        system: System,
    ) -> None:
        self.directory = directory
        self.system = system
        self.writer = writer
        self.watch = watch
        self.extra = {"input": run_input.to_yaml(), "version": __version__}
        self.when = When(every=run_input.output.checkpoint_every)
        self.saved_step = -1

    def report(self, frame: Frame) -> None:
        """Save the state of this frame."""
        self.save(frame.state)

    def save(self, state: State) -> None:
        """Seal the trajectory, then replace the checkpoint; nothing to do if this step is saved already."""
        if state.step == self.saved_step:
            return
        self.system.require_bounded(state)
        self.writer.seal()
        if self.watch:
            self.watch.save()
        write_checkpoint(self.directory.checkpoint, state, self.extra, self.system.share)
        self.saved_step = state.step


def _reporters(run_input: RunInput, writer: TrajectoryWriter, model: Model) -> list[Reporter]:
    output = run_input.output
    reporters: list[Reporter] = [
        load_plugin("reporter", "trajectory")(
            writer, When(every=output.every), tuple(output.fields), run_input.replicas.first
        )
    ]
    if run_input.observables is None:
        names = OF_MOTION + OF_ELECTRONS * model.electronic
        reporters += [ObservableReporter(name, When(every=output.every), writer) for name in names]
        return reporters
    for block in run_input.observables:
        when = When(every=block.every or 0, log=block.log or 0, after=block.after, before=block.before)
        options = {"q": block.q} if isinstance(block, StructureFactor) else {}
        reporters.append(ObservableReporter(block.name, when, writer, options))
    return reporters


def _require_uncertainty(run_input: RunInput, system: System) -> None:
    """Raise InputError where the input asks how uncertain forces are, and the force field does not say."""
    asked = ["stop_when"] if run_input.stop_when else []
    asked += ["output.fields"] if "uncertainty" in run_input.output.fields else []
    if asked and not system.capabilities.uncertainty:
        raise InputError(
            f"{asked[0]}: force field {run_input.forcefield.name} does not tell how uncertain its forces are; "
            "forcefield: {name: committee} does"
        )


def _require_one_rank(run_input: RunInput, share: Share) -> None:
    """Raise InputError where something is asked for that only a rank which has everything can answer."""
    asked = [block.name for block in run_input.observables or ()]
    if share.divided and "forcefield" in asked:
        raise InputError("observables: what a force field tells about its answers is known on one rank, not of blocks")
    whole = [name for name in ("structure_factor", "correlation") if name in asked]
    if share.divided and whole and share.whole.sites > MOST_GATHERED:
        raise InputError(
            f"observables: {whole[0]} gathers the whole lattice in the memory of one rank, {share.whole.sites} sites, "
            f"more than {MOST_GATHERED}; analyse frames of the trajectory instead"
        )


def _watch(run_input: RunInput, directory: RunDirectory, header: TrajectoryHeader) -> UncertaintyReporter | None:
    stop = run_input.stop_when
    if stop is None:
        return None
    limits = Limits(stop.uncertainty, stop.largest_uncertainty)
    whens = When(every=stop.every), When(every=run_input.output.every)
    return UncertaintyReporter(limits, *whens, stop.save, directory.uncertain, header, run_input.replicas.first)


def _too_uncertain(
    run_input: RunInput,
    simulation: Simulation,
    watch: UncertaintyReporter,
    directory: RunDirectory,
    wall_seconds: float,
) -> TooUncertain:
    """The error of a run that `stop_when` has ended, after a summary that says the same."""
    step, steps = simulation.state.step, run_input.dynamics.steps
    summary = _summary(run_input, simulation, watch.reason, wall_seconds)
    if simulation.system.share.world.rank == 0:
        write_summary(directory.summary, summary)
    states = "1 state" if len(watch.kept) == 1 else f"{len(watch.kept)} states"
    return TooUncertain(
        f"stopped at step {step} of {steps}: {watch.reason}\n"
        f"{states} worth labelling in {directory.uncertain}: latticemd label {directory.input} --states {directory.uncertain} "
        "--set label.forcefield='{name: poles}'\n"
        f"to go on all the same, raise the limit: latticemd resume {directory.path} --set stop_when.KEY=VALUE"
    )


def _resumed_state(run_input: RunInput, directory: RunDirectory, share: Share) -> State:
    """The state of the last checkpoint. Raises InputError if the input describes another simulation."""
    import yaml

    state, extra = read_checkpoint(directory.checkpoint, share)
    advice = "use --output for a new one"
    if directory.last_good.exists():
        advice += f", from the last good state of this one: the command is at the end of {directory.log}"
    earlier, now = (flat(yaml.safe_load(text)) for text in (extra["input"], run_input.to_yaml()))
    for key in sorted(earlier.keys() | now.keys()):
        if not {key, key.partition(".")[0]} & set(_MAY_CHANGE) and earlier.get(key) != now.get(key):
            raise InputError(
                f"{key} is {now.get(key)!r}, but the run in {directory.path} was made with {earlier.get(key)!r}; a resumed "
                f"run is the same run (only {', '.join(_MAY_CHANGE)} may change): {advice}"
            )
    log.info("resuming %s at step %d", directory.path, state.step)
    return state


def _header(run_input: RunInput, system: System) -> TrajectoryHeader:
    about = {"input": run_input.to_yaml(), "precision": run_input.precision, "backend": run_input.backend}
    return header_of(system.share.of_the_whole(system.model), run_input.model.name, run_input.replicas.count, about)


def _summary(run_input: RunInput, simulation: Simulation, ended: str, wall_seconds: float) -> dict[str, Any]:
    frame, system = simulation.frame(), simulation.system

    def plain(values: Any) -> Any:
        return values.tolist()[0] if len(values) == 1 else values.tolist()

    of_all = frame.share.collected
    return {
        "title": run_input.title,
        "ended": ended,
        "steps": frame.step,
        "time": frame.time,
        "digest": frame.digest,
        "wall_seconds": wall_seconds,
        "force_seconds": system.force_seconds,
        "force_calls": system.force_calls,
        "steps_per_second": (system.force_calls - 1) / wall_seconds,
        "energy": plain(of_all(frame.free_energy + frame.kinetic_energy)),
        "free_energy": plain(of_all(frame.free_energy)),
        **{name: plain(of_all(value)) for name, value in _order(frame).items()},
        "backend": run_input.backend,
        "precision": run_input.precision,
        "device": gpu.description() if run_input.backend == "cuda" else "cpu",
        "ranks": system.share.partition.ranks,
        **made_with(run_input.backend),
    }


def _order(frame: Frame) -> dict[str, Any]:
    """Order parameters (R,) by name; none where there are no electrons to order."""
    if not frame.model.electronic:
        return {}
    return {
        "order_parameter": frame.order_parameter,
        "local_order": frame.local_order,
        "wall_fraction": frame.wall_fraction,
    }


def _announce(run_input: RunInput, system: System, state: State, directory: RunDirectory) -> None:
    model = system.model
    log.info("latticemd %s: %s on %s", __version__, run_input.title or directory.path.name, directory.path)
    partition = system.share.partition
    log.info("%s, %d replica(s)", partition.lattice.description, partition.replicas)
    if partition.ranks > 1:
        log.info("%d ranks: %d group(s) of replicas, each on a grid of %s blocks with a rim of %d cells", partition.ranks,
                 partition.groups, "x".join(map(str, partition.grid)), partition.halo)  # fmt: skip
    ensemble = f"filling {model.filling:g}" if model.filling is not None else f"mu {model.mu:g}"
    electrons = (
        f"{ensemble}, electronic temperature {model.electronic_temperature:g}" if model.electronic else "no electrons"
    )
    log.info("model %s, %s; force field %s; integrator %s, dt %g, steps %d", run_input.model.name,
             electrons, run_input.forcefield.name, run_input.dynamics.mover,
             run_input.dynamics.dt, run_input.dynamics.steps)  # fmt: skip
    if run_input.backend == "cuda":
        log.info("on a GPU (%s), precision %s", gpu.description(), run_input.precision)
    if model.smallest_stiffness() < 0.0:
        log.warning("the springs do not confine the lattice: their lowest stiffness is %.3g, so displacements may grow without "
                    "bound; raise the stiffness or lower the coupling of neighbours", model.smallest_stiffness())  # fmt: skip


@contextmanager
def log_file(path: Path) -> Any:
    """Write the engine's messages to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("latticemd")
    logger.addHandler(handler)
    try:
        yield
    except LatticeMDError as error:  # people see it on the terminal; who looks for it later finds it here
        handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, str(error), (), None))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def noted_signals() -> Any:
    """A list that SIGTERM and SIGINT append their name to; a step under way is finished first."""
    received: list[str] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        if len(received) > 1:  # whoever asks twice does not want to wait
            raise KeyboardInterrupt

    earlier: dict[signal.Signals, Callable[..., Any] | int | None] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            earlier[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: whoever owns it handles signals
        pass
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _draw(directory: Path) -> None:
    """Draw the figures; a run that took hours is not lost to a drawing problem."""
    try:
        from latticemd.figures import draw_run

        drawn = draw_run(directory)
    except (LatticeMDError, OSError, ValueError, KeyError, ImportError) as error:
        log.warning("figures could not be drawn: %s", error)
        return
    log.info("figures: %s", ", ".join(str(path.relative_to(directory)) for path in drawn))


def plain_logging() -> None:
    """Send the engine's messages to standard error, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("latticemd")
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [handler]
    logger.propagate = False
