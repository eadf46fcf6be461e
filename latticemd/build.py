"""From a validated input to the objects of a simulation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from latticemd.backends import kernels_for
from latticemd.backends.gpu import require_gpu, require_gpu_memory
from latticemd.config import RunInput, load_input
from latticemd.config.components import PropagatorInput
from latticemd.errors import InputError, OutputError
from latticemd.forcefield import ForceField
from latticemd.integrators import Integrator, load_integrator
from latticemd.models.model import Model, Motion
from latticemd.parallel.choosing import chosen_partition
from latticemd.parallel.comm import Alone
from latticemd.parallel.share import Share
from latticemd.plugins import load_plugin
from latticemd.propagator import Propagator
from latticemd.ramps import Ramp
from latticemd.rng import Stream
from latticemd.simulation import Simulation, thermal_momenta
from latticemd.state import Array, State
from latticemd.system import System

_FIELDS = 10  # of the size of x on a GPU: x, p, f, electronic forces and densities, levels, and what sums are made of


def load_simulation(path: str | Path, *settings: str) -> Simulation:
    """The simulation an input file describes, at step 0, in memory only; `settings` change keys: "dynamics.dt=0.05".

    Writes no files; add reporters to look at it while it runs. Raises InputError where `latticemd run` would.
    """
    run = load_input(Path(path), settings)
    system = build_system(run)
    state = placed(run, build_state(run, system.model))
    return Simulation(system, build_propagator(run), state)


def build_ramp(value: Any) -> Ramp:
    """A `Ramp` from a number or from the ramp block of an input."""
    if isinstance(value, int | float):
        return Ramp.constant(value)
    if value.kind == "constant":
        return Ramp.constant(value.value)
    if value.kind == "linear":
        return Ramp.linear(value.first, value.last, value.start, value.end)
    if value.kind == "piecewise":
        return Ramp(tuple((int(step), float(number)) for step, number in value.points))
    return Ramp(exponential=(value.first, value.last, value.start, value.time_constant))


def build_model(run: RunInput) -> tuple[Model, dict[str, Ramp]]:
    """The model at step 0 and the ramps of those parameters that change."""
    lattice = run.lattice.to_lattice()
    given = {name: value for name, value in run.model.parameters.items() if value is not None}
    ramps = {
        name: build_ramp(value) for name, value in given.items() if not isinstance(value, int | float | str | tuple)
    }
    values = {name: ramps[name](0) if name in ramps else value for name, value in given.items()}
    model = load_plugin("model", run.model.name)(lattice, **values)
    return model, {name: ramp for name, ramp in ramps.items() if not ramp.is_constant}


def build_forcefield(run: RunInput) -> ForceField:
    """A new instance of the force field of an input."""
    forcefield: ForceField = load_plugin("forcefield", run.forcefield.name)(**run.forcefield.parameters)
    return forcefield


def build_system(run: RunInput, replicas: int | None = None, world: Alone | None = None, ramped: bool = True) -> System:
    """Model and force field of an input, ready to evaluate. Raises InputError if they do not fit together.

    On several ranks of a `world`, a rank's share of them. Unless `ramped`, parameters of the model keep their values at step 0.
    """
    if run.backend == "cuda":
        require_gpu()
        if world is not None and world.size > 1:
            raise InputError(
                f"backend: cuda computes on one GPU, and {world.size} ranks were started; use one, or --backend cpu"
            )
    model, ramps = build_model(run)
    if run.backend == "cuda":
        _require_room(run, model, 0)  # before tables of the lattice are made
    forcefield = build_forcefield(run)
    share = None if world is None or replicas else build_share(run, model, forcefield, world)
    system = System(model, forcefield, replicas or run.replicas.count, ramps if ramped else None, share)
    if run.backend == "cuda":
        _require_kernels(run, system)
    return system


def require_cpu(run: RunInput, what: str) -> None:
    """Raise InputError, saying that `what` computes on the CPU, where an input asks for another backend."""
    if run.backend != "cpu":
        raise InputError(
            f"{what} computes on the CPU, but the input says backend: {run.backend}; use --set backend=cpu"
        )


def placed(run: RunInput, state: State) -> State:
    """The state where the backend of an input computes, in its precision."""
    if run.backend != "cuda":
        return state
    return state.on_device(np.float32 if run.precision == "fp32" else np.float64)


def build_share(run: RunInput, model: Model, forcefield: ForceField, world: Alone) -> Share:
    """What a rank of a world has of the replicas and cells of an input."""
    asked, count = run.parallel, run.replicas.count
    if world.size == 1 and (asked.grid is None or set(asked.grid) == {1}) and asked.replicas in (None, 1):
        return Share.all_of(model.lattice, count)
    partition = chosen_partition(model, forcefield, run.forcefield.name, count, world.size, asked.replicas, asked.grid)
    return Share(partition, world)


def build_propagator(run: RunInput, share: Share | None = None) -> Propagator:
    """What takes the steps of an input, on a rank of a share of it: its integrator, or its propagator, which needs all sites."""
    dynamics = run.dynamics
    if not isinstance(dynamics, PropagatorInput):
        return build_integrator(run, share)
    if share is not None and share.divided:
        raise InputError(
            f"propagator {dynamics.propagator} moves all sites at once: only replicas can be shared by ranks"
        )
    propagator: Propagator = load_plugin("propagator", dynamics.propagator)(dt=dynamics.dt, **dynamics.parameters)
    return propagator


def build_integrator(run: RunInput, share: Share | None = None) -> Integrator:
    """The integrator of an input. Raises InputError where it names a propagator, whose steps follow no forces."""
    dynamics = run.dynamics
    if isinstance(dynamics, PropagatorInput):
        raise InputError(f"this is about integrators, but dynamics.propagator is {dynamics.propagator}")
    return load_integrator(dynamics.integrator)(
        dt=dynamics.dt,
        temperature=build_ramp(dynamics.temperature),
        friction=dynamics.friction,
        seed=dynamics.seed,
        first_replica=run.replicas.first + (share.first_replica if share else 0),
        **dynamics.parameters,
    )


def build_state(run: RunInput, model: Model, share: Share | None = None) -> State:
    """The initial positions and momenta of an input at step 0, or a rank's share of them, `model` being that on its block."""
    share = share or Share.all_of(model.lattice, run.replicas.count)
    initial, first = run.initial, run.replicas.first + share.first_replica
    shape = (share.replicas, share.sites, model.components)
    x = np.zeros(shape)
    kernels = kernels_for(x)
    noise = np.empty(shape)
    if initial.kind == "file":
        read = read_positions(Path(initial.path), share.of_the_whole(model), initial.frame)
        x[...] = share.taken(_for_replicas(read, initial.path, run.replicas.count))
    else:
        kernels.normals(initial.seed, int(Stream.INITIAL_POSITIONS), 0, 0, first, noise, share)
        x += initial.width * noise
        if initial.kind in ("ordered", "checkerboard"):
            x += share.cropped(model.ordered(initial.amplitude)[None])
        elif initial.kind == "uniform":
            x += initial.value
    state = State.at_rest(model.admissible(x))
    if initial.velocity == "zero" or not build_propagator(run).momenta:
        return state
    if initial.velocity == "file":
        read = read_momenta(Path(initial.path), share.of_the_whole(model), initial.frame)
        state.p[...] = share.taken(_for_replicas(read, initial.path, run.replicas.count))
        return state
    kernels.normals(initial.seed, int(Stream.INITIAL_VELOCITIES), 0, 0, first, noise, share)
    if initial.velocity == "thermal":
        state.p[...] = thermal_momenta(noise, model.site_masses(), build_ramp(run.dynamics.temperature)(0))
    else:
        state.p[...] = model.site_masses() * initial.velocity * noise
    return state


