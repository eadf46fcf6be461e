"""What a run on many ranks will cost: measured on a piece of its lattice, extrapolated by counting cells, rims and messages."""

from __future__ import annotations

import dataclasses
import math
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass

from latticemd.build import build_forcefield, build_integrator, build_model, build_state, require_cpu
from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.models.model import Model
from latticemd.parallel.choosing import chosen_partition
from latticemd.parallel.halo import messages
from latticemd.parallel.partition import Partition
from latticemd.ramps import Ramp
from latticemd.simulation import Simulation
from latticemd.system import System

PIECE_SITES = 2**14  # of the piece on which costs are measured: beyond caches, and done in a second
STEPS = 3
_REDUCTIONS = 3  # of all ranks in a step: whether positions and forces are finite, and whether to stop
_SUMS = 2  # of a group in a step: highest levels, heat


@dataclass(frozen=True)
class Network:
    """What messages cost between ranks: a latency [second] each, and their bytes over a bandwidth [byte/second]."""

    latency: float = 2e-6
    bandwidth: float = 1e10


@dataclass(frozen=True)
class Measured:
    """What a site costs: seconds per force and of the rest of a step, peak bytes while it runs, and forces per step.

    With a `free_rim` forces cost nothing but at own sites.
    """

    sites: int
    force_seconds: float
    step_seconds: float
    bytes: float
    forces: float
    free_rim: bool = False


@dataclass(frozen=True)
class Forecast:
    """Costs of the busiest rank.

    ==============  ========================================================================================
    field           meaning
    ==============  ========================================================================================
    ranks           number of ranks, in `groups` with a `grid` each, or a `crew` that shares the work on all cells
    block           cells along each direction that are its own
    rim             layers of cells around them
    bytes           memory [byte]
    halo_bytes      received in a step [byte], in `messages` messages
    seconds         of a step [second], of which `waiting` for messages
    efficiency      share of the time that is spent on own sites
    ==============  ========================================================================================
    """

    ranks: int
    groups: int
    grid: tuple[int, ...]
    crew: int
    block: tuple[int, ...]
    rim: int
    sites: int
    replicas: int
    bytes: float
    halo_bytes: int
    messages: int
    seconds: float
    waiting: float
    efficiency: float


def forecast(run: RunInput, ranks: int, network: Network | None = None, measured: Measured | None = None) -> Forecast:
    """What `mpirun -n RANKS` of this input will cost a rank. Raises InputError where that many ranks do not fit.

    One rank of it is counted, none of the tables of the whole lattice is made: lattices of 10^10 sites take no longer.
    """
    require_cpu(run, "info --plan")
    model, _ = build_model(run)
    wish = run.parallel
    partition = chosen_partition(
        model, build_forcefield(run), run.forcefield.name, run.replicas.count, ranks, wish.replicas, wish.grid
    )
    here = measured or measure(run)
    return counted(partition, model.components, here, network or Network())


def counted(partition: Partition, components: int, here: Measured, network: Network) -> Forecast:
    """The forecast for a partition and measured costs."""
    first, last = partition.replicas_of(0)
    replicas, basis = last - first, len(partition.lattice.cell.basis)
    block = tuple(b - a for a, b in partition.owned(0))
    own, known = math.prod(block) * basis, math.prod(partition.extents(0)) * basis
    halo_bytes = round(here.forces * 8 * replicas * components * basis * partition.halo_cells(0))
    count = round(here.forces * len(messages(partition, 0)))
    waiting = count * network.latency + halo_bytes / network.bandwidth
    rounds = _REDUCTIONS * math.ceil(math.log2(partition.ranks)) + _SUMS * math.ceil(math.log2(partition.blocks))
    waiting += here.forces * rounds * network.latency
    useful = replicas * own * (here.forces * here.force_seconds / partition.crew + here.step_seconds)
    wasted = 0.0 if here.free_rim else replicas * (known - own) * here.forces * here.force_seconds
    seconds = useful + wasted + waiting
    return Forecast(
        ranks=partition.ranks,
        groups=partition.groups,
        grid=partition.grid,
        crew=partition.crew,
        block=block,
        rim=partition.halo,
        sites=own,
        replicas=replicas,
        bytes=replicas * known * here.bytes,
        halo_bytes=halo_bytes,
        messages=count,
        seconds=seconds,
        waiting=waiting,
        efficiency=useful / seconds if seconds else 0.0,
    )


def measure(run: RunInput, sites: int = PIECE_SITES) -> Measured:
    """Costs per site on a piece of the lattice of an input, closed as the whole is, with one replica. Takes a few seconds."""
    model, ramps = build_model(run)
    model = dataclasses.replace(model, lattice=model.lattice.resized(_piece(model.lattice.shape, sites)))
    if run.initial.kind == "file":
        raise InputError("a plan needs a start that fits a piece of the lattice; use another initial.kind for it")
    single = run.model_copy(update={"replicas": run.replicas.model_copy(update={"count": 1})})
    system, state = System(model, build_forcefield(run), 1, ramps), build_state(single, model)
    simulation = Simulation(system, build_integrator(single), state)
    simulation.run(1)  # compiles
    best_force, best_rest = math.inf, math.inf
    for _ in range(STEPS):
        calls, in_force, began = system.force_calls, system.force_seconds, time.perf_counter()
        simulation.run(simulation.state.step + 1)
        took = time.perf_counter() - began
        calls, in_force = system.force_calls - calls, system.force_seconds - in_force
        best_force, best_rest = min(best_force, in_force / max(calls, 1)), min(best_rest, took - in_force)
    n = model.lattice.sites
    return Measured(
        n, best_force / n, best_rest / n, _bytes_per_site(single, model, ramps), calls, system.capabilities.free_rim
    )


def _bytes_per_site(run: RunInput, model: Model, ramps: Mapping[str, Ramp]) -> float:
    """Memory that arrays take at most, from the tables of the lattice to the second step [byte]: what more sites add."""
    peaks = []
    for times in (1, 2):
        # Two cells more than any lattice that was used before, whose tables exist already.
        lattice = model.lattice.resized([times * (n + 2) for n in model.lattice.shape])
        larger = dataclasses.replace(model, lattice=lattice)
        tracemalloc.start()
        try:
            system = System(larger, build_forcefield(run), 1, ramps)
            Simulation(system, build_integrator(run), build_state(run, larger)).run(2)
            peaks.append((tracemalloc.get_traced_memory()[1], lattice.sites))
        finally:
            tracemalloc.stop()
    (small, few), (large, many) = peaks
    return (large - small) / (many - few)


def _piece(shape: tuple[int, ...], sites: int) -> tuple[int, ...]:
    """Nearly equal extents, even, with about so many cells and none longer than the whole."""
    side = 2 * max(1, round(0.5 * sites ** (1.0 / len(shape))))
    return tuple(min(n, side) for n in shape)
