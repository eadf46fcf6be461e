"""PointCalculator: a trained network of points as a calculator of ASE, for real atoms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators import calculator as ase_calculators
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import primitive_neighbor_list

from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.learning.modelfile import load_network
from latticemd.learning.records import model_of
from latticemd.models.particles import Particles

NAME = "latticemd_points"


class PointCalculator(Calculator):
    """Forces of a network that `latticemd train` has fitted to particles, on any atoms.

        atoms.calc = PointCalculator("models/argon/model.safetensors", charges={"Ar": 1.0})

    ====================  ========  ==========================================================================
    property              shape     meaning
    ====================  ========  ==========================================================================
    forces                (N, 3)    [energy/length]
    energy, free_energy             of conservative networks (`pair_energy`), up to a constant [energy]
    energies              (N,)      the same, what belongs to each atom
    stress                (6,)      of conservative networks in a cell that is periodic in all directions
    ====================  ========  ==========================================================================

    What tells points apart for a network is their charge: `charges` has one for each chemical element, or else the atoms'
    initial charges count. Networks with a cutoff take neighbours from ASE's list, so that any cell will do, also one smaller
    than the cutoff; the others see all points at once and refuse periodic atoms.

    Units are those of the training data; there is no factor.

    Cost: the network's; pairs within the cutoff, or all of them.
    """

    def __init__(
        self,
        model: str | Path,
        charges: Mapping[str, float] | None = None,
        precision: Literal["float32", "float64"] | None = None,
    ) -> None:
        super().__init__()
        self.card, module = load_network(Path(model), precision)
        if not isinstance(model_of(self.card.model), Particles):
            raise InputError(
                f"{model}: is a network of the lattice model {self.card.model['name']}; use LatticeCalculator"
            )
        self.module: Any = module.requires_grad_(False)
        self.charges = None if charges is None else dict(charges)
        self.parameters.update({"model": str(model), "network": self.card.network["name"]})
        self.implemented_properties = ["forces"]
        if self.module.conservative:
            self.implemented_properties += ["energy", "free_energy", "energies", "stress"]

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("forces",), system_changes: Any = all_changes
    ) -> None:
        """Ask the network about the atoms where they are; all that it knows at once."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None, "ASE hands over atoms at the first call"
        if self.module.conservative:
            self.results = self._from_energy(self.atoms)
        else:
            self.results = {"forces": self._predicted(self.atoms)}

    def charges_of(self, atoms: Atoms) -> Array:
        """q (N,). Raises InputError for an element that `charges` leaves out."""
        if self.charges is None:
            return np.asarray(atoms.get_initial_charges(), dtype=float)
        missing = sorted(set(atoms.get_chemical_symbols()) - self.charges.keys())
        if missing:
            raise InputError(f"charges has none for {', '.join(missing)}; it has {', '.join(self.charges)}")
        return np.array([self.charges[symbol] for symbol in atoms.get_chemical_symbols()], dtype=float)

    def _predicted(self, atoms: Atoms) -> Array:
        import torch

        if atoms.pbc.any():
            raise InputError(
                f"the network {self.card.network['name']} sees all points at once and knows no periodic cell; use atoms with "
                "pbc=False, or a network with a cutoff (pair_energy)"
            )
        with torch.no_grad():
            q = torch.from_numpy(self.charges_of(atoms)).to(self.module.scale.dtype)
            forces: Array = (
                self.module.forces(torch.from_numpy(atoms.positions.copy())[None], q[None])[0].double().numpy()
            )
        return forces

    def _from_energy(self, atoms: Atoms) -> dict[str, Any]:
        """Energy, and its derivatives by the vectors between neighbours: dE/dx_i = -sum_j dE/d(away_ij) + sum_j dE/d(away_ji)."""
        import torch

        i, j, away = primitive_neighbor_list("ijD", atoms.pbc, atoms.cell, atoms.positions, self.module.cutoff)
        i, j = (index.astype(np.int64) for index in (i, j))  # narrower where indices of ASE are
        q = torch.from_numpy(self.charges_of(atoms))
        vectors = torch.from_numpy(np.ascontiguousarray(away, dtype=float)).requires_grad_(True)
        energies = self.module.energies(q, torch.from_numpy(i), torch.from_numpy(j), vectors)
        gradient = np.zeros_like(away)
        if len(away):
            gradient = torch.autograd.grad(energies.sum(), vectors)[0].numpy()
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, gradient)
        np.add.at(forces, j, -gradient)
        each = energies.detach().double().numpy()
        energy = float(each.sum())
        results = {"energy": energy, "free_energy": energy, "energies": each, "forces": forces}
        if atoms.pbc.all():
            virial = away.T @ gradient / atoms.get_volume()
            results["stress"] = (0.5 * (virial + virial.T))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return results

    def _get_name(self) -> str:
        return NAME


def register() -> None:
    """Make `ase.calculators.calculator.get_calculator_class("latticemd_points")` find `PointCalculator`."""
    if NAME not in ase_calculators.external_calculators:
        ase_calculators.register_calculator_class(NAME, PointCalculator)


register()
