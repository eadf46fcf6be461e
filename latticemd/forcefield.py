"""The ForceField protocol: a way to get the electronic force, and what it says about itself.

Force fields are frozen dataclasses whose `parameter` fields are the keys of `forcefield:`; packages offer them under the
entry-point group `latticemd.forcefields`. They return the ELECTRONIC part only: elastic terms are exact and added by the
model. One with a choice of accuracy may have a class attribute `ladder`, a tuple of settings from coarse to fine, which
`latticemd bench` compares; one that only chooses among others has an empty one. One that knows the free energies of all
exchanges of two neighbours at once may have a method `exchange_energies(model, x)` -> (R, B), as `poles` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import on_device, to_device
from latticemd.errors import InputError
from latticemd.models.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Capabilities:
    """What a force field promises.

    `conservative`: the force is minus the gradient of the energy it returns. `deterministic`: the same positions and step
    give the same bytes. `energy`, `density`: which parts of `Electrons` it fills. `halo`: layers of cells around
    the cell of a site that its force depends on, beside the extremes of on-site energies and hops, which may decide about poles
    and moments; None when it depends on all sites. `bytes_needed`: working memory for this model and R replicas.
    `interactions`: whether it treats the interaction of models whose electrons repel each other. `electrons`: whether it solves
    for electrons; if not, it has the whole force of a model without any. `uncertainty`: whether it tells how far its force may be
    wrong at each site. `single`: whether it computes in single precision, whose rounding is that of its symmetries. `rim`: layers
    of cells that a block of the lattice needs around it if all that concerns the whole is asked of `Lattice.total` and
    `Lattice.highest`; `halo` unless given. `free_rim`: whether it solves electrons only where `Lattice.asked` says, so that the
    rim of a block costs it nothing. `shares_work`: whether several ranks that all know the whole lattice divide a force among
    them, see `Lattice.jobs`. `cuda`: whether it serves this model on a GPU too, where positions are arrays of the device and so are
    its answers.
    """

    conservative: bool
    deterministic: bool
    energy: bool
    density: bool
    halo: int | None
    bytes_needed: int
    interactions: bool = False
    electrons: bool = True
    uncertainty: bool = False
    single: bool = False
    rim: int | None = None
    free_rim: bool = False
    shares_work: bool = False
    cuda: bool = False


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
    details      by name     what else there is to know, an array (R,) and its dimension; empty by default
    uncertainty  (R, N)      how uncertain the force of a site is [energy/length]; None where nothing is known of that
    ===========  ==========  ==============================================================================
    """

    force: Array
    energy: Array
    density: Array
    mu: Array
    details: dict[str, tuple[Array, str]] = field(default_factory=dict)
    uncertainty: Array | None = None

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

    def beside(self, x: Array) -> Electrons:
        """These buffers if they are where x (R, N, D) lives, else new ones on the GPU, in the precision of x."""
        if on_device(self.force) == on_device(x):
            return self
        force, density = (to_device(values, x.dtype) for values in (self.force, self.density))
        return Electrons(force, to_device(self.energy), density, to_device(self.mu))


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


@runtime_checkable
class Remembering(ForceField, Protocol):
    """A force field whose answer depends on where it starts, such as a self-consistent one with several solutions.

    It holds no memory of its own: that is in the State (`latticemd.state.Memory`), and the System hands it over.
    """

    def memory(self, model: Model, replicas: int) -> dict[str, Array]:
        """What the first evaluation of a run starts from: float64 arrays with R first. Empty: nothing is remembered."""
        ...

    def evaluate_from(
        self, start: Mapping[str, Array], model: Model, x: Array, step: int, out: Electrons
    ) -> dict[str, Array]:
        """`evaluate`, as a pure function of start, model and x; returns what a later step may start from, in new arrays.

        `evaluate` itself starts from `memory`.
        """
        ...


@runtime_checkable
class Spectral(Protocol):
    """A force field that can also tell where the levels of H_el lie, as `kpm` does."""

    def density_of_states(
        self, model: Model, x: Array, energies: Array, width: float, sites: Array | None = None
    ) -> Array:
        """Density of states per orbital at `energies` (E,), for levels `width` wide, (R, E) [1/energy].

        With `sites`, booleans (R, N), the mean of the local densities there; nan for a replica without any.
        """
        ...


@runtime_checkable
class BetweenParticles(ForceField, Protocol):
    """The whole force of a model without electrons, such as that between particles in space."""

    def typical_stiffness(self, model: Model) -> float:
        """The curvature of the energy near rest, which sets the scale of time steps [energy/length^2]."""
        ...


def require_interactions(forcefield: ForceField, model: Model) -> None:
    """Raise InputError where interactions would be left out without a word: of a model's electrons, or of particles."""
    if forcefield.capabilities(model, 1).electrons is not model.electronic:
        needs = "solves for electrons" if not model.electronic else "is the force between particles"
        others = "has none; use one for particles, such as coulomb" if not model.electronic else "is none of them"
        raise InputError(f"force field {type(forcefield).__name__} {needs}, but {type(model).__name__} {others}")
    if model.interacting and not forcefield.capabilities(model, 1).interactions:
        raise InputError(
            f"the electrons of {type(model).__name__} interact, and force field {type(forcefield).__name__} would leave that "
            "out; use forcefield: {name: mean_field}, whose `solver` may be any of the others"
        )
