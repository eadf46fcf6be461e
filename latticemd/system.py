"""System: a model whose parameters may follow ramps, and the force field that solves its electrons."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for, on_device, on_host, to_device
from latticemd.backends.specification import LARGEST
from latticemd.errors import Diverged, InputError
from latticemd.forcefield import (
    Array,
    BetweenParticles,
    Capabilities,
    Electrons,
    ForceField,
    Remembering,
    require_interactions,
)
from latticemd.models.model import Model
from latticemd.parallel.share import Share
from latticemd.ramps import Ramp
from latticemd.state import Memory, State


class System:
    """Total forces F = F_electronic + F_classical and free energies of R replicas at a step.

    `electrons` holds the force field's last answer; `force_seconds` and `force_calls` count its cost.
    Raises InputError if the force field cannot serve the model, or would leave out the interaction of its electrons.

    On several ranks the replicas and sites of a State are those of this rank's `share`. Its block of the lattice, with as many
    cells around it as forces depend on, is a lattice to model and force field; of their answers on it the own sites are kept.
    """

    def __init__(
        self,
        model: Model,
        forcefield: ForceField,
        replicas: int = 1,
        ramps: Mapping[str, Ramp] | None = None,
        share: Share | None = None,
    ) -> None:
        self.share = share or Share.all_of(model.lattice, replicas)
        replicas = self.share.replicas
        self.model = model = self.share.of_model(model)
        self.forcefield = forcefield
        self.ramps = dict(ramps or {})
        unknown = self.ramps.keys() - {field.name for field in dataclasses.fields(model)}
        if unknown:
            raise InputError(f"model {type(model).__name__} has no parameter {', '.join(sorted(unknown))} to ramp")
        self.electrons = Electrons.empty(
            replicas, model
        )  # on the lattice of the share, with the rim around its own sites
        self._x = self._f = self.electrons.force
        if self.share.divided:
            self._x, self._f = np.zeros_like(self.electrons.force), np.zeros_like(self.electrons.force)
        self._guest: State | None = None  # whose positions and forces are kept in these arrays
        self.force_seconds = 0.0
        self.force_calls = 0
        require_interactions(forcefield, model)
        forcefield.prepare(self.model_at(0), replicas)
        self.capabilities: Capabilities = forcefield.capabilities(self.model, replicas)
        self._alarm: Array | None = (
            None  # on a GPU: whether anything has left the finite numbers since it was looked at
        )
        self._first_memory: dict[str, Array] = {}
        if isinstance(forcefield, Remembering):
            self._first_memory = forcefield.memory(self.model_at(0), replicas)

    def model_at(self, step: int) -> Model:
        """The model with its ramped parameters at their values for this step."""
        return model_at(self.model, self.ramps, step)

    def house(self, state: State) -> None:
        """Keep positions and forces of a state beside their rims, where that saves copies at every step.

        One state at a time: whichever was there before, or is met by forces of another one, gets arrays of its own again.
        """
        if self.share.divided:
            self._empty_house()
            state.x, state.f = self.share.housed(state.x, self._x), self.share.housed(state.f, self._f)
            self._guest = state

    def _empty_house(self) -> None:
        if self._guest is not None:
            self._guest.x, self._guest.f, self._guest = self._guest.x.copy(), self._guest.f.copy(), None

    def update_forces(self, state: State, step: int) -> None:
        """Evaluate the force field at state.x and write the total force to state.f.

        Raises Diverged when positions or forces are not finite, or so large that they have lost all physics (LARGEST),
        naming the first site and the term. On a GPU nobody waits for that; `require_bounded` does.
        """
        model, share = self.model_at(step), self.share
        kernels, waits = kernels_for(state.x), not on_device(state.x)
        self.electrons = self.electrons.beside(state.x)
        if state is not self._guest:
            self._empty_house()
        extended = share.extending(state.x, self._x)
        bounded = not waits or kernels.all_bounded(state.x)  # while others are on their way
        self._x = extended()
        if waits and share.anywhere(not bounded):
            raise Diverged(f"at step {step}: position {self._first_bad(state.x)}")
        started = time.perf_counter()
        try:
            self._solve(model, state, step)
        except ArithmeticError as error:
            raise Diverged(f"at step {step}: the force field failed: {error}") from error
        self.force_seconds += time.perf_counter() - started
        self.force_calls += 1
        if share.divided:
            model.total_force(self._x, self.electrons.force, self._f)
            share.crop(self._f, state.f)
        else:
            model.total_force(state.x, self.electrons.force, state.f)
        if waits and share.anywhere(not kernels.all_bounded(state.f)):
            raise Diverged(f"at step {step}: force {self._blame(state)}")
        if not waits:  # positions that are not bounded give forces that are not, as springs pull at them
            if self._alarm is None:
                self._alarm = to_device(np.zeros(1, dtype=np.int32))
            kernels.note_unbounded(state.f, self._alarm)

    def require_bounded(self, state: State) -> None:
        """Raise Diverged if any force since the last call was not bounded: on a GPU, where each look waits for the device."""
        if self._alarm is None or not on_host(self._alarm)[0]:
            return
        self._alarm = None
        seen = state.on_host()
        kernels = kernels_for(seen.x)
        if not kernels.all_bounded(seen.x):
            raise Diverged(f"by step {state.step}: position {self._first_bad(seen.x)}")
        if not kernels.all_bounded(seen.f):
            raise Diverged(f"by step {state.step}: force {self._blame(seen)}")
        raise Diverged(f"by step {state.step}: a force was not finite on the way")

    def update_potential(self, state: State, step: int) -> None:
        """Write the free energy at state.x to state.potential, from the electrons of the last `update_forces`."""
        x = self._x if self.share.divided else state.x
        np.add(self.electrons.energy, self.model_at(step).classical_energy(x), out=state.potential)

    @property
    def density(self) -> Array:
        """Electrons on the sites (R, N) of the State at the last `update_forces`."""
        return self.share.cropped(self.electrons.density)

    def order_field(self, state: State, step: int) -> Array:
        """The local order parameter (R, N) from the electrons of the last `update_forces`, where the state lives."""
        x = self._x if self.share.divided else state.x
        return self.share.cropped(self.model_at(step).order_field(x, self.electrons.density))

    def exchange_energies(self, x: Array, step: int) -> Array:
        """What exchanging x (R, N, 1) between the two sites of each hop would add to the free energy, (R, B) [energy].

        Raises InputError where the force field or the model cannot tell without evaluating each exchange.
        """
        model = self.model_at(step)
        for part in (self.forcefield, model):
            if not hasattr(part, "exchange_energies"):
                raise InputError(f"{type(part).__name__} knows no energies of exchanges; evaluate attempts instead")
        started = time.perf_counter()
        try:
            electronic = self.forcefield.exchange_energies(model, x)  # type: ignore[attr-defined]
        except ArithmeticError as error:
            raise Diverged(f"at step {step}: the force field failed: {error}") from error
        self.force_seconds += time.perf_counter() - started
        self.force_calls += 1
        total: Array = electronic + model.exchange_energies(x)  # type: ignore[attr-defined]
        return total

    def _solve(self, model: Model, state: State, step: int) -> None:
        """Evaluate the force field, from what the state remembers where it has something to remember."""
        forcefield = self.forcefield
        if not (self._first_memory and isinstance(forcefield, Remembering)):
            forcefield.evaluate(model, self._x, step, self.electrons)
            return
        start = state.memory.start_at(step) or self._first_memory
        result = forcefield.evaluate_from(start, model, self._x, step, self.electrons)
        state.memory = Memory(step, start, result)

    def stiffest_frequency(self, step: int = 0) -> float:
        """sqrt(K/m) with K the largest curvature of the classical energy [1/time]; electrons soften modes, see physics docs.

        Between particles, K is that near rest: where two of them meet closely it has no bound.
        """
        model = self.model_at(step)
        if isinstance(self.forcefield, BetweenParticles):
            return float(np.sqrt(self.forcefield.typical_stiffness(model) / model.inertia()))
        return float(np.sqrt(model.largest_stiffness() / model.inertia()))

    def _blame(self, state: State) -> str:
        electronic = self.share.cropped(self.electrons.force)
        term = "electronic" if self.share.anywhere(not kernels_for(state.f).all_bounded(electronic)) else "classical"
        return f"{self._first_bad(state.f)}, first in the {term} term"

    def _first_bad(self, values: Array) -> str:
        """The first of values (R, N, D) that is not good, on whichever rank it is."""
        found = [one for one in self.share.world.collected(_first_bad(values, self.share)) if one]
        return str(self.share.world.told(min(found)[1] if found else ""))


def model_at(model: Model, ramps: Mapping[str, Ramp], step: int) -> Model:
    """A model with its ramped parameters at their values for a step."""
    if not ramps:
        return model
    values: dict[str, Any] = {name: ramp(step) for name, ramp in ramps.items()}
    return dataclasses.replace(model, **values)


def _first_bad(values: NDArray[np.float64], share: Share) -> tuple[tuple[int, int], str] | None:
    """Replica and site of the first value of a share that is not good, and words about it; None where all are good."""
    good = np.abs(values) < LARGEST
    if good.all():
        return None
    replica, here, component = (int(n) for n in np.argwhere(~good)[0])
    lattice, number = share.lattice, replica + share.first_replica
    sites = share.cropped(np.arange(lattice.sites)[None])[0]
    site, cell = int(lattice.numbers[sites[here]]), tuple(lattice.places[sites[here]].tolist())
    problem = f"is beyond {LARGEST:.1g}" if np.isfinite(values[replica, here, component]) else "is not finite"
    largest = f"{np.abs(values[good]).max():.3g}" if good.any() else "none"
    place = f"replica {number}, site {site} at {cell}, component {component}"
    return (number, site), f"{problem}: {place}; largest good value {largest}"
