"""# First quench

A lattice of Holstein phonons at high temperature is cooled at once, far below the temperature where charges order. Where they
order into even or odd sites is decided locally, so that domains form; then walls shorten and domains grow. This script
makes such a run and asks how fast.
"""

from pathlib import Path

from latticemd.analysis.growth import growth_exponent
from latticemd.analysis.runner import analyze
from latticemd.config import load_input
from latticemd.figures.reading import read_run
from latticemd.report import write_report
from latticemd.runner import run

# An input is a text. This one takes patches of radius 2 around each site for the electrons, which is fast; how accurate it is
# on such states is measured in [choosing a force field](choosing_a_force_field.py).

Path("quench.yaml").write_text("""
lattice:    {type: square, shape: [96, 96]}
model:      {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 2}
initial:    {kind: normal, width: 1.0, seed: 1}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 400, temperature: 0.1, seed: 1}
output:     {every: 5}
""")

# On the command line this would be `latticemd run quench.yaml`. From Python, `load_input` takes the same `--set` changes as text:

summary = run(load_input(Path("quench.yaml"), ["output.directory=runs/quench"]))
print(f"after {summary['steps']} steps {summary['wall_fraction']:.1%} of all neighbours belong to different domains")

# The directory now holds the trajectory, a checkpoint, a summary and figures. `runs/quench/figures/summary.png`:
#
# ```{image} first_quench.png
# :alt: order field at six times, energy, wall fraction and structure factor of the quench
# ```
#
# Numbers are read from the trajectory. Here, how the share of cut bonds falls:

time, walls = read_run(Path("runs/quench")).series["wall_fraction"]
for t in (1.0, 4.0, 10.0, 40.0):
    print(f"t = {t:4.1f}: wall fraction {walls[abs(time - t).argmin(), 0]:.3f}")

# Three definitions of the domain size L, see [analysis](../analysis.md), and the exponent of L ~ t^n in the last decade. One run
# has no error: several seeds together do, and `latticemd analyze runs/*` gives it.

analysis, _ = analyze([Path("runs/quench")])
(group,) = analysis.groups
for name, length in group.lengths.items():
    law = growth_exponent(length.time, length.values, start=4.0)
    print(f"L by {name:6}: {length.values[-1].mean():5.1f} at the end, exponent {law.exponent:.2f}")

# All of it as one file to be shown to others, with a slider for the time (`latticemd report runs/quench`):

page = write_report([Path("runs/quench")])
print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
