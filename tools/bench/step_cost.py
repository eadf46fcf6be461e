"""What a step costs beside the eigensolver it cannot do without.

Measures, side by side in one process and interleaved so that drifts of the machine cancel:

- the bare LAPACK call that `ed` makes, on the same Hamiltonian;
- `ed`'s whole force call (limit: 1.1 times the former);
- everything else in a step, as a share of the force call (limit: 2 %).

Usage: python tools/bench/step_cost.py [--side 32] [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from forcefields.ed import ExactDiagonalisation, diagonalise
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.integrators import load_integrator

FORCE_LIMIT, REST_LIMIT = 1.1, 0.02


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> int:
    """Print one table and return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--integrator", default="overdamped")
    arguments = parser.parse_args()

    model = Holstein(Lattice("square", (arguments.side, arguments.side)))
    x = np.random.default_rng(0).normal(size=(1, model.lattice.sites, 1))
    system = System(model, ExactDiagonalisation())
    integrator_class = load_integrator(arguments.integrator)
    integrator = integrator_class(dt=0.1, temperature=Ramp.constant(0.1), friction=0.2, seed=7)
    simulation = Simulation(system, integrator, State.at_rest(x))
    simulation.run(steps=2)

    hamiltonian = np.zeros((model.lattice.sites,) * 2, order="F")
    hops = model.hops()

    def fill() -> None:
        hamiltonian.fill(0.0)
        hamiltonian[np.maximum(hops.i, hops.j), np.minimum(hops.i, hops.j)] = hops.amplitude
        np.einsum("ii->i", hamiltonian)[:] = model.onsite(simulation.state.x)[0]

    force_ratio, rest_share, bare = [], [], []
    for repeat in range(arguments.repeats):
        fill()
        in_force = system.force_seconds
        if repeat % 2:
            eigensolver = seconds(lambda: diagonalise(hamiltonian))
            whole = seconds(lambda: integrator.step(simulation.state, system))
        else:
            whole = seconds(lambda: integrator.step(simulation.state, system))
            eigensolver = seconds(lambda: diagonalise(hamiltonian))
        in_force = system.force_seconds - in_force
        bare.append(eigensolver)
        force_ratio.append(in_force / eigensolver)
        rest_share.append((whole - in_force) / in_force)

    ratio, share = statistics.median(force_ratio), statistics.median(rest_share)
    print(f"{model.lattice.sites} sites, {arguments.integrator}, medians of {arguments.repeats} interleaved pairs")
    print(f"bare eigensolver                {1e3 * statistics.median(bare):8.1f} ms")
    print(f"force call / bare eigensolver   {ratio:8.3f}      limit {FORCE_LIMIT}")
    print(f"rest of the step / force call   {100 * share:8.3f} %    limit {100 * REST_LIMIT:g} %")
    return int(ratio > FORCE_LIMIT or share > REST_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
