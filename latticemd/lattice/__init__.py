"""Lattices: a grid of unit cells with a basis, its boundaries, neighbour shells, bonds and symmetry operations.

`cells` has the unit cells and their shells, `custom` those that users describe, `boundary` what closes the grid,
`lattice` the sites and bonds, `points` what has none, `symmetry` the space group as permutations of sites, `irreps` the
representations of the point group.
"""

from latticemd.lattice.cells import UNIT_CELLS, UnitCell
from latticemd.lattice.lattice import Bonds, Lattice, Stencil
from latticemd.lattice.points import POINTS, Points
from latticemd.lattice.symmetry import Operation, Symmetry

__all__ = ["POINTS", "UNIT_CELLS", "Bonds", "Lattice", "Operation", "Points", "Stencil", "Symmetry", "UnitCell"]