def _require_kernels(run: RunInput, system: System) -> None:
    """Raise InputError where a step could not stay on the GPU, or does not fit it."""
    model = system.model
    if model.motion is Motion.OCCUPATION or not model.portable:
        raise InputError(
            f"model {run.model.name} does not compute on a GPU; holstein and double_exchange do, on any lattice; use --backend cpu"
        )
    if not system.capabilities.cuda:
        raise InputError(
            f"forcefield {run.forcefield.name} has no kernels for GPUs with this model and these settings (docs/gpu.md says "
            "which have); use --backend cpu"
        )
    _require_room(run, model, system.capabilities.bytes_needed)


def _require_room(run: RunInput, model: Model, forcefield: int) -> None:
    """Raise InputError where the state, and so many bytes of the force field, do not fit the GPU."""
    numbers = run.replicas.count * model.lattice.sites * model.components
    needed = _FIELDS * (4 if run.precision == "fp32" else 8) * numbers + forcefield
    require_gpu_memory(needed, f"a run of {model.lattice.sites} sites and {run.replicas.count} replica(s)")


def build_first_replica(run: RunInput, model: Model) -> State:
    """The initial state of the first replica alone; a file that the input starts from may hold several."""
    state = build_state(run, model)
    return State(state.x[:1].copy(), state.p[:1].copy(), state.f[:1].copy(), state.potential[:1].copy())


