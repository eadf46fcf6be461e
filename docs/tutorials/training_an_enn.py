"""# Training an equivariant network

A network that learns forces from exact data is worth its training where no cheap exact method exists. This script shows the way
on a small case: exact labels, a network that keeps every symmetry of the lattice by construction, an honest test, and a run.
It needs `pip install 'latticemd[ml]'`.
"""

from pathlib import Path

from latticemd.config import load_input, load_training
from latticemd.learning.labelling import label, plan_labels
from latticemd.learning.report import evaluate
from latticemd.learning.runner import train
from latticemd.runner import run

# ## Labels
#
# Eight quenches on small lattices; of each, states of all stages. Test data have other seeds and another size: a network that
# has only learnt its lattice by heart would be found out.

Path("label.yaml").write_text("""
lattice:    {type: square, shape: [12, 12]}
model:      {name: holstein, coupling: 1.5, electronic_temperature: 0.1}
forcefield: {name: poles}
initial:    {kind: normal, width: 1.0}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 40, temperature: 0.1}
label:
  vary:     {seed: [1, 2, 3, 4, 5, 6, 7, 8]}
  at:       [0, 2, 5, 10, 20, 40]
  output:   train.h5
""")
label(plan_labels(Path("label.yaml")))
label(plan_labels(Path("label.yaml"), ["lattice.shape=[16, 16]", "label.vary={seed: [9]}", "label.output=test.h5"]))

# ## Training
#
# The network corrects a `cavity` patch of radius 1, and its features are those of the patch: what is known is not learnt.

Path("train.yaml").write_text("""
data:      {train: train.h5, validation: {fraction: 0.25}, test: {larger: test.h5}}
network:   {name: enn, features: cavity, base: cavity, base_radius: 1, scalars: 0, regular: 2, directed: 0, blocks: 1}
optimiser: {learning_rate: 0.004, warmup: 20, clip: 1.0}
steps:     250
validate_every: 50
batch:     4
seed:      1
output:    {directory: network}
""")
summary = train(load_training(Path("train.yaml")))
print(f"{summary['parameters']} parameters, relative error on other seeds and a larger lattice: "
      f"{summary['errors']['larger']['relative']:.3f}")  # fmt: skip

# The same on the command line: `latticemd label label.yaml`, `latticemd train train.yaml`.
#
# ## An honest test
#
# Is it symmetric? Is it a gradient? And what do methods without any parameter reach on the same states?

report = evaluate(Path("network/model.safetensors"), [Path("test.h5")], against=["cavity"])
print(f"largest symmetry error {report.invariants.symmetry['float64']:.0e}")
print(f"antisymmetric share of the Jacobian {report.invariants.antisymmetric:.2f}: 0 for a gradient")
for way in report.contestants:
    if not way.note:
        print(f"{way.title:30} relative error {way.relative:.4f}")

# For electrons without interaction larger patches are more accurate than a network trained for seconds, and the table says
# so. [Networks](../networks.md) has cases where it is the other way round.
#
# ## A run
#
# A trained network is a force field like any other, on any number of cells:

settings = ["lattice.shape=[48, 48]", "forcefield={name: enn, model: network/model.safetensors}", "dynamics.steps=50"]
result = run(load_input(Path("label.yaml"), [*settings, "output={directory: runs/network, figures: false}"]))
print(f"48 x 48 sites, {result['steps']} steps: wall fraction {result['wall_fraction']:.3f}")
