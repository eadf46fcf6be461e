"""What a step costs beside the force, against the memory traffic it cannot avoid.

A force field that costs nothing leaves the engine alone. On a large lattice its time per step is compared with the floor
(bytes a step must touch) / (bandwidth of memory), the bandwidth measured in the same run and between the same repeats by
a triad a = b + s c with as many threads on arrays that no cache holds (24 bytes per element). Per degree of freedom a
langevin step (BAOAB, float64) must touch 80 bytes:

    before the force   read x, p, f; write x, p                        40
    after the force    read x, electronic force, p; write f, p         40

On a small lattice the time per step is the price of Python and of calling kernels. The first step is that of a fresh
process, with kernels from numba's cache on disk: from the end of the imports to the end of the step, everything included.

Usage: python tools/bench/engine_overhead.py [--side 512] [--repeats 21]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from latticemd import Capabilities, Electrons, Holstein, Lattice, Model, Ramp, Simulation, State, System
from latticemd.integrators import load_integrator

BYTES_PER_DEGREE, FLOOR_LIMIT, SMALL_LIMIT, FIRST_LIMIT = 80, 2.0, 20e-6, 1.0


class Free:
    """A force field that is never late: it leaves the buffers as they are."""

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Nothing is promised but the cost."""
        return Capabilities(True, True, True, True, 0, 0)

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing to allocate."""

    def evaluate(self, model: Model, x: Any, step: int, out: Electrons) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to release."""


@njit(parallel=True)
def triad(a: Any, b: Any, c: Any) -> None:
    """a = b + s c, whose traffic is 24 bytes per element."""
    for i in prange(a.size):
        a[i] = b[i] + 0.5 * c[i]


def seconds(function: Callable[[], object], times: int = 1) -> float:
    """Wall time per call."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - started) / times


def simulation(side: int, integrator: str, steps: int = 5) -> Simulation:
    """A Holstein lattice under a force that costs nothing, some steps after its start."""
    model = Holstein(Lattice("square", (side, side)))
    system = System(model, Free())
    system.electrons.force[...] = 0.0
    system.electrons.energy[...] = 0.0
    x = np.random.default_rng(0).normal(size=(1, model.lattice.sites, 1))
    made = load_integrator(integrator)(dt=0.05, temperature=Ramp.constant(0.1), friction=0.2, seed=7)
    run = Simulation(system, made, State.at_rest(x))
    run.run(steps=steps)
    return run


def first_step(side: int, integrator: str) -> float:
    """Seconds from the imports to the end of the first step, in a process of its own."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import engine_overhead as bench; started = time.perf_counter(); "
        f"bench.simulation({side}, {integrator!r}, steps=1); print(time.perf_counter() - started)"
    )
    command = [sys.executable, "-c", code, __file__.rpartition("/")[0] or "."]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    """Print one table and return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--integrator", default="langevin")
    arguments = parser.parse_args()

    large, small = simulation(arguments.side, arguments.integrator), simulation(16, arguments.integrator)
    beyond_cache = [np.random.default_rng(0).random(2**24) for _ in range(3)]
    within = [np.zeros(arguments.side**2) for _ in range(3)]
    triad(*beyond_cache)
    triad(*within)
    step, bus, cache, little = [], [], [], []
    for _ in range(arguments.repeats):
        step.append(seconds(lambda: large.integrator.step(large.state, large.system), 20))
        bus.append(24 * beyond_cache[0].size / seconds(lambda: triad(*beyond_cache)))
        cache.append(24 * within[0].size / seconds(lambda: triad(*within), 20))
        little.append(seconds(lambda: small.integrator.step(small.state, small.system), 200))

    first_step(arguments.side, arguments.integrator)  # fills the cache
    first = statistics.median(first_step(arguments.side, arguments.integrator) for _ in range(3))
    per_step, bandwidth, here, overhead = map(statistics.median, (step, bus, cache, little))
    traffic = BYTES_PER_DEGREE * arguments.side**2
    ratio = statistics.median(s * b for s, b in zip(step, bus, strict=True)) / traffic
    print(
        f"{arguments.integrator}, float64, {get_num_threads()} threads, medians of {arguments.repeats} interleaved repeats"
    )
    print(f"triad from memory                        {bandwidth / 1e9:8.1f} GB/s")
    print(f"triad on arrays of {arguments.side} x {arguments.side}             {here / 1e9:8.1f} GB/s")
    print(
        f"engine per step, {arguments.side} x {arguments.side}               {1e3 * per_step:8.3f} ms (least {1e3 * min(step):.3f})"
    )
    print(f"floor, {BYTES_PER_DEGREE} bytes per degree of freedom    {1e3 * traffic / bandwidth:8.3f} ms")
    print(f"engine / floor                           {ratio:8.2f}      limit {FLOOR_LIMIT:g}")
    print(f"engine per step, 16 x 16                 {1e6 * overhead:8.1f} us   limit {1e6 * SMALL_LIMIT:g}")
    print(f"first step of a fresh process            {first:8.2f} s    limit {FIRST_LIMIT:g}")
    return int(ratio > FLOOR_LIMIT or overhead > SMALL_LIMIT or first > FIRST_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
