"""The figure of docs/lattices.md: every built-in lattice with its bonds, unit cell and numbering of sites.

Usage: python tools/lattice_figure.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from latticemd import Lattice
from latticemd.figures.style import BLUE, GREY, LIGHT, ORANGE

FIGURE = Path(__file__).parent.parent / "docs" / "lattices.png"
SHAPES = {
    "chain": (6,),
    "ladder": (6,),
    "square": (4, 4),
    "triangular": (4, 4),
    "honeycomb": (3, 3),
    "kagome": (3, 3),
    "cubic": (2, 2, 2),
}
PLANE = np.array([[1.0, 0.0], [0.0, 1.0]])  # x and y on paper
SPACE = np.array([[1.0, 0.0], [0.45, 0.3], [0.0, 1.0]])


def draw(axis: Any, lattice: Lattice) -> None:
    """Sites with their numbers, coloured by `staggered` where two colours do, bonds, and primitive vectors."""
    paper = SPACE if lattice.dimensions == 3 else PLANE[: lattice.dimensions]
    place = lattice.positions @ paper
    bonds = lattice.bonds()
    axis.plot(*np.stack([place[bonds.i], place[bonds.j]]).transpose(2, 0, 1), color=GREY, lw=1.3, zorder=1)
    sign = lattice.staggered if lattice.bipartite else np.ones(lattice.sites)
    face = np.where(sign > 0, BLUE, ORANGE)
    axis.scatter(*place.T, s=190, c=face, zorder=3, clip_on=False)
    axis.scatter(*np.array([[0.0, 0.0], *lattice.vectors @ paper]).T, s=0)  # room for the arrows
    for number, (x, y) in enumerate(place):
        axis.text(x, y, str(number), color="white", ha="center", va="center", fontsize=8, zorder=4)
    for vector in lattice.vectors @ paper:
        axis.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "->", "lw": 2, "color": "black"}, zorder=2)
    axis.set_title(f"{lattice.type} {' × '.join(map(str, lattice.shape))}", pad=14)
    axis.set_aspect("equal")
    axis.margins(0.08)
    axis.axis("off")


def main() -> int:
    """Draw all lattices on one page."""
    from matplotlib.figure import Figure

    with LIGHT.applied():
        page = Figure(figsize=(13, 6.2), layout="constrained")
        upper, lower = page.subfigures(2, 1, height_ratios=[1, 1])
        places = [*upper.subplots(1, 4).ravel(), *lower.subplots(1, 3, width_ratios=[1.25, 1.3, 0.8]).ravel()]
        for axis, (kind, shape) in zip(places, SHAPES.items(), strict=True):
            draw(axis, Lattice(kind, shape, "open"))
        page.savefig(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE, dpi=130)
    return 0


if __name__ == "__main__":
    sys.exit(main())