def _for_replicas(values: Array, path: str, replicas: int) -> Array:
    """`values` (R, N, D), or (1, N, D) for all replicas alike. Raises InputError for another number of replicas."""
    if len(values) not in (1, replicas):
        raise InputError(
            f"{path}: holds {len(values)} replicas, but the input has {replicas}; "
            f"use replicas: {len(values)}, or a file of one replica, from which all start"
        )
    return np.broadcast_to(values, (replicas, *values.shape[1:]))


def read_positions(path: Path, model: Model, frame: int = -1) -> Array:
    """Positions (R, N, D) from a .npy file of shape (N,), (N, D) or (R, N, D), or from a frame of a run's HDF5 files.

    Raises InputError naming the file, the shape it has and the shapes that fit, or the first entry that is not finite.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".h5":
        return _fitting(_read_hdf5(path, frame, "displacement"), path, model, "positions")
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array saved by numpy.save: {error}") from error
    return _fitting(x, path, model, "positions")


def read_momenta(path: Path, model: Model, frame: int = -1) -> Array:
    """Momenta (R, N, D) [mass length/time] from a frame of a run's trajectory, or from its checkpoint.

    Raises InputError as `read_positions` does, and for a trajectory whose frames have no momenta.
    """
    return _fitting(_read_hdf5(path, frame, "momentum"), path, model, "momenta")


def _fitting(values: Any, path: Path, model: Model, quantity: str) -> Array:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: expected an array of real numbers, got {getattr(values, 'dtype', type(values).__name__)}"
        )
    sites, components = model.lattice.sites, model.components
    given = values.shape
    if given == (sites,) and components == 1:
        values = values[:, None]
    if values.shape == (sites, components):
        values = values[None]
    if values.ndim != 3 or values.shape[1:] != (sites, components) or len(values) == 0:
        fits = [f"({sites},)"] * (components == 1) + [f"({sites}, {components})", f"(R, {sites}, {components})"]
        raise InputError(
            f"{path}: {quantity} have shape {given}, expected {' or '.join(fits)} for this lattice and model"
        )
    if not np.isfinite(values).all():
        first = tuple(int(n) for n in np.argwhere(~np.isfinite(values))[0])
        place = f"replica {first[0]}, site {first[1]}, component {first[2]}"
        raise InputError(f"{path}: {quantity} are not finite, first those of {place}")
    return np.ascontiguousarray(values, dtype=np.float64)


def _read_hdf5(path: Path, frame: int, element: str) -> Array:
    """`element` of a checkpoint, or of a frame of a trajectory, (R, N, D)."""
    from latticemd.output.checkpoint import is_checkpoint, read_state
    from latticemd.output.trajectory import read_trajectory

    try:
        if is_checkpoint(path):
            state = read_state(path)
            return state.x if element == "displacement" else state.p
        with read_trajectory(path) as trajectory:
            groups = [name for name in trajectory.elements() if re.fullmatch(rf"particles/\w+/{element}", name)]
            if not groups:
                fields = f"; add {element} to output.fields of its run, or use a checkpoint"
                raise InputError(f"{path}: its frames have no {element}{fields if trajectory.elements() else ''}")
            groups.sort(key=lambda name: (len(name), name))  # replica_9999 comes before replica_10000
            return np.stack([trajectory.value(name)[frame] for name in groups])
    except (OSError, OutputError, ValueError, KeyError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as a frame of a trajectory or checkpoint: {error}") from error
