"""# Restart and verify

Two promises that are easily made: a run that was interrupted goes on as if nothing had happened, and the physics of your own input
is right. Both can be checked, and here they are.
"""

from pathlib import Path

from latticemd.config import load_input
from latticemd.output.trajectory import read_trajectory
from latticemd.report import write_report
from latticemd.runner import run
from latticemd.verify import verify, write_checks

Path("langevin.yaml").write_text("""
lattice:    {type: square, shape: [8, 8]}
model:      {name: holstein, coupling: 1.5, mass: 1.0}
forcefield: {name: ed}
initial:    {kind: normal, width: 1.0, seed: 1}
dynamics:   {integrator: langevin, dt: 0.1, steps: 200, temperature: 0.1, friction: 0.5, seed: 2}
output:     {every: 10, checkpoint_every: 50, figures: false}
""")

# ## A run that is stopped
#
# SIGTERM, Ctrl-C and `--walltime` end a run after the step under way with a checkpoint and exit code 75; a kill leaves the last
# checkpoint. `--resume` continues. So does a larger number of steps, which serves here to stop at a step of our choice:

straight = run(load_input(Path("langevin.yaml"), ["output.directory=runs/straight"]))

for stop in (37, 110, 200):
    settings = ["output.directory=runs/halting", f"dynamics.steps={stop}"]
    halting = run(load_input(Path("langevin.yaml"), settings), resume=stop > 37)
    print(f"at step {halting['steps']}: digest {halting['digest'][:16]}")

# Not nearly the same run: the same run. The digest hashes all that later steps depend on, and every frame has the same bytes.

frames = []
for name in ("straight", "halting"):
    with read_trajectory(Path(f"runs/{name}/trajectory.h5")) as trajectory:
        frames.append(trajectory.value("particles/lattice/displacement")[:])
print("without a stop:", straight["digest"][:16])
print(f"{len(frames[0])} frames, equal bytes: {frames[0].tobytes() == frames[1].tobytes()}")

# ## Is the physics right?
#
# `latticemd verify langevin.yaml` checks what this very input relies on, in some 240 force evaluations: is the force the derivative
# of the free energy, does it follow every symmetry, does the energy error fall as dt^2, does motion reverse, ...

checks = list(verify(load_input(Path("langevin.yaml"))))
for check in checks:
    number = "" if check.value is None else f"{check.value:.0e} (limit {check.limit:g})"
    print(f"{check.verdict:5} {check.name:40} {number}".rstrip())

# Stored beside a run (`latticemd verify INPUT --output RUN/verify.json`), the table becomes a part of its report:

write_checks(Path("runs/straight/verify.json"), checks)
print(write_report([Path("runs/straight")]))
