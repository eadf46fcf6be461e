"""Particles as a viewer sees them along the direction in which they spread least: charges in colour, paths behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.figures.style import GREY, diverging

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latticemd.models.particles import Particles

Array = NDArray[Any]

SIZE = 90.0  # of a particle in the middle, points^2; nearer ones are drawn larger
SOFTER = 1.3  # end of the colours in largest charges: the ends themselves are darker than particles need
INSIDE = (
    0.99  # share of the positions that the picture encloses: a particle that has flown off should not shrink the others
)


@dataclass(frozen=True)
class Cloud:
    """K configurations of N particles in the axes of the picture.

    ========  ==========  ===================================================
    field     shape       meaning
    ========  ==========  ===================================================
    seen      (K, N, 3)   to the right, up, and towards the viewer [length]
    charges   (N,)        [charge]
    ========  ==========  ===================================================
    """

    seen: Array
    charges: Array

    @classmethod
    def of(cls, x: Array, model: Particles) -> Cloud:
        """Positions x (K, N, 3) of the particles of a model, about their mean over all of the time."""
        centred = x - x.mean(axis=(0, 1))
        return cls(centred @ viewing_axes(centred).T, model.q)

    @property
    def extent(self) -> float:
        """Half the edge of the picture [length]."""
        return half_edge(self.seen[..., :2])

    def draw(self, axis: Axes, frame: int, since: int = 0) -> list[Any]:
        """Draw a frame over the paths since an earlier one, and return what was drawn."""
        x, y, near = self.seen[frame].T
        depth = near / (np.abs(self.seen[..., 2]).max() or 1.0)
        order = np.argsort(near)
        limit = float(np.abs(self.charges).max()) or 1.0
        paths = axis.plot(*np.moveaxis(self.seen[since : frame + 1, :, :2], 2, 0), color=GREY, lw=0.7, alpha=0.5)
        points = axis.scatter(
            x[order], y[order], s=SIZE * (1.0 + 0.5 * depth[order]), c=self.charges[order], cmap=diverging(),
            vmin=-SOFTER * limit, vmax=SOFTER * limit, edgecolors="#1b1b1b", linewidths=0.6, zorder=3,
        )  # fmt: skip
        edge = self.extent
        axis.set(xticks=[], yticks=[], xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
        axis.spines[:].set_visible(True)
        axis.spines[:].set(color=GREY, alpha=0.4)
        return [*paths, points]


def viewing_axes(centred: Array) -> Array:
    """Unit vectors to the right, up, and towards the viewer, rows of (3, 3), for positions (..., 3) about their mean.

    The longest extent lies to the right, the shortest in depth. They are right-handed, so nothing is shown as its mirror image.
    """
    places = centred.reshape(-1, 3)
    _, up, right = np.linalg.eigh(places.T @ places)[1].T
    # Signs of a decomposition are arbitrary.
    up, right = (axis * np.sign(axis[np.abs(axis).argmax()]) for axis in (up, right))
    return np.stack([right, up, np.cross(right, up)])


def half_edge(shown: Array) -> float:
    """Half the edge of a square picture of places (..., 2) about its middle [length]."""
    return 1.1 * float(np.quantile(np.abs(shown), INSIDE)) or 1.0
