"""A model of free electrons in the fields of a mean field, for force fields that know free electrons only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from latticemd.errors import InputError
from latticemd.models.hamiltonian import DensityMatrix, Hops, as_blocks
from latticemd.models.interaction import Interacting
from latticemd.models.model import Array, Model


@dataclass(frozen=True)
class Dressed(Model):
    """H_el + Sigma of one replica: the hops and levels of `bare`, and the fields added to them.

    `bonds` (1, B) or (1, B, o, o) and `levels` (1, N) or (1, N, o, o) are Sigma [energy]. The force is that of the bare model;
    the density matrix which a solver hands in for it is kept in `answers`, the last one at the end, because a force field returns
    only what moves a lattice.
    """

    bare: Interacting = dataclasses.field(kw_only=True)
    levels: Array = dataclasses.field(kw_only=True, repr=False)
    bonds: Array = dataclasses.field(kw_only=True, repr=False)
    answers: list[DensityMatrix] = field(default_factory=list, kw_only=True, repr=False, compare=False)

    @classmethod
    def of(cls, bare: Interacting, levels: Array, bonds: Array) -> Dressed:
        """The bare model at its own temperature and mu or filling."""
        return cls(
            bare.lattice,
            electronic_temperature=bare.electronic_temperature,
            mu=bare.mu,
            filling=bare.filling,
            bare=bare,
            levels=levels,
            bonds=bonds,
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lattice is not self.bare.lattice:
            raise InputError(
                "mean_field needs a solver of a stated size: one that measures its error on samples of the lattice has no "
                "fields for them; use ed, poles or kpm, or give cavity a radius and window a width"
            )

    @property
    def components(self) -> int:
        """D of the bare model."""
        return self.bare.components

    @property
    def orbitals(self) -> int:  # type: ignore[override]
        """o of the bare model."""
        return self.bare.orbitals

    @property
    def needs_bonds(self) -> bool:  # type: ignore[override]
        """Exchange follows the density matrix between sites, so hops change and bonds are asked for."""
        return True

    def hops(self) -> Hops:
        """Those of the bare model, as blocks where there are several orbitals, with the exchange added."""
        hops = self.bare.hops()
        return Hops(hops.i, hops.j, self._blocks(hops.amplitude) + self.bonds[0])

    def amplitudes(self, x: Array) -> Array:
        """Those of the bare model at x, with the exchange added."""
        return self._blocks(self.bare.amplitudes(x)) + self.bonds

    def onsite(self, x: Array) -> Array:
        """That of the bare model at x, with the fields of sites added."""
        return self.bare.onsite(x) + self.levels

    def electron_constant(self, x: Array) -> Array:
        """That of the bare model."""
        return self.bare.electron_constant(x)

    def electronic_force(self, rho: DensityMatrix, x: Array, out: Array) -> None:
        """That of the bare model: the fields belong to rho, so the free energy does not change with them."""
        self.answers[:] = [rho]
        self.bare.electronic_force(rho, x, out)

    def ordered(self, amplitude: float) -> Array:
        """That of the bare model."""
        return self.bare.ordered(amplitude)

    def _blocks(self, amplitude: Array) -> Array:
        """As blocks, one number per hop being a multiple of the unit block, where there are several orbitals."""
        if self.orbitals == 1 or self.bare.hops().amplitude.ndim == 3:
            return amplitude
        return as_blocks(amplitude, self.orbitals)
