"""Sites as atoms: which of their positions, magnetic moments or charges stands for the classical variable of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Array, Model, Motion
from latticemd.output.h5md import box_of


def atoms_of(model: Model, x: Array, p: Array | None = None, symbol: str = "X") -> Atoms:
    """One atom per site that stands for x (N, D) and, where given, momenta p (N, D) [mass length/time]; no calculator.

    ===============  ========================================================================
    variable         atoms have it as
    ===============  ========================================================================
    displacement     distance from the site: a scalar along z, a vector along x, y, z
    spin             initial magnetic moment, a vector
    occupation       initial charge
    ===============  ========================================================================

    The sites of a chain that move along it, as those of `SSH` do, move along x. Masses are the model's, cell and periodic
    directions those of the lattice; dimensions that it doesn't have are open. `symbol` is the chemical element to show.
    """
    return Sites.of(model).atoms(x, p, symbol)


def configuration_of(model: Model, atoms: Atoms) -> Array:
    """The x (1, N, D) that `atoms` stand for. Raises InputError unless there is one atom per site, in their order.

    Coordinates that stand for nothing, such as x and y where a scalar is a height, are not looked at.
    """
    return Sites.of(model).configuration(atoms)


def momenta_of(model: Model, atoms: Atoms) -> Array:
    """Momenta (1, N, D) [mass length/time] of `atoms` along the directions that stand for x; zero where x is no displacement."""
    return Sites.of(model).momenta(atoms)


@dataclass(frozen=True)
class Sites:
    """What has to be known of a model to write its configurations as atoms."""

    lattice: Lattice
    motion: Motion
    axes: tuple[int, ...]
    mass: float | Array

    @classmethod
    def of(cls, model: Model) -> Sites:
        """Those of a model."""
        return cls(model.lattice, model.motion, model.axes, np.squeeze(model.site_masses()))

    @property
    def at_rest(self) -> Array:
        """Positions of the sites in three dimensions, (N, 3) [length]."""
        positions = np.zeros((self.lattice.sites, 3))
        positions[:, : self.lattice.dimensions] = self.lattice.positions
        return positions

    def atoms(self, x: Array, p: Array | None = None, symbol: str = "X") -> Atoms:
        """See `atoms_of`."""
        self._require_shape(x, "x")
        edges, boundary = box_of(self.lattice)
        atoms = Atoms(
            [symbol] * self.lattice.sites, self.at_rest, cell=edges, pbc=[one == "periodic" for one in boundary]
        )
        atoms.set_masses(np.broadcast_to(self.mass, len(atoms)))
        if self.motion is Motion.DISPLACEMENT:
            atoms.positions[:, list(self.axes)] += x
        elif self.motion is Motion.SPIN:
            atoms.set_initial_magnetic_moments(x)
        else:
            atoms.set_initial_charges(x[:, 0])
        if p is not None and self.motion is Motion.DISPLACEMENT:
            self._require_shape(p, "p")
            atoms.set_momenta(self.along_axes(p))
        return atoms

    def configuration(self, atoms: Atoms) -> Array:
        """See `configuration_of`."""
        self._require_count(atoms)
        if self.motion is Motion.DISPLACEMENT:
            return (atoms.positions - self.at_rest)[None, :, list(self.axes)]
        if self.motion is Motion.OCCUPATION:
            return atoms.get_initial_charges()[None, :, None]
        spins = atoms.get_initial_magnetic_moments()
        if spins.shape != (len(atoms), 3):
            raise InputError(
                f"spins are magnetic moments of shape ({len(atoms)}, 3), but these atoms have {spins.shape}"
            )
        return spins[None]

    def momenta(self, atoms: Atoms) -> Array:
        """See `momenta_of`."""
        self._require_count(atoms)
        if self.motion is not Motion.DISPLACEMENT:
            return np.zeros_like(self.configuration(atoms))
        return atoms.get_momenta()[None, :, list(self.axes)]

    def along_axes(self, values: Array) -> Array:
        """Components (N, D) as vectors in space, (N, 3)."""
        vectors = np.zeros((len(values), 3))
        vectors[:, list(self.axes)] = values
        return vectors

    def _require_shape(self, values: Array, name: str) -> None:
        components = 1 if self.motion is Motion.OCCUPATION else len(self.axes)
        if values.shape != (self.lattice.sites, components):
            raise InputError(
                f"{name} of one replica has shape ({self.lattice.sites}, {components}) here, got {values.shape}"
            )

    def _require_count(self, atoms: Atoms) -> None:
        if len(atoms) != self.lattice.sites:
            raise InputError(f"the lattice has {self.lattice.sites} sites, but there are {len(atoms)} atoms")
