"""The door to ASE, the Atomic Simulation Environment: sites as atoms, force fields as calculators, runs as trajectories.

======================  =================================================================================
`LatticeCalculator`     energy, forces and magnetic moments of any lattice model with any force field
`PointCalculator`       forces of trained networks of points, on real atoms
`atoms_of`              the atoms that stand for a configuration of a model
`configuration_of`      and back: the configuration that atoms stand for
`momenta_of`            the same for momenta
`read_latticemd`        frames of a run as atoms; `ase.io.read` finds it for files called trajectory.h5
`write_latticemd`       atoms as a trajectory that runs can start from, `ase.io.write(..., format="latticemd")`
======================  =================================================================================

Units: ASE measures energies in eV, lengths in Angstrom and masses in atomic mass units, and the unit of time that follows
from them, Angstrom sqrt(u/eV), is the one that ASE's numbers are in. A model's [energy], [length], [mass] and [time] are
therefore ASE's without any factor: a time step of 0.05 here is `timestep=0.05` there, not 0.05 `ase.units.fs`.

Reference: Hjorth Larsen et al., doi:10.1088/1361-648X/aa680e (ASE).
"""

from __future__ import annotations

import importlib
from typing import Any

from latticemd.errors import InputError

try:
    import ase  # noqa: F401
except ImportError as error:
    raise InputError("latticemd.ase needs ASE: pip install 'latticemd[ase]'") from error

_HOMES = {
    "LatticeCalculator": "latticemd.ase.calculator",
    "register": "latticemd.ase.calculator",
    "PointCalculator": "latticemd.ase.points",
    "atoms_of": "latticemd.ase.sites",
    "configuration_of": "latticemd.ase.sites",
    "momenta_of": "latticemd.ase.sites",
    "read_latticemd": "latticemd.ase.trajectories",
    "write_latticemd": "latticemd.ase.trajectories",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'latticemd.ase' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
