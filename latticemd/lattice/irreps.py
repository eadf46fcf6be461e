"""Irreducible representations of point groups over the real numbers, and their Mulliken names.

Groups of chains and planes are named as if they acted in space and left what they do not know alone: the group of the
square lattice, D4 as it acts in the plane, is C4v there, with A1, A2, B1 (x^2 - y^2), B2 (xy) and E (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latticemd.lattice.cells import Array, UnitCell, shortening
from latticemd.lattice.symmetry import Operation


@dataclass(frozen=True, eq=False)
class Irrep:
    """An irreducible representation, one orthogonal real matrix per operation of a point group.

    ==============  ===================  ==========================================================================
    field           shape                meaning
    ==============  ===================  ==========================================================================
    name                                 Mulliken's symbol, such as A1, B2, E or T1u
    matrices        (G, n, n)            D(g), with D(g) D(h) = D(g h), in the order of the operations
    copies                               1; or 2 where it falls into two conjugate ones over the complex numbers
    ==============  ===================  ==========================================================================

    Characters are orthogonal: sum_g chi_a(g) chi_b(g) = G copies delta_ab, and the sum of n^2 / copies over all irreps is G.
    """

    name: str
    matrices: Array
    copies: int

    @property
    def dimension(self) -> int:
        """n."""
        return int(self.matrices.shape[1])

    @property
    def character(self) -> Array:
        """chi(g) = Tr D(g), (G,)."""
        return np.trace(self.matrices, axis1=1, axis2=2)


def irreps_of(operations: Sequence[Operation], cell: UnitCell) -> list[Irrep]:
    """All irreps of the group of these operations, the totally symmetric one first.

    The irrep of vectors has the matrices `rotation`, and any other of three dimensions has them up to signs; the basis of other
    two-dimensional ones is an even and an odd function under a reflection, such as (x^2 - y^2, 2xy), that turn forwards.
    Cost: milliseconds, once the packages are imported. Source of the matrices: spgrep, doi:10.21105/joss.05269.
    """
    from spgrep import get_crystallographic_pointgroup_irreps_from_symmetry

    # spgrep knows groups by their small integers.
    short = shortening(cell.frame)
    back = np.rint(np.linalg.inv(short.T)).astype(int)
    integers = np.tile(np.eye(3, dtype=int), (len(operations), 1, 1))
    turned = np.tile(np.eye(3), (len(operations), 1, 1))
    space = len(short)
    for k, operation in enumerate(operations):
        integers[k, :space, :space] = back @ operation.block @ short.T
        turned[k, :space, :space] = operation.rotation
    found = [np.asarray(m) for m in get_crystallographic_pointgroup_irreps_from_symmetry(integers, real=True)]
    characters = [np.rint(np.trace(m, axis1=1, axis2=2)) for m in found]
    signs = [character for character, m in zip(characters, found, strict=True) if m.shape[1] == 1]
    rotations = np.array([operation.rotation for operation in operations])
    names = _Names(turned, any(m.shape[1] == 3 for m in found))
    irreps = []
    for matrices, character in zip(found, characters, strict=True):
        settled = _settled(matrices, character, signs, rotations, names.reference)
        irreps.append(Irrep(names.name(character), settled, int(np.rint(np.mean(character**2)))))
    return sorted(irreps, key=lambda irrep: (irrep.name.endswith("u"), irrep.name.endswith("''"), irrep.name))


def _settled(matrices: Array, character: Array, signs: list[Array], rotations: Array, reference: int | None) -> Array:
    """The same representation in a basis that does not depend on how it was found."""
    dimension = matrices.shape[1]
    if dimension == 1:
        return character.reshape(-1, 1, 1)
    for sign in [np.ones(len(rotations)), *(signs if dimension == 3 else [])]:
        vectors = sign[:, None, None] * rotations
        if rotations.shape[1] == dimension and np.abs(np.trace(vectors, axis1=1, axis2=2) - character).max() < 1e-6:
            return np.asarray(vectors)
    if dimension != 2:
        return matrices
    odd = np.linalg.det(matrices) < 0
    if odd.any():
        mirror = matrices[reference if reference is not None and odd[reference] else odd.argmax()]
        basis = np.linalg.eigh(0.5 * (mirror + mirror.T))[1][:, ::-1]
        matrices = basis.T @ matrices @ basis
    mixing = np.abs(matrices[:, 1, 0]) > 0.1
    angle = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]) if rotations.shape[1] == 2 else np.arange(len(rotations))
    turning = mixing & (angle > 1e-6) & (np.linalg.det(rotations) > 0)
    if matrices[np.where(turning, angle, np.inf).argmin(), 1, 0] < 0:
        matrices = matrices * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return np.asarray(matrices)


class _Names:
    """Mulliken's rules, from the characters at a few operations of a group that are told by their rotations (G, 3, 3).

    `principal` is the rotation, or rotoreflection of order 4, of highest order: it tells A from B and E1 from E2.
    `reference` is a twofold axis across it, or else a reflection along it, nearest to the x axis: it tells 1 from 2. In
    groups with threefold representations both are the rotation or rotoreflection of order 4.
    """

    def __init__(self, rotations: Array, polyhedral: bool) -> None:
        self.determinant = np.rint(np.linalg.det(rotations))
        proper = self.determinant[:, None, None] * rotations
        self.order = np.array([_order(rotation) for rotation in proper])
        self.axis = np.array([_axis(rotation) for rotation in proper])
        self.polyhedral = polyhedral
        self.inversion = _first((self.determinant < 0) & (self.order == 1))
        self.principal = self._principal()
        self.reference = self.principal if polyhedral else self._reference()
        self.plane = self._plane()

    def name(self, character: Array) -> str:
        """The symbol of the irrep with this character (G,)."""
        dimension = int(np.rint(character[(self.determinant > 0) & (self.order == 1)][0]))
        parity = "" if self.inversion is None else ("g" if character[self.inversion] > 0 else "u")
        prime = "" if self.plane is None else ("'" if character[self.plane] > 0 else "''")
        return self._letter(character, dimension) + self._index(character, dimension) + prime + parity

    def _letter(self, character: Array, dimension: int) -> str:
        if dimension > 1:
            return "ET"[dimension - 2]
        if self.polyhedral or (twofold := self._twofold_axes()) is None:
            even = self.polyhedral or self.principal is None or character[self.principal] > 0
            return "A" if even else "B"
        return "A" if (character[twofold] > 0).all() else "B"

    def _index(self, character: Array, dimension: int) -> str:
        twofold = None if self.polyhedral else self._twofold_axes()
        if twofold is not None:
            return "" if (character[twofold] > 0).all() else str(1 + int((character[twofold] > 0).argmax()))
        if dimension == 2:
            order = 0 if self.principal is None or self.polyhedral else self.order[self.principal]
            # Only a sixfold axis has two of them; E_m turns by m times the angle of the axis.
            return ("1" if character[self.principal] > 0 else "2") if order == 6 else ""
        if self.reference is None:
            return ""
        return "1" if character[self.reference] > 0 else "2"

    def _principal(self) -> int | None:
        improper_four = (self.determinant < 0) & (self.order == 4)
        highest = self.order[self.determinant > 0].max()
        if self.polyhedral:
            proper_four = (self.determinant > 0) & (self.order == 4)
            return _first(proper_four if proper_four.any() else improper_four)
        if highest == 2 and improper_four.any():
            return _first(improper_four)
        return None if highest == 1 else self._nearest((self.determinant > 0) & (self.order == highest), 2)

    def _reference(self) -> int | None:
        if self.principal is None:
            return None
        across = np.abs(self.axis @ self.axis[self.principal]) < 1e-6
        axes = (self.determinant > 0) & (self.order == 2) & across
        if axes.any():
            return self._nearest(axes, 0)
        mirrors = (self.determinant < 0) & (self.order == 2) & across
        return self._nearest(mirrors, 1) if mirrors.any() else None

    def _plane(self) -> int | None:
        """The reflection across the principal axis, where there is no inversion that would say the same."""
        if self.inversion is not None or self.polyhedral:
            return None
        mirrors = (self.determinant < 0) & (self.order == 2)
        if self.principal is not None:
            mirrors &= np.abs(self.axis @ self.axis[self.principal]) > 1 - 1e-6
        return _first(mirrors)

    def _twofold_axes(self) -> list[int] | None:
        """Three perpendicular twofold axes that nothing tells apart, from the one nearest to z to that nearest to x."""
        axes = (self.determinant > 0) & (self.order == 2)
        if axes.sum() != 3 or self.order.max() > 2:
            return None
        third = self._nearest(axes, 2)
        axes[third] = False
        second = self._nearest(axes, 1)
        axes[second] = False
        return [third, second, int(axes.argmax())]

    def _nearest(self, among: Array, direction: int) -> int:
        """The operation among some whose axis is nearest to a direction x, y or z."""
        return int(np.where(among, np.abs(self.axis[:, direction]).round(6), -1.0).argmax())


def _order(proper: Array) -> int:
    angle = np.arccos(np.clip((np.trace(proper) - 1) / 2, -1, 1))
    return 1 if angle < 1e-6 else round(2 * np.pi / angle)


def _axis(proper: Array) -> Array:
    """The unit vector that a rotation leaves alone; any for the identity."""
    values, vectors = np.linalg.eig(proper)
    return np.real(vectors[:, np.abs(values - 1).argmin()])


def _first(which: Array) -> int | None:
    return int(which.argmax()) if which.any() else None
