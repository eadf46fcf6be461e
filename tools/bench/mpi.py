"""How runs scale over ranks, against one rank in the same launch and against what `latticemd info --plan` predicts.

Ranks that are not asked sleep while the others work, so each number of ranks is measured between those of all others, several
times over. Strong scaling: the same lattice on more ranks; weak scaling: a block of the same size on each; apart: what the machine
allows, ranks that each have a lattice of the size of a block to themselves and never talk. `engine` is a force
field that costs nothing, so what remains is propagation, halos and sums.

Usage: mpirun -n 2 python tools/bench/mpi.py [--side 512] [--repeats 5] [--steps 4] [--cases engine,cavity,window,network]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from forcefields.cavity import Cavity
from forcefields.networks.forcefield import NetworkForceField
from forcefields.window import Window
from latticemd import Capabilities, Electrons, ForceField, Holstein, Lattice, Model, Simulation, State, System
from latticemd.backends import kernels_for
from latticemd.integrators import load_integrator
from latticemd.parallel.choosing import rim_of
from latticemd.parallel.comm import Alone, Mpi
from latticemd.parallel.forecast import Measured, Network, counted
from latticemd.parallel.partition import Partition, least_surface
from latticemd.parallel.share import Share


class Free:
    """A force field that answers zero at once; as local as can be."""

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Only the cost is of interest."""
        return Capabilities(False, True, True, True, 0, 0)

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing to allocate."""

    def evaluate(self, model: Model, x: Any, step: int, out: Electrons) -> None:
        """Leaves the zeros of the first call."""
        if np.isnan(out.energy).any():
            for values in (out.force, out.energy, out.density):
                values[...] = 0.0

    def close(self) -> None:
        """Nothing to release."""


CASES: dict[str, Callable[[], ForceField]] = {
    "engine": Free,
    "cavity": lambda: Cavity(radius=1),
    "window": lambda: Window(width=9),
    "network": lambda: NetworkForceField("holstein_demo"),
}


def prepared(case: str, shape: tuple[int, ...], ranks: int, comm: Alone) -> Simulation:
    """A simulation on a share of the lattice, some steps after its start."""
    model, forcefield = Holstein(Lattice("square", shape)), CASES[case]()
    partition = Partition(model.lattice, 1, 1, least_surface(shape, ranks), rim_of(model, forcefield) or 0)
    share = Share(partition, comm)
    system = System(model, forcefield, share=share)
    x = np.empty((1, share.sites, 1))
    kernels_for(x).normals(1, 1, 0, 0, 0, x, share)
    method = load_integrator("langevin")(dt=0.05, temperature=0.1, friction=0.2, seed=7)
    run = Simulation(system, method, State.at_rest(x))
    run.run(2)
    return run


def seconds(run: Simulation, steps: int) -> tuple[float, float]:
    """Wall time per step of the slowest rank, and that of its forces."""
    world = run.system.share.world
    world.anywhere(False)
    began, in_force = time.perf_counter(), run.system.force_seconds
    run.run(run.state.step + steps)
    took = np.array([time.perf_counter() - began, run.system.force_seconds - in_force]) / steps
    return tuple(world.highest(took).tolist())  # type: ignore[return-value]


def waiting(comm: Any) -> None:
    """Wait for all ranks without keeping a core busy."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


def network_of(comm: Any, times: int = 200) -> Network:
    """Latency and bandwidth between the first two ranks, by messages that go back and forth."""

    def back_and_forth(length: int) -> float:
        buffer = np.zeros(length)
        best = float("inf")
        for _ in range(times):
            began = time.perf_counter()
            if comm.Get_rank() == 0:
                comm.Send(buffer, 1)
                comm.Recv(buffer, 1)
            elif comm.Get_rank() == 1:
                comm.Recv(buffer, 0)
                comm.Send(buffer, 0)
            best = min(best, 0.5 * (time.perf_counter() - began))
        return best

    short, long = back_and_forth(1), back_and_forth(2**16)
    return Network(*comm.bcast((short, 8 * 2**16 / max(long - short, 1e-9))))


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--cases", default="engine,cavity,window,network")
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    rank, most, side = comm.Get_rank(), comm.Get_size(), arguments.side
    counts = [k for k in (1, 2, 4, 8, 16) if k <= most]
    network = network_of(comm) if most > 1 else Network()
    if rank == 0:
        print(f"{side} x {side}, langevin, medians of {arguments.repeats} interleaved repeats of {arguments.steps} steps; "
              f"latency {1e6 * network.latency:.1f} us, {network.bandwidth / 1e9:.1f} GB/s between ranks")  # fmt: skip
        print("case      ranks  ms/step  strong scaling  apart  weak scaling  predicted  measured/predicted")
    for case in arguments.cases.split(","):
        runs = {}
        for k in counts:
            sub = comm.Split(0 if rank < k else 1, rank)
            if rank < k:
                here = Mpi(sub) if k > 1 else Alone()
                grid = least_surface((side, side), k)
                larger = tuple(side * n for n in grid)
                block = tuple(side // n for n in grid)
                runs[k] = (
                    prepared(case, (side, side), k, here),
                    prepared(case, larger, k, here),
                    prepared(case, block, 1, Alone()),
                )
            waiting(comm)
        took: dict[int, list[tuple[float, float]]] = {k: [] for k in counts}
        weak: dict[int, list[float]] = {k: [] for k in counts}
        apart: dict[int, list[float]] = {k: [] for k in counts}
        for _ in range(arguments.repeats):
            for k in counts:
                if rank < k:
                    took[k].append(seconds(runs[k][0], arguments.steps))
                    weak[k].append(seconds(runs[k][1], arguments.steps)[0])
                    runs[k][0].system.share.world.anywhere(False)
                    mine = seconds(runs[k][2], arguments.steps)[0]
                    apart[k].append(float(runs[k][0].system.share.world.highest(np.array([mine]))[0]))
                waiting(comm)
        if rank:
            continue
        one = [whole for whole, _ in took[1]]
        forces = statistics.median(force for _, force in took[1])
        rest = (statistics.median(one) - forces) / side**2
        free_rim = runs[1][0].system.capabilities.free_rim
        measured = Measured(side**2, forces / side**2, rest, 0.0, 1.0, free_rim)
        for k in counts:
            step = statistics.median(whole for whole, _ in took[k])
            strong = statistics.median(a / b for a, (b, _) in zip(one, took[k], strict=True))
            alone = statistics.median(a / b for a, b in zip(one, apart[k], strict=True))
            scaled = statistics.median(a / b for a, b in zip(weak[1], weak[k], strict=True))
            expected = counted(runs[k][0].system.share.partition, 1, measured, network).seconds
            row = f"{case:9} {k:5d} {1e3 * step:8.2f} {strong:15.2f} {alone:6.2f} {scaled:13.2f}"
            print(f"{row} {1e3 * expected:10.2f} {step / expected:19.2f}")


if __name__ == "__main__":
    main()
