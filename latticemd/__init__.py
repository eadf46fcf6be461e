"""latticemd: classical fields on lattices, moving on the free energy of electrons that follow instantly.

A table of contents; each name is imported from the module that owns it when it is first used.

=============  =====================================================================================
`Lattice`      sites, neighbour shells, bonds, symmetry operations
`Model`        the Hamiltonian: hopping and on-site terms, classical energy, kind of motion
`ForceField`   a way to get the electronic force; plug-ins live in the package `forcefields`
`State`        everything that changes in time and nothing else
`System`       model x force field x backend: total forces at a step
`Simulation`   steps a `State` with an integrator and serves the reporters
`Ramp`         a number that is a pure function of the step
`When`         a schedule, a pure function of the step too
=============  =====================================================================================

`load_simulation` builds a simulation from an input file, `load_integrator` finds an integrator by its name or word.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Lattice": "latticemd.lattice",
    "Model": "latticemd.models.model",
    "Motion": "latticemd.models.model",
    "Hops": "latticemd.models.hamiltonian",
    "DensityMatrix": "latticemd.models.hamiltonian",
    "Holstein": "latticemd.models.holstein",
    "ForceField": "latticemd.forcefield",
    "Capabilities": "latticemd.forcefield",
    "Electrons": "latticemd.forcefield",
    "State": "latticemd.state",
    "System": "latticemd.system",
    "Simulation": "latticemd.simulation",
    "load_simulation": "latticemd.build",
    "load_integrator": "latticemd.integrators",
    "When": "latticemd.schedules",
    "Ramp": "latticemd.ramps",
    "load_plugin": "latticemd.plugins",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'latticemd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
