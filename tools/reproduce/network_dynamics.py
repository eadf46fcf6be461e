"""Does a network give the same physics as exact forces? Quenches with equal starts and noise, compared seed by seed.

Runs the input with `poles` and with the network for every seed, then `latticemd analyze --paired`: order, walls, structure
factor and lengths, their differences in units of the seed-to-seed error. Runs that are there already are not made again.

Usage: OMP_NUM_THREADS=1 python tools/reproduce/network_dynamics.py [--network holstein_demo] [--side 48] [--seeds 6] [--output DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from latticemd.analysis.runner import analyze
from latticemd.config import load_input
from latticemd.runner import run
from latticemd.terminal import print_analysis

INPUT = Path(__file__).parents[2] / "inputs" / "holstein_enn.yaml"


def main() -> None:
    """Run, analyse, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="holstein_demo")
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("runs/network_dynamics"))
    arguments = parser.parse_args()
    forcefields = {"poles": "{name: poles}", "enn": f"{{name: enn, model: {arguments.network}}}"}
    directories = []
    for name, forcefield in forcefields.items():
        for seed in range(1, arguments.seeds + 1):
            directory = arguments.output / f"{name}_{seed}"
            directories.append(directory)
            if (directory / "summary.json").exists():
                continue
            settings = [
                f"forcefield={forcefield}",
                f"lattice.shape=[{arguments.side}, {arguments.side}]",
                f"initial.seed={seed}",
                f"dynamics.seed={seed}",
                f"output.directory={directory}",
                "output.every=20",
                "output.figures=false",
            ]
            run(load_input(INPUT, settings), overwrite=directory.exists())
    analysis, paths = analyze(directories, arguments.output / "analysis", by="forcefield.name", paired=True, start=2.0)
    print_analysis(analysis)
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
