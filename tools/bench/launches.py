"""From how many sites a GPU can be worth it at all: launches of a step, counted, against the time that the CPU takes for it.

Counts the kernels and array operations of a step of `langevin` in numba's simulator on a tiny lattice, as no size enters them but
the number of moments of `kpm`, and times the same step on one core of the CPU on a larger one. Every launch is assumed to take
`--launch` seconds of the host, whatever it does: below the size at which the CPU takes as long as that, no GPU is faster. With
several replicas in a launch that size is their sites together.

Usage: NUMBA_ENABLE_CUDASIM=1 NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python tools/bench/launches.py [--launch 1e-5] [--side 64]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time

import numpy as np

import forcefields.cavity.device
import forcefields.window.device
from forcefields.cavity import Cavity
from forcefields.ed import ExactDiagonalisation
from forcefields.kpm import KernelPolynomial
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.backends import gpu
from latticemd.forcefield import ForceField
from latticemd.integrators import load_integrator

TEMPERATURE = 0.1  # kT of electrons and bath
MOMENTS = 10  # of `kpm` where launches are counted

# name, settings in the simulator, settings on the CPU, side there (0: --side), moments there
CASES: dict[str, tuple[ForceField, ForceField, int, int]] = {
    "cavity 1 float32": (Cavity(radius=1, poles=3), Cavity(radius=1, precision="float32"), 0, 0),
    "window 13 float32": (Window(width=5, tolerance=1e-2), Window(width=13, tolerance=3e-4, precision="float32"), 0, 0),
    "kpm float32, 260 moments": (
        KernelPolynomial(colours=2, moments=MOMENTS),
        KernelPolynomial(colours=8, moments=260, precision="float32"),
        0,
        260,
    ),
    "ed": (ExactDiagonalisation(), ExactDiagonalisation(), 16, 0),
    "poles": (PoleExpansion(tolerance=1e-4), PoleExpansion(tolerance=1e-6), 16, 0),
}


def simulation_of(forcefield: ForceField, side: int, temperature: float) -> Simulation:
    """`langevin` on a square lattice in disorder."""
    model = Holstein(Lattice("square", (side, side)), electronic_temperature=temperature)
    state = State.at_rest(np.random.default_rng(0).normal(size=(1, model.lattice.sites, 1)))
    integrator = load_integrator("langevin")(dt=0.05, temperature=Ramp.constant(TEMPERATURE), friction=0.2)
    return Simulation(System(model, forcefield), integrator, state)


def launches(forcefield: ForceField) -> tuple[int, int]:
    """Kernels and array operations of a step on the device."""
    from latticemd.backends.cuda.arrays import traffic

    host = simulation_of(forcefield, 6, 0.5)
    run = Simulation(host.system, host.integrator, host.state.on_device())
    run.integrator.step(run.state, run.system)
    before = dataclasses.replace(traffic)
    run.integrator.step(run.state, run.system)
    return traffic.kernels - before.kernels, traffic.operations - before.operations


def seconds_on_cpu(forcefield: ForceField, side: int) -> float:
    """Time of a step, the least of five: others may use the machine."""
    run, times = simulation_of(forcefield, side, TEMPERATURE), []
    for _ in range(6):
        started = time.perf_counter()
        run.integrator.step(run.state, run.system)
        times.append(time.perf_counter() - started)
    return min(times[1:])  # the first one compiles


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--launch", type=float, default=1e-5, help="seconds of a launch")
    parser.add_argument("--side", type=int, default=64)
    arguments = parser.parse_args()
    if not gpu.simulated():
        sys.exit("launches are counted in the simulator: set NUMBA_ENABLE_CUDASIM=1")
    sys.setswitchinterval(1e-5)
    forcefields.cavity.device.STEPS, forcefields.window.device.WIDEST = 20, 20.0  # tables that these states need
    print(f"a launch takes {1e6 * arguments.launch:.0f} us; one core, one replica")
    columns = f"{'kernels':>8} {'operations':>10} {'launches ms':>12} {'CPU ms':>10} {'of sites':>9} {'break-even':>11}"
    print(f"{'force field':26} {columns}")
    for name, (small, large, own_side, moments) in CASES.items():
        kernels, operations = launches(small)
        kernels += max(0, moments - MOMENTS)
        bound, side = (kernels + operations) * arguments.launch, own_side or arguments.side
        took = seconds_on_cpu(large, side)
        even = f"{bound / took * side**2:11.0f}" if not own_side else f"{'-':>11}"  # these two do not grow with N
        print(
            f"{name:26} {kernels:8} {operations:10} {1e3 * bound:12.2f} {1e3 * took:10.2f} {side**2:9} {even}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
