"""LatticeCalculator: a lattice model and its force field as a calculator of ASE."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators import calculator as ase_calculators
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs

from latticemd import observables
from latticemd.ase.sites import Sites
from latticemd.build import build_forcefield, build_model, require_cpu
from latticemd.config import load_input
from latticemd.forcefield import ForceField
from latticemd.models.model import Model, Motion
from latticemd.state import State
from latticemd.system import System

NAME = "latticemd"


class LatticeCalculator(Calculator):
    """Free energy and forces of atoms that stand for the sites of a model (`latticemd.ase.atoms_of`).

        atoms = atoms_of(model, x)
        atoms.calc = LatticeCalculator(model, forcefield)
        BFGS(atoms).run(fmax=1e-3)

    ===================  =========  ============================================================================
    property             shape      meaning
    ===================  =========  ============================================================================
    energy, free_energy             Omega, or Omega + mu N at fixed filling: what the forces are gradients of [energy]
    forces               (N, 3)     -dOmega/dx; zero along directions that stand for nothing, and where x is no
                                    displacement [energy/length]
    magmoms              (N, 3)     spins, of unit length
    density              (N,)       electrons per site, where the force field knows it
    order_parameter                 |mean of the order field|
    field                (N, D)     -dOmega/dx where x is a spin or an occupation [energy]
    ===================  =========  ============================================================================

    The last three are this calculator's own: `calc.get_property("density", atoms)`. Parameters that ramp have their values
    of step 0. A self-consistent force field starts from its own seed at each call, so that the energy is a function of
    the positions alone.

    Cost: that of the force field. Whole runs are faster, and can be resumed, in the engine itself.
    """

    implemented_properties = [  # noqa: RUF012  (a list of the class is what ASE looks for)
        "energy",
        "free_energy",
        "forces",
        "magmoms",
        "density",
        "order_parameter",
        "field",
    ]

    def __init__(self, model: Model, forcefield: ForceField) -> None:
        super().__init__()
        self.system = System(model, forcefield)
        self.parameters.update(_provenance(self.system))

    @classmethod
    def from_input(cls, path: str | Path, *settings: str) -> LatticeCalculator:
        """Model and force field of an input file; `settings` change keys: "model.coupling=2"."""
        run = load_input(Path(path), settings)
        require_cpu(run, "a calculator")
        return cls(build_model(run)[0], build_forcefield(run))

    @property
    def model(self) -> Model:
        """The model at step 0."""
        return self.system.model

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate the force field at the configuration that `atoms` stand for; all properties at once."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None, "ASE hands over atoms at the first call"
        model, sites = self.model, Sites.of(self.model)
        state = State.at_rest(model.admissible(sites.configuration(self.atoms)))
        self.system.update_forces(state, 0)
        self.system.update_potential(state, 0)
        energy = float(state.potential[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": np.zeros((len(self.atoms), 3))}
        if model.motion is Motion.DISPLACEMENT:
            self.results["forces"] = sites.along_axes(state.f[0])
        else:
            self.results["field"] = state.f[0].copy()
        if model.motion is Motion.SPIN:
            self.results["magmoms"] = state.x[0].copy()
        density = self.system.electrons.density
        if np.isfinite(density).all():
            self.results["density"] = density[0].copy()
        order = model.order_field(state.x, density)
        if np.isfinite(order).all():
            self.results["order_parameter"] = float(observables.order_parameter(order)[0])

    def export_properties(self) -> Properties:
        """The results that ASE has a name and a shape for; its magnetic moments are numbers where spins are vectors."""
        known = {name: len(kind.shapespec) for name, kind in all_outputs.items()}
        return Properties({name: v for name, v in self.results.items() if known.get(name) == np.ndim(v)})

    def _get_name(self) -> str:
        return NAME


def register() -> None:
    """Make `ase.calculators.calculator.get_calculator_class("latticemd")` find `LatticeCalculator`; harmless when repeated."""
    if NAME not in ase_calculators.external_calculators:
        ase_calculators.register_calculator_class(NAME, LatticeCalculator)


def _provenance(system: System) -> dict[str, Any]:
    """What databases store beside the results: model, lattice and force field in words and numbers."""
    model = system.model
    numbers = {
        field.name: value
        for field in dataclasses.fields(model)
        if isinstance(value := getattr(model, field.name), int | float | str)
    }
    names = {"model": type(model).__name__, "forcefield": type(system.forcefield).__name__}
    return {**names, "lattice": model.lattice.to_dict(), **numbers}


register()
