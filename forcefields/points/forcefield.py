"""The force field that runs a trained network of points."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.learning.modelfile import Card, load_network, require_kind
from latticemd.learning.networks import require_torch
from latticemd.learning.records import model_of
from latticemd.models.model import Model
from latticemd.models.particles import Particles
from latticemd.parameters import parameter

log = logging.getLogger("latticemd.run")


@dataclass(frozen=True)
class PointNetwork:
    """The force between particles that a network has learned, from the file that `latticemd train` wrote.

    Networks that predict forces give no energy, and conserve none. The others (`pair_energy`) differentiate an energy, which is
    then known up to a constant.

    Cost: O(N^2), some hundred times that of `coulomb` and its like: for forces that have no formula.
    """

    ladder: ClassVar[tuple[dict[str, Any], ...]] = ()

    model: str = parameter(doc="file of a network of particles that `latticemd train` wrote")
    precision: Literal["float32", "float64"] | None = parameter(
        None, doc="of the arithmetic; that of the file unless given"
    )
    _prepared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """The whole force of particles; deterministic on one machine and number of threads."""
        module = self._module()
        conservative = bool(getattr(module, "conservative", False))
        return Capabilities(
            conservative=conservative,
            deterministic=True,
            energy=conservative,
            density=False,
            halo=None,
            bytes_needed=4096 * model.lattice.sites**2,  # features of all pairs, some layers deep
            electrons=False,
            single=next(module.parameters()).element_size() == 4,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Read the file. Raises InputError where it is for no particles."""
        require_kind(self._card(), model, Path(self.model))
        assert isinstance(model, Particles), "require_kind has compared it with particles"
        known, used = self._module().model.q, model.q
        if used.max() > known.max() or used.min() < known.min():
            log.warning("%s: charges are %g to %g, and the network was trained on %g to %g", Path(self.model).name,
                        used.min(), used.max(), known.min(), known.max())  # fmt: skip

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Forces of all replicas at x (R, N, 3), one after the other: a replica has the same bytes in any batch."""
        import torch

        module: Any = self._module().of(model)
        out.energy[...] = np.nan
        for r in range(len(x)):
            positions = torch.from_numpy(np.ascontiguousarray(x[r : r + 1]))
            with torch.no_grad():
                out.force[r] = module(positions)[0].double().numpy()
                if getattr(module, "conservative", False):
                    out.energy[r] = float(module.energy(positions)[0])

    def typical_stiffness(self, model: Model) -> float:
        """The root mean square of forces over that of positions in the training [energy/length^2]."""
        card = self._card()
        about = card.errors.get("train", {})
        force = about["rmse"] / about["relative"] if about.get("relative") else 1.0
        return float(force / (card.ranges["x"]["rms"][1] or 1.0))

    def close(self) -> None:
        """Forget the network."""
        self._prepared.clear()

    def _card(self) -> Card:
        self._module()
        card: Card = self._prepared["card"]
        return card

    def _module(self) -> Any:
        if "module" not in self._prepared:
            require_torch()
            card, module = load_network(Path(self.model), self.precision)
            model = model_of(card.model)
            if not isinstance(model, Particles):
                name = card.network["name"]
                raise InputError(f"{self.model}: holds a network {name} of lattices; use forcefield: {{name: {name}}}")
            module.requires_grad_(False)
            self._prepared["card"] = card
            self._prepared["module"] = module
        return self._prepared["module"]
