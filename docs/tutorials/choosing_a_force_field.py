"""# Choosing a force field

All force fields answer one question, what is the density of the electrons at these positions, by different methods. Some are
exact, some are fast. Which one is right depends on the lattice, on the gap and on what you want to know; so measure it.
"""

from pathlib import Path

import numpy as np

from latticemd import Holstein, Lattice, load_plugin
from latticemd.bench import bench, recommended
from latticemd.config import load_input
from latticemd.forcefield import Electrons

Path("input.yaml").write_text("""
lattice:    {type: square, shape: [16, 16]}
model:      {name: holstein, coupling: 1.5}
initial:    {kind: normal, width: 1.0, seed: 1}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 100, temperature: 0.1}
""")

# `latticemd bench input.yaml` measures time and error of all force fields on the configuration that the input starts from. The same
# from Python, printed by error, leaving out calls of more than three seconds. Times are left out here, since they are those of
# your machine: `row.seconds` has them.

rows = list(bench(load_input(Path("input.yaml")), patience=3.0))
for row in sorted((row for row in rows if row.seconds > 0), key=lambda row: -row.density_error):
    print(f"{row.title:34} error of the density {row.density_error:.0e}")

# For a given error, the fastest one is recommended:

print("the fastest one within 2e-2:", recommended(rows, 2e-2).name)

# ## Local methods are as good as the electrons are short-sighted
#
# `cavity` and `window` look at the surroundings of a site only. How far a disturbance is felt depends on the gap: little in an
# ordered state, much in a metal. The errors of one and the same patch on three states:

lattice = Lattice("square", (20, 20))
noise = np.random.default_rng(0).normal(size=(1, lattice.sites, 1))
model = Holstein(lattice)
states = {"ordered": model.ordered(1.4) + 0.3 * noise, "disordered": noise, "nearly free": 0.1 * noise}


def density(name, x, **settings):
    """Electrons per site (1, N) by a force field."""
    forcefield, out = load_plugin("forcefield", name)(**settings), Electrons.empty(1, model)
    forcefield.prepare(model, 1)
    forcefield.evaluate(model, x, 0, out)
    return out.density.copy()


for title, x in states.items():
    exact = density("ed", x)
    errors = [np.sqrt(((density("cavity", x, radius=radius) - exact) ** 2).mean()) for radius in (1, 2, 3)]
    print(f"{title:12} cavity of radius 1, 2, 3: ", "  ".join(f"{error:.0e}" for error in errors))

# So a quench that begins hot wants a larger patch, or `poles`, in its first steps than later. `auto` measures the error
# on the configuration at hand, again and again, and takes the cheapest that is good enough:
#
#     forcefield: {name: auto, tolerance: 1.0e-3}
#
# See [force fields](../forcefields.md) for error against cost of all of them.
