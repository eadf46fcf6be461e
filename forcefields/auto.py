"""`auto`: the cheapest force field whose error, measured on the configuration itself, is small enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from forcefields.cavity import Cavity
from forcefields.choice import Candidate, Chooser, alike_everywhere
from forcefields.hopping import OfModel, square_hopping
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.model import Model
from latticemd.parameters import parameter

_TYPICAL_ORDER = 160  # of windows, before positions are known
EXACT_SITES = 4096  # up to which `poles` takes no longer than measuring the error of anything else


@dataclass(frozen=True)
class Auto:
    """`poles` where it is cheap, else the cheapest local force field that is good enough at these positions.

    Up to EXACT_SITES sites the answer is that of `poles`. Beyond, local force fields are tried from cheap to dear on samples
    of the configuration (see `forcefields.choice`), with `poles`, which always is good enough, at its place among them. That
    is for the square lattice with one real hopping, alike everywhere: without their kernels local force fields that are better
    than 1e-2 take longer than `poles` up to 10^5 sites, and parts of a lattice with disorder or open ends are no samples of
    it. All other models get `poles`.

    Cost: that of the one chosen, and some ten milliseconds for the samples. Name a force field yourself once you know which
    one suits (`latticemd bench`).
    """

    tolerance: float = parameter(1e-4, doc="largest root mean square error of the density", gt=0, lt=0.1)
    ladder: ClassVar[tuple[dict[str, Any], ...]] = ()  # to compare it with those it chooses from would be to ask twice

    @cached_property
    def _can_be_sampled(self) -> OfModel[bool]:
        return OfModel(lambda model: square_hopping(model) is not None and alike_everywhere(model))

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser("auto", self.tolerance, self.candidates)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Conservative as long as `poles` does everything; a choice depends on samples from everywhere."""
        return self._chooser.capabilities(model, replicas)

    def prepare(self, model: Model, replicas: int) -> None:
        """Raises InputError if nothing serves the model."""
        self._chooser.prepare(model, replicas)

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D), each with its own choice."""
        self._chooser.evaluate(model, x, step, out)

    def close(self) -> None:
        """Release every force field that was chosen."""
        self._chooser.close()

    def candidates(self, model: Model, x: Array | None = None) -> list[Candidate]:
        """From cheap to dear at x, by the times per site that tools/bench/comparison.py finds in double precision.

        The cost of a window follows from the moments that its sites need there, which the width of their spectrum decides.
        """
        poles = Candidate("poles", PoleExpansion(), exact=True)
        if model.lattice.sites <= EXACT_SITES or not self._can_be_sampled(model):
            return [poles]
        costs: list[tuple[float, Candidate]] = [(1.6e-7 * model.lattice.sites**0.5, poles)]
        fine = min(1e-6, 0.1 * self.tolerance)  # of what must not add to the error of a patch
        for radius, seconds in ((1, 0.2e-6), (2, 1.3e-6), (3, 3.6e-6), (4, 8e-6)):
            costs.append(
                (
                    seconds,
                    Candidate(f"cavity, radius {radius}", Cavity(radius=radius, tolerance=fine), cells=2 * radius + 1),
                )
            )
        for width, seconds in ((9, 1.5e-8), (13, 2.7e-8), (17, 4.5e-8), (25, 9.8e-8)):  # per moment
            window = Window(width=width, tolerance=0.3 * self.tolerance)
            moments = _TYPICAL_ORDER if x is None else window.mean_order(model, x)
            costs.append((seconds * moments, Candidate(f"window, width {width}", window, cells=width)))
        return [candidate for _, candidate in sorted(costs, key=lambda cost: cost[0])]
