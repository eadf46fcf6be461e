"""Which command makes which picture of the documentation, and the command run.

Usage: python tools/pictures.py --list
       python tools/pictures.py PICTURE ...      (docs/PICTURE is made anew; minutes each, see the commands)
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
WIDEST = 2000  # pixels
LARGE = "latticemd run inputs/holstein_large.yaml --overwrite -o runs/large_{0} --set initial.seed={0} --set dynamics.seed={0}"


@dataclass(frozen=True)
class Picture:
    """Commands, run in the root of the repository, and the file they leave, where that is not the picture itself."""

    commands: tuple[str, ...]
    left: str = ""


ANALYSIS = Picture(("python tools/analysis_figures.py",))
PICTURES = {
    "active_learning.png": Picture(
        ("python tools/active_learning.py runs/active",), "runs/active/learned/figures/active.png"
    ),
    **{
        f"analysis_{name}.png": ANALYSIS
        for name in ("comparison", "dynamics", "growth", "scaling", "spectra", "states")
    },
    "forcefields.png": Picture(("python tools/bench/comparison.py --figure docs/forcefields.png",)),
    "forcefields_large.png": Picture(
        ("python tools/bench/comparison.py --side 192 --figure docs/forcefields_large.png",)
    ),
    "integrator_orders.png": Picture(("python tools/integrator_orders.py --figure docs/integrator_orders.png",)),
    "lattices.png": Picture(("python tools/lattice_figure.py",)),
    "networks_demo.png": Picture(
        (
            "latticemd label inputs/training/demo_label.yaml --overwrite --set 'label.vary={seed: [101]}' "
            "--set label.output=data/demo_held.h5",
            "python tools/reproduce/networks.py data/demo_held.h5 --against cavity,window,poles --figure docs/networks_demo.png "
            "--network forcefields/networks/trained/holstein_demo.safetensors "
            "--network forcefields/networks/trained/holstein_demo_conservative.safetensors",
        )
    ),
    "networks_hubbard.png": Picture(
        (
            "latticemd label inputs/training/hubbard_label.yaml --overwrite --set 'label.vary={seed: [101]}' "
            "--set label.output=data/held.h5",
            "python tools/reproduce/networks.py data/held.h5 --against mean_field --figure docs/networks_hubbard.png "
            "--network forcefields/networks/trained/hubbard_holstein_demo.safetensors",
        )
    ),
    "networks_hubbard_domains.png": Picture(
        ("latticemd run inputs/hubbard_large.yaml --overwrite --output runs/hubbard_large",),
        "runs/hubbard_large/figures/summary.png",
    ),
    "networks_scaling.png": Picture(
        (LARGE.format(1), LARGE.format(2), "latticemd analyze runs/large_1 runs/large_2 -o runs/large"),
        "runs/large/figures/scaling.png",
    ),
    "report_dark.png": Picture(("python tools/report_figure.py",)),
    "reproduce_coarsening.png": Picture(
        ("python tools/reproduce/coarsening.py --figure docs/reproduce_coarsening.png",)
    ),
    "reproduce_parity.png": Picture(("python tools/reproduce/force_parity.py",)),
    "summary.png": Picture(
        ("latticemd run inputs/holstein_quench.yaml --overwrite --output runs/holstein_quench",),
        "runs/holstein_quench/figures/summary.png",
    ),
    "tutorials/first_quench.png": Picture(("python tools/tutorials.py first_quench",)),
}


def main() -> None:
    """List pictures, or make them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", nargs="*", metavar="PICTURE")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    unknown = set(arguments.pictures) - PICTURES.keys()
    if unknown:
        parser.error(f"unknown pictures {', '.join(sorted(unknown))}; --list shows all")
    for name in PICTURES if arguments.list else arguments.pictures:
        if arguments.list:
            print(f"{name}: {'; '.join(PICTURES[name].commands)}")
        else:
            make(name, PICTURES[name])


def make(name: str, picture: Picture) -> None:
    """Run the commands with this Python and put what they leave into docs/."""
    for command in picture.commands:
        program, *words = shlex.split(command)
        module = ["-m", "latticemd.cli"] if program == "latticemd" else []
        subprocess.run([sys.executable, *module, *words], cwd=ROOT, check=True)
    if picture.left:
        made = Image.open(ROOT / picture.left).convert("RGB")
        made.thumbnail((WIDEST, WIDEST))
        made.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3).save(ROOT / "docs" / name, optimize=True)


if __name__ == "__main__":
    main()
