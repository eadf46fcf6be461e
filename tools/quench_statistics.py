"""Does the quench order as published? Wall fraction and order over several seeds, as a table.

Reference (one seed, 30 x 30, overdamped, g = 1.5): wall fraction 0.47 at the start, 0.081 after 50 steps, 0.051 after 200
and 0.038 after 400; local order of the mean-field checkerboard 0.447.

Usage: python tools/quench_statistics.py [--side 30] [--seeds 4] [--steps 50 200 400]      (about a minute per seed)
"""

from __future__ import annotations

import argparse

import numpy as np

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System, observables
from latticemd.backends import kernels_for
from latticemd.integrators import load_integrator
from latticemd.rng import Stream


def main() -> None:
    """Run the seeds one after the other and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200, 400])
    arguments = parser.parse_args()

    model = Holstein(Lattice("square", (arguments.side, arguments.side)))
    moments = [0, *arguments.steps]
    walls, order = np.zeros((2, arguments.seeds, len(moments)))
    for seed in range(arguments.seeds):
        x = np.empty((1, model.lattice.sites, 1))
        kernels_for(x).normals(seed, int(Stream.INITIAL_POSITIONS), 0, 0, 0, x)
        integrator_class = load_integrator("overdamped")
        integrator = integrator_class(dt=0.1, temperature=Ramp.constant(0.1), friction=0.2, seed=seed)
        simulation = Simulation(System(model, ExactDiagonalisation()), integrator, State.at_rest(x))
        for k, step in enumerate(moments):
            simulation.run(steps=step)
            field = simulation.frame().order_field
            walls[seed, k] = observables.wall_fraction(field, model.lattice.bonds())[0]
            order[seed, k] = observables.local_amplitude(field)[0]
        print(f"seed {seed}: walls {np.round(walls[seed], 3)}, local order {np.round(order[seed], 3)}", flush=True)

    print(f"\n{arguments.side} x {arguments.side}, {arguments.seeds} seeds: mean and standard deviation over seeds\n")
    print("| step | wall fraction | local order |\n|---|---|---|")
    for k, step in enumerate(moments):
        cells = [f"{values[:, k].mean():.3f} +- {values[:, k].std(ddof=1):.3f}" for values in (walls, order)]
        print(f"| {step} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
