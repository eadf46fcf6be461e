"""# Many ranks

One input, one rank or many: `mpirun -n 4 latticemd run quench.yaml`. Ranks share replicas and cells, and what a run leaves is the
same to the byte, so that a run may continue on another number of ranks than it began with. [Many ranks](../mpi.md) has the whole
story.
"""

import os
import subprocess
import sys
from pathlib import Path

from latticemd.output.trajectory import read_trajectory

Path("quench.yaml").write_text("""
lattice:    {type: square, shape: [32, 40]}
model:      {name: holstein, coupling: 1.5}
forcefield: {name: cavity, radius: 1}
initial:    {kind: normal, width: 1.0, seed: 1}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 20, temperature: 0.1, friction: 0.2}
output:     {every: 5, checkpoint_every: 10, figures: false}
""")

# A local force field lets ranks share the cells of one lattice: each has a block of it, and fetches positions from around it
# before every force. `ed` and `poles` need all sites; with them ranks share replicas.
#
# On a cluster, `srun` or `mpirun` are those of the machine. Here, ranks are more than there are cores, which MPI has to be told:

mpirun = ["mpirun", "--oversubscribe", "-n"]
allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
environment = os.environ | allowed | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def latticemd(ranks: int, *arguments: str) -> None:
    """Run a command of latticemd on so many ranks."""
    command = [*mpirun, str(ranks), sys.executable, "-m", "latticemd.cli", *arguments]
    subprocess.run(command, check=True, env=environment, capture_output=True)


latticemd(1, "run", "quench.yaml", "--output", "runs/one")
latticemd(3, "run", "quench.yaml", "--output", "runs/three")

# Half a run on two ranks, and the rest of it on four:

latticemd(2, "run", "quench.yaml", "--output", "runs/moved", "--set", "dynamics.steps=10")
latticemd(4, "run", "quench.yaml", "--output", "runs/moved", "--resume")

frames = {}
for name in ("one", "three", "moved"):
    with read_trajectory(Path(f"runs/{name}/trajectory.h5")) as trajectory:
        frames[name] = trajectory.value("particles/lattice/displacement")[:].tobytes()
print("one rank, three ranks: equal bytes", frames["one"] == frames["three"])
print("two ranks, then four:  equal bytes", frames["one"] == frames["moved"])

# `latticemd info --plan quench.yaml --ranks 512` says beforehand what a larger run would take.
