"""Lattices: counting, geometry and the complete space group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticemd import Lattice
from latticemd.errors import InputError

EXTENTS = st.tuples(st.integers(3, 7), st.integers(3, 7))


@given(EXTENTS)
def test_every_site_of_a_square_lattice_has_four_neighbours_and_two_bonds(shape):
    lattice = Lattice("square", shape)
    bonds, table = lattice.bonds(), lattice.neighbours()
    assert len(bonds.i) == 2 * lattice.sites
    assert table.shape == (lattice.sites, 4)
    assert all(len(set(row)) == 4 for row in table.tolist())
    assert len({frozenset(pair) for pair in zip(bonds.i.tolist(), bonds.j.tolist(), strict=True)}) == len(bonds.i)
    assert {tuple(sorted(pair)) for pair in zip(bonds.i, bonds.j, strict=True)} == {
        tuple(sorted((i, j))) for i, row in enumerate(table) for j in row
    }


@given(EXTENTS, st.integers(1, 3))
def test_shells_have_the_distances_of_the_square_lattice(shape, shell):
    if min(shape) < 5:
        return
    bonds = Lattice("square", shape).bonds(shell)
    np.testing.assert_allclose(np.linalg.norm(bonds.vector, axis=1), [1.0, np.sqrt(2.0), 2.0][shell - 1])


@given(EXTENTS)
def test_symmetry_operations_are_permutations_that_keep_bonds_and_form_a_group(shape):
    lattice = Lattice("square", shape)
    operations = list(lattice.symmetries())
    point_operations = 8 if shape[0] == shape[1] else 4
    assert len(lattice.point_group) == point_operations
    assert len(operations) == lattice.sites * point_operations
    bonds = lattice.bonds()
    pairs = {frozenset(pair) for pair in zip(bonds.i.tolist(), bonds.j.tolist(), strict=True)}
    seen = set()
    for operation in operations:
        image = operation.permutation
        assert sorted(image) == list(range(lattice.sites))
        seen.add(tuple(image.tolist()))
        assert {frozenset(pair) for pair in zip(image[bonds.i].tolist(), image[bonds.j].tolist(), strict=True)} == pairs
        np.testing.assert_allclose(operation.rotation @ operation.rotation.T, np.eye(2), atol=1e-12)
    first, last = operations[1].permutation, operations[-1].permutation
    assert tuple(first[last].tolist()) in seen


def test_sites_are_numbered_in_c_order():
    lattice = Lattice("square", (3, 5))
    assert lattice.positions[7].tolist() == [1.0, 2.0]
    assert lattice.site(np.array([4, -1])) == 1 * 5 + 4


@pytest.mark.parametrize(("shape", "bipartite"), [((4, 6), True), ((3, 4), False), ((5, 5), False)])
def test_odd_periods_frustrate_the_checkerboard(shape, bipartite):
    assert Lattice("square", shape).bipartite is bipartite


@pytest.mark.parametrize(("arguments", "words"), [
    (("square", (2, 2)), "use shape: [3, 3]"),
    (("square", (4,)), "2 directions"),
    (("sqare", (4, 4)), "square"),
])  # fmt: skip
def test_impossible_lattices_are_refused(arguments, words):
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        Lattice(*arguments)
