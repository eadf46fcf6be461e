"""Which order in dt each integrator has, measured: a table, and the figure of docs/theory.md.

Two errors that vanish with dt:

- of the conserved energy, for motion with momenta: root mean square over two units of time on a 6 x 6 Holstein lattice with
  exact forces, the bath off for splitting words and on for the deterministic Nose-Hoover chain;
- of the stationary <x^2>, for overdamped motion: independent sites in the well x^2/2 + x^4/4 at kT = gamma = 1, against
  quadrature, with the statistical error.

Usage: python tools/integrator_orders.py [--figure FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from forcefields.ed import ExactDiagonalisation
from latticemd import Capabilities, Electrons, Holstein, Lattice, Model, Simulation, State, System, load_integrator

WORDS = ("verlet", "langevin", "ABOBA", "BRB", "nose_hoover", "OBA")
STEPS = (0.04, 0.02, 0.01)
OVERDAMPED = {"overdamped": (0.1, 0.05, 0.025), "overdamped_lm": (0.2, 0.1)}


class NoElectrons:
    """A force field without electrons."""

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Exact and free."""
        return Capabilities(True, True, True, True, 0, 0)

    def prepare(self, model: Model, replicas: int) -> None:
        """Nothing to allocate."""

    def evaluate(self, model: Model, x: Any, step: int, out: Electrons) -> None:
        """Zero."""
        out.force[...], out.energy[...], out.density[...] = 0.0, 0.0, 0.5

    def close(self) -> None:
        """Nothing to release."""


class Hardening(Holstein):
    """Springs that harden: V = x^2/2 + x^4/4 on every site."""

    def total_force(self, x: Any, electronic: Any, out: Any) -> None:
        """-x - x^3."""
        super().total_force(x, electronic, out)
        out -= x * x * x


def energy_error(integrator: str, dt: float) -> tuple[float, float]:
    """Root mean square error of the conserved energy [energy], and 0 for its statistical error."""
    model = Holstein(Lattice("square", (6, 6)), electronic_temperature=0.5)
    random = np.random.default_rng(1)
    made = load_integrator(integrator)(dt=dt, temperature=0.5)
    if integrator != "nose_hoover":
        made = made.isolated(dt)
    run = Simulation(System(model, ExactDiagonalisation()), made, State.at_rest(random.normal(size=(1, 36, 1))))
    run.state.p[...] = random.normal(size=(1, 36, 1))
    start, errors = run.frame().conserved_energy[0], []
    for n in range(1, 26):
        run.run(steps=round(0.08 * n / dt))
        errors.append(run.frame().conserved_energy[0] - start)
    return float(np.sqrt(np.mean(np.square(errors)))), 0.0


def stationary_error(integrator: str, dt: float) -> tuple[float, float]:
    """Error of <x^2> [length^2] and its statistical error, from 64 replicas of 2500 sites over 1000 units of time."""
    grid = np.linspace(-8, 8, 20_001)
    weight = np.exp(-(grid**2 / 2 + grid**4 / 4))
    exact = (grid**2 * weight).sum() / weight.sum()
    model = Hardening(Lattice("square", (50, 50)), coupling=0.0, intersite=0.0)
    made = load_integrator(integrator)(dt=dt, temperature=1.0, friction=1.0, seed=3)
    run = Simulation(System(model, NoElectrons(), 64), made, State.at_rest(np.zeros((64, 2500, 1))))
    run.run(steps=round(10 / dt))
    squares = []
    for n in range(1, 2001):
        run.run(steps=round((10 + 0.5 * n) / dt))
        squares.append((run.state.x**2).mean(axis=(1, 2)))
    averages = np.mean(squares, axis=0)
    return float(abs(averages.mean() - exact)), float(averages.std(ddof=1) / 8.0)


def draw(path: str, curves: dict[str, tuple[tuple[float, ...], list[tuple[float, float]]]]) -> None:
    """Both kinds of error against dt, with lines of slope 1 and 2."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for name, (steps, errors) in curves.items():
        axis = axes[int(name in OVERDAMPED)]
        axis.errorbar(steps, [e for e, _ in errors], [s for _, s in errors], marker="o", capsize=3, label=name)
    for axis, label in zip(
        axes, ("error of the conserved energy", "error of stationary $\\langle x^2\\rangle$"), strict=True
    ):
        low, high = axis.get_xlim()
        dt = np.array([low, high]) if low > 0 else np.array([high / 5, high])
        top = axis.get_ylim()[1]
        for order, style in ((1, ":"), (2, "--")):
            axis.plot(dt, 0.5 * top * (dt / dt[1]) ** order, style, color="0.6", label=f"slope {order}", zorder=0)
        axis.set(xscale="log", yscale="log", xlabel="dt [time]", ylabel=label)
        axis.set_xticks(ticks := STEPS if axis is axes[0] else (0.025, 0.05, 0.1, 0.2), [f"{dt:g}" for dt in ticks])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8, loc="center left" if axis is axes[0] else "lower right")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--figure", help="file to draw to")
    arguments = parser.parse_args()
    curves: dict[str, tuple[tuple[float, ...], list[tuple[float, float]]]] = {}
    print(f"{'integrator':20} {'error at dt, each half the one before':44} order")
    cases: list[tuple[str, tuple[float, ...], Callable[[str, float], tuple[float, float]]]] = [
        *((name, STEPS, energy_error) for name in WORDS),
        *((name, steps, stationary_error) for name, steps in OVERDAMPED.items()),
    ]
    for name, steps, error_of in cases:
        errors = [error_of(name, dt) for dt in steps]
        curves[name] = steps, errors
        slope = np.log2(errors[-2][0] / errors[-1][0])
        numbers = "  ".join(f"{e:.2e}" + (f"({s:.0e})" if s else "") for e, s in errors)
        print(f"{name:20} {numbers:44} {slope:.2f}", flush=True)
    if arguments.figure:
        draw(arguments.figure, curves)


if __name__ == "__main__":
    main()
