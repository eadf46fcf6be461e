"""The force field that asks several networks: the mean of their forces, and how far apart they are at each site."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from forcefields.networks.forcefield import NetworkForceField
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.models.model import Model
from latticemd.parameters import parameter


@dataclass(frozen=True)
class Committee:
    """The mean force of K networks that were trained alike but for their seeds, and their spread.

        F_i = 1/K sum_k F_i^k
        sigma_i^2 = 1/(K - 1) sum_k |F_i^k - F_i|^2

    ===================  ==========  =====================  =============================================
    symbol               shape       where                  meaning
    ===================  ==========  =====================  =============================================
    sigma_i              (R, N)      `uncertainty`          spread at a site [energy/length]
    <sigma_i^2>^(1/2)    (R,)        `details`              `uncertainty`, rms over the sites
    max_i sigma_i        (R,)        `details`              `largest_uncertainty`
    ===================  ==========  =====================  =============================================

    What all members got right in training they agree on, and what they have never seen they answer each in its own way: the
    spread tells where new exact data are worth most. It is no error bar. Errors that all members share do not show, and a
    small spread outside the training data proves nothing. Networks of several kinds may sit together if all are for the same model
    and lattice, and all are conservative or none is; density and energy are means as well.

    Cost: K times that of a member, one after the other, in the memory of one.

    Source: query by committee, Seung, Opper and Sompolinsky (1992), doi:10.1145/130385.130417; for forces arXiv:1810.11890.
    """

    ladder: ClassVar[tuple[dict[str, Any], ...]] = ()

    models: tuple[str, ...] = parameter(doc="files of networks that `latticemd train` wrote, two at least")
    precision: Literal["float32", "float64"] | None = parameter(
        None, doc="of the arithmetic; that of each file unless given"
    )

    @cached_property
    def members(self) -> list[NetworkForceField]:
        """The networks, each a force field of its own. Raises InputError where there are fewer than two."""
        for name in self.models:
            if self.models.count(name) > 1:
                raise InputError(f"forcefield.models: {name} is listed twice; a network agrees with itself everywhere")
        if len(self.models) < 2:
            raise InputError(f"forcefield.models: a committee has two networks at least, got {len(self.models)}")
        return [NetworkForceField(name, self.precision) for name in self.models]

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """What all members promise; halo and memory of the most demanding one."""
        each = [member.capabilities(model, replicas) for member in self.members]
        halos = [one.halo for one in each if one.halo is not None]
        return Capabilities(
            conservative=all(one.conservative for one in each),
            deterministic=all(one.deterministic for one in each),
            energy=all(one.energy for one in each),
            density=all(one.density for one in each),
            halo=max(halos) if len(halos) == len(each) else None,
            bytes_needed=max(one.bytes_needed for one in each),
            interactions=all(one.interactions for one in each),
            uncertainty=True,
            single=any(one.single for one in each),
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Read the files. Raises InputError where one is for another model or lattice, or some have an energy and others none."""
        for member in self.members:
            member.prepare(model, replicas)
        kinds = [member.capabilities(model, replicas).conservative for member in self.members]
        if len(set(kinds)) > 1:
            with_energy, without = (self.models[kinds.index(kind)] for kind in (True, False))
            raise InputError(
                f"forcefield.models: {with_energy} is conservative and {without} is not; members of a committee must agree in this"
            )

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Means over the members, and their spread, at x (R, N, D).

        Means run along with the members (Welford), so that equal members have exactly their own force and no spread.
        """
        answer = Electrons.empty(len(x), model)
        means = {name: np.zeros_like(getattr(out, name)) for name in ("force", "energy", "density", "mu")}
        squares = np.zeros(x.shape[:2])
        for k, member in enumerate(self.members, start=1):
            member.evaluate(model, x, step, answer)
            before = answer.force - means["force"]
            for name, mean in means.items():
                mean += (getattr(answer, name) - mean) / k
            squares += np.sum(before * (answer.force - means["force"]), axis=2)
        for name, mean in means.items():
            getattr(out, name)[...] = mean
        out.uncertainty = np.sqrt(squares / (len(self.members) - 1))
        out.details = {
            "uncertainty": (np.sqrt(np.mean(out.uncertainty**2, axis=1)), "energy/length"),
            "largest_uncertainty": (out.uncertainty.max(axis=1), "energy/length"),
        }

    def close(self) -> None:
        """Forget the networks."""
        for member in self.members:
            member.close()
