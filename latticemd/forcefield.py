"""The ForceField protocol: a way to get the electronic force, and what it says about itself.

Force fields are frozen dataclasses whose `parameter` fields are the keys of `forcefield:`; packages offer them under the
entry-point group `latticemd.forcefields`. They return the ELECTRONIC part only: elastic terms are exact and added by the
model. One with a choice of accuracy may have a class attribute `ladder`, a tuple of settings from coarse to fine, which
`latticemd bench` compares; one that only chooses among others has an empty one. One that knows the free energies of all
exchanges of two neighbours at once may have a method `exchange_energies(model, x)` -> (R, B), as `poles` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latticemd.models.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Capabilities:
    """What a force field promises.

    `conservative`: the force is minus the gradient of the energy it returns. `deterministic`: the same positions and step
    give the same bytes. `energy`, `density`: which parts of `Electrons` it fills. `halo`: layers of cells around
    the cell of a site that its force depends on, beside the extremes of the on-site energies, which may decide about poles
    and moments; None when it depends on all sites. `bytes_needed`: working memory for this model and R replicas.
    """

    conservative: bool
    deterministic: bool
    energy: bool
    density: bool
    halo: int | None
    bytes_needed: int


@dataclass
class Electrons:
    """The answer of a force field at one set of positions.

    ===========  ==========  ==============================================================================
    field        shape       meaning
    ===========  ==========  ==============================================================================
    force        (R, N, D)   electronic force -dC/dx - Tr[rho dH_el/dx] [energy/length]
    energy       (R,)        electronic free energy with C, Omega_el or Omega_el + mu N [energy]; NaN if unknown
    density      (R, N)      electrons per site [1]; NaN if unknown
    mu           (R,)        chemical potential [energy]
    ===========  ==========  ==============================================================================
    """

    force: Array
    energy: Array
    density: Array
    mu: Array

    @classmethod
    def empty(cls, replicas: int, model: Model) -> Electrons:
        """Buffers for R replicas of a model, filled with NaN so that what a force field forgets to write is seen."""
        sites = model.lattice.sites
        return cls(
            np.full((replicas, sites, model.components), np.nan),
            np.full(replicas, np.nan),
            np.full((replicas, sites), np.nan),
            np.full(replicas, np.nan),
        )


@runtime_checkable
class ForceField(Protocol):
    """Anything with these four methods can move a lattice."""

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """What this force field promises for a model."""
        ...

    def prepare(self, model: Model, replicas: int) -> None:
        """Allocate for a model's structure; called once, before the first `evaluate`. Raises InputError if it can't serve it."""
        ...

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Write force, energy and density at positions x (R, N, D) to `out`; must not depend on earlier calls."""
        ...

    def close(self) -> None:
        """Release what `prepare` took."""
        ...
