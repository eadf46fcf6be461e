"""Coarsening: how charge-density-wave domains grow after a quench, with the exponent of L ~ t^n and its error over seeds.

The recommended quench (g = 1.5, kT = 0.1, overdamped) with `cavity` patches of radius 2, or with --published the underdamped
motion of arXiv:2603.02039 (g = 3.5, 200 x 200 sites, 25 000 steps). Runs that are there already are not made again.

Usage: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tools/reproduce/coarsening.py [--side 128] [--seeds 4] [--published]
           [--output runs/coarsening] [--figure FILE]
           (about two minutes of one core; --published takes 9 minutes for each seed with --side 124, and grows with the sites)
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from latticemd.analysis.runner import analyze
from latticemd.config import load_input
from latticemd.runner import run
from latticemd.terminal import print_analysis

ROOT = Path(__file__).parents[2]
QUENCH = ("dynamics.steps=400", "output.every=10")
PUBLISHED = ("dynamics.steps=25000", "output.every=250", "output.checkpoint_every=2500")


def main() -> None:
    """Run what is missing, analyze all seeds together, print the exponents and keep the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/coarsening"))
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    name = "published" if arguments.published else "quench"
    side = arguments.side or (200 if arguments.published else 128)
    directories = [
        finished(arguments.output / f"{name}_{side}_{seed}", name, side, seed) for seed in range(1, arguments.seeds + 1)
    ]
    analysis, paths = analyze(directories, arguments.output / f"{name}_{side}")
    print_analysis(analysis)
    (growth,) = (path for path in paths if path.name == "growth.png")
    if arguments.figure:
        Image.open(growth).convert("RGB").quantize(128).save(arguments.figure, optimize=True)


def finished(directory: Path, name: str, side: int, seed: int) -> Path:
    """The directory of a run, which is run unless it is there already."""
    if not (directory / "summary.json").is_file():
        settings = (
            *(PUBLISHED if name == "published" else QUENCH),
            "forcefield={name: cavity, radius: 2}",
            f"lattice.shape=[{side}, {side}]",
            f"initial.seed={seed}",
            f"dynamics.seed={seed}",
            f"output.directory={directory}",
            "output.figures=false",
        )
        run(load_input(ROOT / "inputs" / f"holstein_{name}.yaml", settings), overwrite=directory.exists())
    return directory


if __name__ == "__main__":
    main()
