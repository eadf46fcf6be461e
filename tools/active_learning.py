"""Does a committee pick better states than chance? A quench of the Holstein model at equal numbers of labels.

Usage: python tools/active_learning.py DIRECTORY [--rounds 4] [--seed 0] [--first 30 40 50 60]

The lattice starts disordered and orders within a few steps, so nearly all frames of a run are alike and the few early ones are not.
The first committee knows states of the late stage only, or those at the steps under --first: with some of all stages there is less
to find. Prints error against labels on early and on late states of other trajectories, and leaves active.csv and figures/active.png
in DIRECTORY/learned. A minute on one core; given again, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from latticemd.config import load_training
from latticemd.learning.active import learn_actively
from latticemd.learning.labelling import label, plan_labels
from latticemd.runner import plain_logging
from latticemd.terminal import print_active

EXPLORE = """\
lattice:    {type: square, shape: [8, 8]}
model:      {name: holstein, coupling: 1.5}
initial:    {kind: normal, width: 1.0}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 60, temperature: 0.1, friction: 0.2}
replicas:   2
output:     {every: 1, checkpoint_every: 1000, figures: false}
"""

TRAIN = """\
data:       {train: first.h5, validation: validation.h5, test: {early: early.h5, late: late.h5}}
network:    {name: cnn, channels: 12, blocks: 1}
optimiser:  {learning_rate: 0.01, warmup: 20}
augment:    true
steps:      300
batch:      8
validate_every: 100
ema:        0.98
output:     {directory: learned}
active:     {run: explore.yaml, members: 3, rounds: 4, picks: 6, forcefield: {name: ed}, compare: random}
"""

# Trajectories and steps of each set; none shares a seed with another, or with what the committee explores.
SETS = {
    "validation": ([9101, 9102], [0, 3, 10, 30, 60]),
    "early": ([9201, 9202, 9203], [0, 2, 5, 9]),
    "late": ([9301, 9302, 9303], [30, 45, 60]),
}


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first weights; those of the runs are that times 1000"
    )
    parser.add_argument("--first", type=int, nargs="+", default=[30, 40, 50, 60], help="steps of the first labels")
    demonstrate(parser.parse_args())


def demonstrate(options: argparse.Namespace) -> None:
    """Label and learn in a directory."""
    options.directory.mkdir(parents=True, exist_ok=True)
    os.chdir(options.directory)
    plain_logging()
    seeds = f"seed: {1000 * options.seed}"
    Path("explore.yaml").write_text(EXPLORE.replace("1.0}", f"1.0, {seeds}}}").replace("0.2}", f"0.2, {seeds}}}"))
    Path("train.yaml").write_text(TRAIN)
    for name, (trajectories, steps) in {"first": ([9001], options.first), **SETS}.items():
        if not Path(f"{name}.h5").exists():
            block = f"{{vary: {{seed: {trajectories}}}, at: {steps}, output: {name}.h5}}"
            label(plan_labels(Path("explore.yaml"), ["replicas=1", "forcefield={name: ed}", f"label={block}"]))
    settings = [f"active.rounds={options.rounds}", f"seed={options.seed}"]
    begun = Path("learned/train.yaml").exists()
    print_active(learn_actively(load_training(Path("train.yaml"), settings), resume=begun))


if __name__ == "__main__":
    main()
