"""# On a GPU

`latticemd run quench.yaml --backend cuda` runs an input on an NVIDIA GPU, where a whole step stays. Without one, the kernels run
in numba's simulator, far slower than on any processor, but the same: enough to try them on a few sites. [GPUs](../gpu.md) has the
rest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from latticemd.output.trajectory import read_trajectory

Path("quench.yaml").write_text("""
lattice:    {type: square, shape: [8, 8]}
model:      {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 1, poles: 4}
initial:    {kind: normal, width: 1.0, seed: 1}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 2, temperature: 0.1, friction: 0.2}
output:     {every: 2, checkpoint_every: 2, figures: false}
""")

# The variable has to be there before numba is imported, so each run is a process of its own. Leave it out where there is a GPU.

runs = {"cpu": {}, "cuda": {"NUMBA_ENABLE_CUDASIM": "1"}}
for backend, variables in runs.items():
    command = [
        sys.executable,
        "-m",
        "latticemd.cli",
        "run",
        "quench.yaml",
        "--backend",
        backend,
        "--output",
        f"runs/{backend}",
    ]
    subprocess.run(command, check=True, env=os.environ | variables, capture_output=True)
    summary = json.loads(Path(f"runs/{backend}/summary.json").read_text())
    print(f"backend {backend}, on {summary['device']}, precision {summary['precision']}")

# Noise comes from the same counters on both, so that it is one trajectory; numbers differ by rounding, as GPUs contract a product
# and a sum to one operation.

positions = []
for backend in runs:
    with read_trajectory(Path(f"runs/{backend}/trajectory.h5")) as trajectory:
        positions.append(trajectory.value("particles/lattice/displacement")[-1])
print("same positions to rounding:", bool(np.abs(positions[0] - positions[1]).max() < 1e-12))
