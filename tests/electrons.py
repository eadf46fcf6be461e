"""What tests of force fields share: their answer in one call, that of a mean field, and a model with complex hops."""

from __future__ import annotations

import dataclasses

import numpy as np

from forcefields.mean_field import MeanField
from latticemd import Holstein
from latticemd.forcefield import Electrons
from latticemd.models.hamiltonian import Hops


def electrons(forcefield, model, x, step=0) -> Electrons:
    """What a fresh force field says at x (R, N, D)."""
    out = Electrons.empty(len(x), model)
    forcefield.prepare(model, len(x))
    forcefield.evaluate(model, x, step, out)
    forcefield.close()
    return out


@dataclasses.dataclass(frozen=True)
class Flux(Holstein):
    """Hops along x that carry the phase of a magnetic field with flux 1/4 per plaquette."""

    def hops(self) -> Hops:
        bonds = self.lattice.bonds()
        along_x = np.abs(bonds.vector[:, 0]) > 0.5
        phase = np.where(along_x, 0.5 * np.pi * self.lattice.cells[bonds.i, 1], 0.0)
        return Hops(bonds.i, bonds.j, -self.hopping * np.exp(1j * phase))


def solved_in_mean_field(model, x, **settings):
    """What a fresh mean field says at x."""
    return electrons(MeanField(**settings), model, x)


def total_in_mean_field(model, x, **settings):
    """Total force and free energy at x."""
    found, force = solved_in_mean_field(model, x, **settings), np.empty_like(x)
    model.total_force(x, found.force, force)
    return force, found.energy + model.classical_energy(x)
