"""The space group: permutations that keep bonds and turn their vectors, group axioms, and the number of operations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_lattice_bonds import lattices

from latticemd import Lattice
from latticemd.errors import InputError
from latticemd.lattice import UNIT_CELLS
from latticemd.lattice.symmetry import operations_of

CUSTOM = {  # name: (vectors, basis, operations per cell)
    "four digits of a honeycomb": ([[1, 0], [0.5, 0.866]], [[0, 0], [0.3333, 0.3333]], 12),
    "a triangular lattice in skewed vectors": ([[1, 0], [3.5, 0.8660254]], None, 12),
    "four digits of a triangular lattice at 120 degrees": ([[1, 0], [-0.5, 0.866]], None, 12),
    "a square lattice with two sites per cell": ([[1, 0], [0, 1]], [[0, 0], [0.5, 0.5]], 16),
    "a Lieb lattice": ([[2, 0], [0, 2]], [[0, 0], [0.5, 0], [0, 0.5]], 8),
    "a Lieb lattice away from the origin": ([[2, 0], [0, 2]], [[0.1, 0.2], [0.6, 0.2], [0.1, 0.7]], 8),
    "a rectangle": ([[1, 0], [0, 1.3]], None, 4),
    "a centred rectangle": ([[1, 0.4], [1, -0.4]], None, 4),
    "an oblique lattice": ([[1, 0], [0.3, 1.2]], None, 2),
    "a glide line": ([[1, 0], [0, 2]], [[0.1, 0.15], [0.6, -0.15], [0.27, 0.4], [0.77, -0.4]], 2),
    "an oblique cell with a crooked basis": ([[1, 0], [0.3, 1.2]], [[0, 0], [0.2, 0.3], [0.5, 0.1]], 1),
    "a zigzag chain": ([[1, 0]], [[0, 0], [0.5, 0.7]], 4),
    "a ladder of three legs": ([[1, 0]], [[0, 0], [0, 1], [0, 2]], 4),
    "a face-centred cubic lattice": ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], None, 48),
    "a diamond": ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [[0, 0, 0], [0.25, 0.25, 0.25]], 48),
    "a tetragonal lattice": ([[1, 0, 0], [0, 1, 0], [0, 0, 1.5]], None, 16),
    "a tube of four chains": ([[1, 0, 0]], [[0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], 16),
}  # fmt: skip


def custom(name, cells=4, boundary="periodic"):
    vectors, basis, _ = CUSTOM[name]
    return Lattice("custom", (cells,) * len(vectors), boundary, vectors, basis)


def bonds_seen(lattice, shell):
    """(i, j) -> vector, from both ends."""
    bonds = lattice.bonds(shell)
    forwards = zip(bonds.i.tolist(), bonds.j.tolist(), bonds.vector, strict=True)
    return {pair: v for i, j, vector in forwards for pair, v in (((i, j), vector), ((j, i), -vector))}


def assert_keeps_bonds(lattice, operations):
    for shell in (1, 2):
        try:
            seen = bonds_seen(lattice, shell)
        except InputError:
            continue  # around a short period
        before = np.array(list(seen), dtype=int).reshape(-1, 2)
        vectors = np.array(list(seen.values())).reshape(-1, lattice.dimensions)
        for operation in operations:
            images = [seen.get(pair) for pair in map(tuple, operation.permutation[before].tolist())]
            assert all(image is not None for image in images), (operation.name, shell)
            if images:
                np.testing.assert_allclose(images, vectors @ operation.rotation.T, atol=1e-9, err_msg=operation.name)


def assert_group(operations):
    table = {operation.permutation.tobytes(): operation.rotation for operation in operations}
    assert operations[0].name.startswith("identity")
    np.testing.assert_array_equal(operations[0].permutation, np.arange(len(operations[0].permutation)))
    for one in operations[:: max(1, len(operations) // 12)]:
        np.testing.assert_array_equal(np.sort(one.permutation), np.arange(len(one.permutation)))
        np.testing.assert_allclose(one.rotation @ one.rotation.T, np.eye(len(one.rotation)), atol=1e-12)
        assert np.argsort(one.permutation).tobytes() in table
        for other in operations:
            product = one.permutation[other.permutation].tobytes()
            assert product in table, f"{one.name} after {other.name}"


def faithful(lattice):
    """Whether different operations move sites differently: not where a short box hides a direction."""
    seen = [operation.permutation.tobytes() for operation in lattice.symmetries()]
    return len(set(seen)) == len(seen)


@given(lattices(most=5))
@settings(deadline=None, max_examples=60)
def test_operations_of_any_lattice_and_boundary_keep_bonds_and_form_a_group(lattice):
    operations = list(lattice.symmetries())
    assert_keeps_bonds(lattice, operations[:: max(1, len(operations) // 24)])
    assert_group(operations)


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_lattices_have_the_operations_of_their_crystal(name):
    lattice = custom(name)
    operations = list(lattice.symmetries())
    assert len(operations) == CUSTOM[name][2] * 4**lattice.directions
    assert_keeps_bonds(lattice, operations[:: max(1, len(operations) // 24)])
    if lattice.directions < 3:
        assert_group(operations)


@pytest.mark.parametrize(("kind", "point"), [
    ("chain", 2), ("ladder", 4), ("square", 8), ("triangular", 12), ("honeycomb", 12), ("kagome", 12), ("cubic", 48),
])  # fmt: skip
def test_point_groups_are_those_of_the_textbook_and_closed_about_one_point(kind, point):
    lattice = Lattice(kind, (4,) * len(UNIT_CELLS[kind].vectors))
    assert len(lattice.point_group) == point
    assert_group(list(lattice.symmetries(translations=False)))
    assert sum(1 for _ in lattice.symmetries()) == point * 4**lattice.directions
    assert faithful(lattice)


@pytest.mark.parametrize(("kind", "shape", "boundary", "names"), [
    ("chain", (5,), "open", ["identity", "inversion"]),
    ("square", (4, 4), "open", 8),
    ("square", (4, 5), "open", 4),
    ("square", (1, 1), "open", 8),
    ("honeycomb", (4, 4), "open", 4),
    ("kagome", (4, 4), "open", 2),
    ("cubic", (3, 3, 3), "open", 48),
    ("cubic", (3, 3, 4), "open", 16),
])  # fmt: skip
def test_open_boxes_keep_what_maps_them_to_themselves(kind, shape, boundary, names):
    operations = list(Lattice(kind, shape, boundary).symmetries())
    assert len(operations) == (names if isinstance(names, int) else len(names))
    if not isinstance(names, int):
        assert [operation.name.partition(" +")[0] for operation in operations] == names
        np.testing.assert_array_equal(
            operations[1].permutation, np.arange(shape[0])[::-1]
        )  # about the middle of the box


@pytest.mark.parametrize(("kind", "per_column"), [("square", 4), ("triangular", 4), ("honeycomb", 4), ("kagome", 2)])
def test_strips_keep_translations_along_themselves_alone(kind, per_column):
    lattice = Lattice(kind, (5, 4), ["periodic", "open"])
    operations = list(lattice.symmetries())
    assert len(operations) == 5 * per_column
    assert_keeps_bonds(lattice, operations)
    assert_group(operations)


def test_numbers_with_four_digits_make_the_exact_lattice():
    meant = Lattice("honeycomb", (4, 4))
    lattice = custom("four digits of a honeycomb")
    np.testing.assert_allclose(lattice.vectors, [[1, 0], [0.5, np.sqrt(0.75)]], atol=1e-15)
    np.testing.assert_allclose(np.diff(lattice.cell.basis, axis=0), [[0.5, np.sqrt(1 / 12)]], atol=1e-15)
    for shell in (1, 2, 3):
        vectors = np.linalg.norm(lattice.bonds(shell).vector, axis=1)
        np.testing.assert_allclose(vectors * np.sqrt(3), np.linalg.norm(meant.bonds(shell).vector, axis=1), rtol=1e-14)
        assert len(vectors) == len(meant.bonds(shell).i)


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_lattices_survive_a_dictionary(name):
    lattice = custom(name, boundary=0.25)
    again = Lattice.from_dict(lattice.to_dict())
    assert again == lattice
    assert hash(again) == hash(lattice)
    assert again.cell == lattice.cell


@pytest.mark.parametrize("name", [name for name, (vectors, *_) in CUSTOM.items() if len(vectors) > 1])
def test_spglib_finds_as_many_operations(name):
    """Planes are stacked far apart: the mirror in the plane doubles the group."""
    spglib = pytest.importorskip("spglib")
    lattice = custom(name)
    d = lattice.directions
    cell = np.diag([1.0, 1.0, 50.0])
    cell[:d, :d] = lattice.vectors
    places = np.zeros((len(lattice.cell.basis), 3))
    places[:, :d] = lattice.cell.coordinates
    found = spglib.get_symmetry((cell, places, [1] * len(places)), symprec=1e-6)
    assert len(found["rotations"]) == len(operations_of(lattice.cell)) * (2 if d == 2 else 1)


def test_lengths_whose_squares_vanish_are_refused():
    with pytest.raises(InputError, match="another unit of length"):
        Lattice("custom", (4, 4), "periodic", [[0.0, 2e-286], [2e-286, 0.0]]).symmetries()


@given(
    st.lists(st.lists(st.floats(-2, 2), min_size=2, max_size=2), min_size=2, max_size=2),
    st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=3),
    st.lists(st.sampled_from(["periodic", "open"]), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=60)
def test_whatever_lattice_a_user_invents_has_a_space_group(vectors, basis, boundary):
    try:
        lattice = Lattice("custom", (4, 4), boundary, vectors, basis)
    except InputError:
        assume(False)
    operations = list(lattice.symmetries())
    assert_keeps_bonds(lattice, operations[:: max(1, len(operations) // 12)])
    assert_group(operations)
