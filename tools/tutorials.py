"""Runs the scripts of docs/tutorials and keeps what they print, and their pictures, for the pages made of them.

Usage: python tools/tutorials.py [NAME ...]      (about two minutes of one core)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PAGES = Path(__file__).parent.parent / "docs" / "tutorials"
PICTURES = {"first_quench": "runs/quench/figures/summary.png"}
WIDEST = 1400  # pixels


def main() -> None:
    """Run the named scripts, or all of them, each in a directory of its own."""
    known = sorted(path.stem for path in PAGES.glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    for name in parser.parse_args().names or known:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(PAGES / f"{name}.py")]
            done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
            (PAGES / f"{name}.txt").write_text(done.stdout)
            if name in PICTURES:
                picture = Image.open(Path(folder, PICTURES[name])).convert("RGB")
                picture.thumbnail((WIDEST, WIDEST))
                picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3).save(PAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
