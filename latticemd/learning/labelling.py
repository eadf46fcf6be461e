"""What `latticemd label` does: exact trajectories of an input, with the electronic forces of their states, as one dataset.

Finished trajectories wait in DATASET.h5.parts, each under the sha256 of all that it depends on; a labelling that is
interrupted continues with the first that is not there.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from latticemd import __version__
from latticemd.build import build_model, build_propagator, build_ramp, build_state, require_cpu
from latticemd.config import RunInput
from latticemd.config.label_input import SEEDS, Settings
from latticemd.config.loading import input_source, validated
from latticemd.config.overrides import apply_overrides
from latticemd.config.yaml_source import Source as YamlSource
from latticemd.errors import InputError, OutputError, StoppedEarly
from latticemd.forcefield import ForceField
from latticemd.learning.dataset import ARRAYS, LabelledTrajectory, Value, read_dataset, write_dataset
from latticemd.learning.records import record_of
from latticemd.learning.sources import Source, identity, read_sources
from latticemd.models.model import Model
from latticemd.output.provenance import made_with
from latticemd.plugins import load_plugin
from latticemd.simulation import Simulation
from latticemd.state import State
from latticemd.system import System

log = logging.getLogger("latticemd.learning")

Watch = Callable[[int], None]  # told the number of steps that are done


@dataclass(frozen=True)
class Job:
    """One trajectory to be labelled: a resolved input, the steps at which, and what was varied to get it."""

    kind: str  # dynamics, random or states
    run: RunInput
    steps: tuple[int, ...]
    settings: Settings
    states: Source | None = None  # where they come from, if they are not to be made

    @property
    def cost(self) -> int:
        """Force evaluations."""
        return len(self.steps) if self.states else self.steps[-1] + 1

    @cached_property
    def key(self) -> str:
        """sha256 of all that the labels depend on."""
        assert self.run.label is not None
        labels = self.run.label.model_dump(mode="json", serialize_as_any=True)["forcefield"]
        states = [self.states.digest] if self.states else []
        return hashlib.sha256(json.dumps([__version__, self.input, self.steps, labels, *states]).encode()).hexdigest()

    @property
    def trajectory(self) -> str:
        """sha256 of what makes the trajectory, however long it is, wherever it goes and whoever solves the electrons."""
        return self.states.trajectory if self.states else identity(self.kind, self.run, self.run.replicas.first)

    @property
    def input(self) -> str:
        """The resolved input of this trajectory alone."""
        return self.run.model_copy(update={"label": None}).to_yaml()


@dataclass(frozen=True)
class Plan:
    """The jobs of an input with a block `label`, the file they go to, and the text of the whole input."""

    jobs: list[Job]
    output: Path
    input: str

    @property
    def cost(self) -> int:
        """Force evaluations of all jobs."""
        return sum(job.cost for job in self.jobs)


def plan_labels(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """The trajectories that an input asks for. Raises InputError, also where a single combination makes no input."""
    source, name = input_source(RunInput, path, overrides), Path(path).stem
    run = validated(RunInput, source, name)
    if run.label is None:
        raise InputError(
            f"{path}: has no block label; add one such as  label: {{vary: {{seed: [1, 2, 3]}}, every: 10}}"
        )
    jobs = _jobs_of_trajectories(source, name, run) if run.label.states is None else _jobs_of_states(run)
    require_cpu(run, "label")
    output = run.label.output
    assert output is not None, "an input from load_input has its dataset resolved"
    return Plan(jobs, Path(output), run.to_yaml())


def _jobs_of_trajectories(source: YamlSource, name: str, run: RunInput) -> list[Job]:
    """Trajectories to be run, and random states."""
    assert run.label is not None
    steps = run.label.steps(run.dynamics.steps)
    jobs: list[Job] = []
    if steps:
        jobs += [
            Job("dynamics", _varied(source, name, settings), steps, settings) for settings in run.label.combinations()
        ]
    jobs += _random_jobs(source, name, run)
    if not jobs:
        raise InputError(f"{name}: label asks for no states; give steps under at, or random")
    for job in jobs:
        _require_one_replica(job.run)
        _require_one_model(job.run)
    return jobs


def _jobs_of_states(run: RunInput) -> list[Job]:
    """The states of a file, each replica a trajectory."""
    assert run.label is not None
    _require_one_model(run)
    sources = read_sources(Path(str(run.label.states)), run.label.at, build_model(run)[0], run.model.name)
    return [Job("states", run, tuple(one.steps), {"states": run.label.states}, one) for one in sources]


def label(
    plan: Plan,
    *,
    overwrite: bool = False,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda done: None,
) -> Path:
    """Label every trajectory that is not finished yet and write the dataset. Cost: one force call per step.

    Raises StoppedEarly when `stop()` is true between two steps; what is finished then counts in the next call. Raises
    OutputError where there is a dataset already, unless it may be replaced.
    """
    require_free(plan, overwrite)
    done = 0
    for number, job in enumerate(plan.jobs):
        finish_part(plan, number, stop, _counting_from(done, watch))
        done += job.cost
        watch(done)
    files = part_files(plan)
    write_dataset(plan.output, _in_order(files), _provenance(plan))
    shutil.rmtree(files[0].parent)
    return plan.output


def require_free(plan: Plan, overwrite: bool) -> None:
    """Raise OutputError where there is a dataset already, unless it may be replaced."""
    if plan.output.exists() and not overwrite:
        raise OutputError(f"{plan.output} exists; use --overwrite to replace it, or --output for another file")


def part_files(plan: Plan) -> list[Path]:
    """Where finished trajectories wait for the others."""
    folder = plan.output.with_name(plan.output.name + ".parts")
    return [folder / f"{number:05d}-{job.key[:16]}.h5" for number, job in enumerate(plan.jobs)]


def finish_part(
    plan: Plan, number: int, stop: Callable[[], bool] = lambda: False, watch: Watch = lambda done: None
) -> None:
    """Label one trajectory and leave it in its file, unless it is there."""
    file = part_files(plan)[number]
    if not file.exists():
        write_dataset(file, [_labelled(plan.jobs[number], stop, watch)], {})


def _counting_from(done: int, watch: Watch) -> Watch:
    return lambda step: watch(done + step)


def _in_order(files: Sequence[Path]) -> Iterator[LabelledTrajectory]:
    for file in files:
        yield from read_dataset(file)


def _labelled(job: Job, stop: Callable[[], bool], watch: Callable[[int], None]) -> LabelledTrajectory:
    """One trajectory with its labels."""
    model, _ = build_model(job.run)
    labels = _label_system(job.run, model)
    if job.states:
        frames = _Frames(labels)
        for done, (x, step) in enumerate(zip(job.states.x, job.states.steps, strict=True)):
            if stop():
                raise StoppedEarly(f"stopped before the state of step {step}: the same command continues")
            frames.add(State.at_rest(x[None]), step)
            watch(done)
    else:
        frames = _along_trajectory(job, model, labels, stop, watch)
    return frames.trajectory(job, model)


def _along_trajectory(
    job: Job, model: Model, labels: System, stop: Callable[[], bool], watch: Callable[[int], None]
) -> _Frames:
    """The states of a trajectory that is run, or of its start alone."""
    run = job.run
    assert run.label is not None
    system = labels if run.label.forcefield is None else System(model, _forcefield(run.forcefield))
    state, frames = build_state(run, model), _Frames(labels)
    if job.kind == "random":
        frames.add(state, 0)
        return frames
    with np.errstate(all="ignore"):  # what is not finite ends the trajectory with one message
        simulation = Simulation(system, build_propagator(run), state)
        for step in job.steps:
            while simulation.state.step < step:
                if stop():
                    raise StoppedEarly(f"stopped at step {simulation.state.step}: the same command continues")
                simulation.run(simulation.state.step + 1)
                watch(simulation.state.step)
            frames.add(simulation.state, step, simulation.frame().system)
    return frames


def _label_system(run: RunInput, model: Model) -> System:
    """What labels states. Raises InputError where it says itself that it is not exact."""
    assert run.label is not None
    block = run.label.forcefield or run.forcefield
    system = System(model, _forcefield(block))
    if system.capabilities.uncertainty:
        raise InputError(
            f"labels are exact, and the forces of {block.name} are uncertain; give another force field for them, such as "
            "label: {forcefield: {name: poles}}"
        )
    return system


class _Frames:
    """Collects states and their labels."""

    def __init__(self, labels: System) -> None:
        self._labels = labels
        self._rows: list[dict[str, Any]] = []

    def add(self, state: State, step: int, moving: System | None = None) -> None:
        """Label a state; nothing is solved again where what moves the lattice also makes the labels."""
        if moving is not self._labels:
            self._labels.update_forces(State.at_rest(state.x), step)
        electrons = self._labels.electrons
        parts = {"x": state.x, **{name: getattr(electrons, name) for name in ("force", "energy", "density")}}
        self._rows.append({name: part[0].copy() for name, part in parts.items()} | {"step": np.int64(step)})

    def trajectory(self, job: Job, model: Model) -> LabelledTrajectory:
        """All that was labelled."""
        arrays: dict[str, Any] = {name: np.array([row[name] for row in self._rows]) for name in ARRAYS}
        record = record_of(job.run.model.name, model)
        return LabelledTrajectory(**arrays, record=record, attributes=_attributes(job), name=job.key[:16])


def _attributes(job: Job) -> dict[str, Value]:
    run = job.run
    assert run.label is not None
    labels = run.label.forcefield or run.forcefield
    varied = {key: value if isinstance(value, Value) else json.dumps(value) for key, value in job.settings.items()}
    return {
        "kind": job.kind,
        "seed": job.states.seed if job.states else run.initial.seed,
        "temperature": build_ramp(run.dynamics.temperature)(job.steps[-1]),
        "forcefield": json.dumps({"name": labels.name, **labels.parameters}),
        "trajectory": job.trajectory,
        "input": job.input,
        **varied,
    }


def _varied(source: YamlSource, name: str, settings: Settings) -> RunInput:
    """The resolved input with other values of some keys; from what the user wrote, so that defaults follow the new values."""
    changed = copy.deepcopy(source)
    overrides = []
    for key, value in settings.items():
        keys = SEEDS if key == "seed" else (key,)
        overrides += [f"{one}={json.dumps(value)}" for one in keys]
    apply_overrides(changed, overrides, "label.vary")
    return validated(RunInput, changed, name)


def _random_jobs(source: YamlSource, name: str, run: RunInput) -> list[Job]:
    """Initial states for each combination of the keys other than seeds."""
    assert run.label is not None
    if run.label.random is None:
        return []
    combinations: list[Settings] = []
    for settings in run.label.combinations():
        rest = {key: value for key, value in settings.items() if key not in ("seed", *SEEDS)}
        if rest not in combinations:
            combinations.append(rest)
    jobs = []
    for settings in combinations:
        varied = _varied(source, name, settings)
        for seed in range(run.label.random.seed, run.label.random.seed + run.label.random.count):
            start = varied.initial.model_copy(update={"seed": seed})
            jobs.append(Job("random", varied.model_copy(update={"initial": start}), (0,), {**settings, "seed": seed}))
    return jobs


def _require_one_replica(run: RunInput) -> None:
    if run.replicas.count != 1:
        raise InputError(
            f"label makes one trajectory per run, got replicas: {run.replicas.count}; vary the seed instead"
        )


def _require_one_model(run: RunInput) -> None:
    ramps = build_model(run)[1]
    if ramps:
        raise InputError(
            f"the labels of a trajectory belong to one model, but model.{min(ramps)} changes with the step; vary its value "
            "instead (electronic_temperature is the bath's unless it is given)"
        )


def _forcefield(block: Any) -> ForceField:
    forcefield: ForceField = load_plugin("forcefield", block.name)(**block.parameters)
    return forcefield


def _provenance(plan: Plan) -> dict[str, Value]:
    return {
        **made_with(plan.jobs[0].run.backend),
        "revision": _revision(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["latticemd", *sys.argv[1:]]),
        "input": plan.input,
    }


def _revision() -> str:
    """The git commit of the sources, or 'unknown' for those that were installed without one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", str(Path(__file__).name)]
    try:
        if subprocess.run(tracked, capture_output=True, check=False, timeout=10).returncode == 0:
            return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return "unknown"
