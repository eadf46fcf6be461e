"""Is energy conserved as well as the error of the force allows? Isolated motion with every force field, from one state.

Random positions are quenched for 300 overdamped steps, which at g = 1.5 leaves domains of charge order with walls between
them and at g = 0.5 a metal, and get velocities at kT = 0.1. From there each force field moves them by velocity Verlet. The
energy is that of `poles`, whatever moves them: kinetic, elastic, and the exact free energy of the electrons. Its change is
the work of the errors,

    dE/dt = sum_i dF_i v_i,     |E(T) - E(0)| about sqrt(N) eps v sqrt(2 T / Omega)     if the dF_i are independent

with eps the rms error of the force along the way, v = sqrt(kT/m), and 1/Omega = sqrt(m/k) the time after which a product dF_i v_i
has forgotten itself: a random walk. Errors that are gradients do better, as they only shift the energy to and fro; what
Verlet does by itself is seen with `ed`.

Usage: python tools/nve_drift.py [--side 24] [--coupling 1.5] [--steps 10000] [--names ed poles cavity window kpm]
           [--network FILE ...]
(some ten minutes on one core, six of them for ed; `--network` adds rows for trained networks)
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from latticemd import Holstein, Lattice, Ramp, Simulation, State, System, load_plugin
from latticemd.forcefield import Electrons
from latticemd.integrators import load_integrator

TEMPERATURE, QUENCH, FRAMES = 0.1, 300, 200
SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ed", {}),
    ("poles", {}),
    ("poles", {"tolerance": 1e-4}),
    ("cavity", {"radius": 1}),
    ("cavity", {"radius": 2}),
    ("cavity", {"radius": 3}),
    ("window", {"width": 5}),
    ("window", {"width": 9}),
    ("window", {"width": 13}),
    ("kpm", {"colours": 4}),
    ("kpm", {"colours": 8}),
)


def start(model: Holstein) -> tuple[np.ndarray, np.ndarray]:
    """Positions after the quench, and thermal momenta."""
    random = np.random.default_rng(0)
    quench = load_integrator("overdamped")(dt=0.1, temperature=Ramp.constant(TEMPERATURE), friction=0.2, seed=1)
    x = random.normal(size=(1, model.lattice.sites, 1))
    simulation = Simulation(System(model, load_plugin("forcefield", "poles")()), quench, State.at_rest(x))
    simulation.run(QUENCH)
    return simulation.state.x.copy(), np.sqrt(TEMPERATURE * model.inertia()) * random.normal(size=x.shape)


def exact_electrons(model: Holstein) -> Callable[[np.ndarray], Electrons]:
    """What `poles` says at x, energies to rounding."""
    poles, out = load_plugin("forcefield", "poles")(tolerance=1e-11), Electrons.empty(1, model)
    poles.prepare(model, 1)

    def answer(x: np.ndarray) -> Electrons:
        poles.evaluate(model, x, 0, out)
        return out

    return answer


def measure(
    simulation: Simulation, model: Holstein, exact: Callable[[np.ndarray], Electrons], dt: float, steps: int
) -> None:
    """Run and print the numbers of one row."""
    energies, errors, seconds = [], [], 0.0
    total = np.empty_like(simulation.state.x)
    for frame in range(FRAMES + 1):
        began = time.perf_counter()
        simulation.run(frame * steps // FRAMES)
        seconds += time.perf_counter() - began
        state, electrons = simulation.state, exact(simulation.state.x)
        kinetic = 0.5 * float((state.p**2).sum()) / model.inertia()
        energies.append(kinetic + float(electrons.energy[0] + model.classical_energy(state.x)[0]))
        if frame:
            model.total_force(state.x, electrons.force, total)
            errors.append(state.f - total)
    energy, sites = np.array(energies), model.lattice.sites
    eps, duration = float(np.sqrt(np.mean(np.square(errors)))), dt * steps
    speed, memory = np.sqrt(TEMPERATURE / model.inertia()), np.sqrt(model.inertia() / model.harmonic_stiffness())
    predicted = np.sqrt(2.0 * duration * memory / sites) * eps * speed
    change = energy - energy[0]
    slope = np.polyfit(np.linspace(0.0, duration, FRAMES + 1), energy, 1)[0]
    print(f" {eps:.1e} | {predicted:.1e} | {abs(change[-1]) / sites:.1e} | {np.sqrt(np.mean(change**2)) / sites:.1e} | "
          f"{slope / sites:+.1e} | {1e3 * seconds / steps:.2f} |", flush=True)  # fmt: skip


def main() -> None:
    """Print a Markdown table; energies per site in units of t."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--coupling", type=float, default=1.5)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--dt", type=float, default=0.05)
    parser.add_argument("--network", nargs="+", default=[], help="files or names of trained networks enn")
    parser.add_argument("--names", nargs="*", default=["ed", "poles", "cavity", "window", "kpm"])
    arguments = parser.parse_args()
    model = Holstein(Lattice("square", (arguments.side, arguments.side)), coupling=arguments.coupling)
    (x, p), exact = start(model), exact_electrons(model)
    print(
        "| force field | rms error of the force | predicted change | change at the end | rms change | slope | ms/step |"
    )
    print("|---|---|---|---|---|---|---|")
    rows = [(name, settings) for name, settings in SETTINGS if name in arguments.names]
    for name, settings in [*rows, *(("enn", {"model": file}) for file in arguments.network)]:
        verlet = load_integrator("verlet")(dt=arguments.dt, temperature=Ramp.constant(0.0))
        state = State.at_rest(x)
        state.p[:] = p
        system = System(model, load_plugin("forcefield", name)(**settings))
        title = " ".join([f"`{name}`", *(f"{key} {value}" for key, value in settings.items())])
        print(f"| {title} |", end="", flush=True)
        measure(Simulation(system, verlet, state), model, exact, arguments.dt, arguments.steps)


if __name__ == "__main__":
    main()
