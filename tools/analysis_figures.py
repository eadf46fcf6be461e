"""The figures and tables of docs/analysis.md: a quench by two force fields over four seeds, and the waves of an ordered lattice.

Usage: python tools/analysis_figures.py [--keep DIR]      (about three minutes of one core)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from latticemd.analysis.runner import analyze
from latticemd.config import load_input
from latticemd.runner import run
from latticemd.terminal import print_analysis

ROOT = Path(__file__).parent.parent
SEEDS = range(1, 5)
QUENCH = ("lattice.shape=[64, 64]", "dynamics.steps=400", "output.every=10", "output.figures=false")
WAVES = (
    "lattice.shape=[32, 32]",
    "forcefield={name: cavity, radius: 2}",
    "initial={kind: checkerboard, amplitude: 2.4, width: 0.1, seed: 1}",
    "dynamics.temperature=0.05",
    "dynamics.friction=0.02",
    "dynamics.steps=4000",
    "output.figures=false",
)
SHOWN = {
    "compared": ("growth.png", "comparison.png"),
    "quench": ("scaling.png", "states.png", "spectra.png"),
    "waves": ("dynamics.png",),
}


def main() -> None:
    """Run what is missing, analyze it, print the tables and put the figures into docs/."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, help="directory of the runs, which are not run again where they are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.keep or Path(temporary)
        quenches = {radius: [quench(place, radius, seed) for seed in SEEDS] for radius in (2, 1)}
        waves = finished(place / "waves", "holstein_langevin.yaml", *WAVES)
        for directories, name, options in (
            ([*quenches[2], *quenches[1]], "compared", {"paired": True}),
            (quenches[2], "quench", {"spectra": True}),
            ([waves], "waves", {"dynamics": True, "start": 60.0}),
        ):
            analysis, _ = analyze(directories, place / name, **options)
            print_analysis(analysis)
            for figure in SHOWN[name]:
                shrink(place / name / "figures" / figure, ROOT / "docs" / f"analysis_{figure}")


def quench(place: Path, radius: int, seed: int) -> Path:
    """A quench with patches of a radius, from one of the starts."""
    own = (f"forcefield={{name: cavity, radius: {radius}}}", f"initial.seed={seed}", f"dynamics.seed={seed}")
    return finished(place / f"radius{radius}_seed{seed}", "holstein_quench.yaml", *QUENCH, *own)


def finished(directory: Path, input_file: str, *settings: str) -> Path:
    """The directory of a run, which is run unless it is there already."""
    if not (directory / "summary.json").is_file():
        run(load_input(ROOT / "inputs" / input_file, [*settings, f"output.directory={directory}"]), overwrite=True)
    return directory


def shrink(figure: Path, target: Path) -> None:
    """Few colours suffice for curves, and make the files of the documentation small."""
    Image.open(figure).convert("RGB").quantize(96).save(target, optimize=True)


if __name__ == "__main__":
    main()
