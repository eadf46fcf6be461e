"""Bonds of every lattice and boundary: how many, how long, and what phase."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd import Lattice
from latticemd.errors import InputError
from latticemd.lattice import UNIT_CELLS

TYPES = sorted(UNIT_CELLS)
SQRT2, SQRT3 = np.sqrt(2.0), np.sqrt(3.0)
SHELLS = {
    "chain": [(2, 1), (2, 2), (2, 3)],
    "ladder": [(3, 1), (2, SQRT2), (2, 2)],
    "square": [(4, 1), (4, SQRT2), (4, 2)],
    "triangular": [(6, 1), (6, SQRT3), (6, 2)],
    "honeycomb": [(3, 1), (6, SQRT3), (3, 2)],
    "kagome": [(4, 1), (4, SQRT3), (6, 2)],
    "cubic": [(6, 1), (12, SQRT2), (8, SQRT3)],
}


def lattice_of(kind, cells=7, boundary="periodic"):
    return Lattice(kind, (cells,) * len(UNIT_CELLS[kind].vectors), boundary)


def hamiltonian(lattice, t=1.0):
    """-t sum_<ij> (phase_ij c+_i c_j + h.c.)."""
    bonds, h = lattice.bonds(), np.zeros((lattice.sites,) * 2, dtype=complex)
    np.add.at(h, (bonds.i, bonds.j), -t * bonds.phase)
    return h + h.conj().T


@st.composite
def lattices(draw, kinds=TYPES, most=6):
    """Any lattice that is large enough for its nearest neighbours, with any boundaries."""
    kind = draw(st.sampled_from(kinds))
    boundary = st.sampled_from(["periodic", "open", "antiperiodic", 0.25, -0.7])
    each = draw(st.lists(boundary, min_size=len(UNIT_CELLS[kind].vectors), max_size=len(UNIT_CELLS[kind].vectors)))
    most = 4 if kind == "cubic" else most
    shape = [draw(st.integers(1 if one == "open" else UNIT_CELLS[kind].smallest, most)) for one in each]
    return Lattice(kind, shape, each)


@pytest.mark.parametrize("kind", TYPES)
def test_shells_have_the_coordination_numbers_and_distances_of_the_textbook(kind):
    lattice = lattice_of(kind)
    for shell, (coordination, distance) in enumerate(SHELLS[kind], start=1):
        bonds = lattice.bonds(shell)
        assert 2 * len(bonds.i) == coordination * lattice.sites
        np.testing.assert_allclose(np.linalg.norm(bonds.vector, axis=1), distance, rtol=1e-12)
        table = lattice.neighbours(shell)
        assert table.shape == (lattice.sites, coordination)
        assert all(len({i, *row}) == coordination + 1 for i, row in enumerate(table.tolist()))


@given(lattices(), st.integers(1, 2))
@settings(deadline=None)
def test_vectors_lead_from_site_to_site(lattice, shell):
    try:
        bonds = lattice.bonds(shell)
    except InputError:
        return  # around a short period
    away = lattice.positions[bonds.i] + bonds.vector - lattice.positions[bonds.j]
    boxes = away @ np.linalg.pinv(np.array(lattice.shape)[:, None] * lattice.vectors)
    np.testing.assert_allclose(boxes, np.rint(boxes), atol=1e-12)
    np.testing.assert_allclose(np.rint(boxes) @ (np.array(lattice.shape)[:, None] * lattice.vectors), away, atol=1e-12)
    assert not np.rint(boxes)[:, ~np.array(lattice.periodic)].any()
    pairs = {frozenset(pair) for pair in zip(bonds.i.tolist(), bonds.j.tolist(), strict=True)}
    assert len(pairs) == len(bonds.i)


@given(lattices(), st.integers(1, 2))
@settings(deadline=None)
def test_bonds_neighbours_adjacency_and_stencil_say_the_same(lattice, shell):
    try:
        bonds = lattice.bonds(shell)
    except InputError:
        return
    dense = np.zeros((lattice.sites,) * 2)
    dense[bonds.i, bonds.j] = dense[bonds.j, bonds.i] = 1.0
    np.testing.assert_array_equal(lattice.adjacency(shell).toarray(), dense)
    table = lattice.neighbours(shell)
    from_table = np.zeros_like(dense)
    rows = np.repeat(np.arange(lattice.sites), table.shape[1])[table.ravel() >= 0]
    from_table[rows, table[table >= 0]] = 1.0
    np.testing.assert_array_equal(from_table, dense)
    if not all(lattice.periodic):
        with pytest.raises(InputError, match="adjacency"):
            lattice.stencil(shell)
        return
    from latticemd.backends import specification

    x, around = np.random.default_rng(0).normal(size=(1, lattice.sites, 1)), np.zeros((1, lattice.sites, 1))
    specification.neighbour_sum(lattice.stencil(shell), x, around, 0.0, 1.0, around)
    np.testing.assert_allclose(around[0, :, 0], dense @ x[0, :, 0], atol=1e-12)


@given(lattices())
@settings(deadline=None)
def test_only_bonds_across_a_twisted_boundary_have_a_phase(lattice):
    bonds = lattice.bonds()
    straight = np.abs(lattice.positions[bonds.j] - lattice.positions[bonds.i] - bonds.vector).max(axis=1) < 1e-9
    np.testing.assert_array_equal(bonds.phase[straight], 1.0)
    np.testing.assert_allclose(np.abs(bonds.phase), 1.0, rtol=1e-15)
    assert np.iscomplexobj(bonds.phase) == any(isinstance(one, float) for one in lattice.boundary)
    assert lattice.twisted == any(one not in ("periodic", "open") for one in lattice.boundary)
    if not lattice.twisted:
        np.testing.assert_array_equal(bonds.phase, 1.0)


@pytest.mark.parametrize(("boundary", "theta"), [("periodic", 0.0), ("antiperiodic", 1.0), (0.3, 0.3), (-1.6, 0.4)])
@pytest.mark.parametrize(
    ("kind", "direction"), [("chain", 0), ("ladder", 0), ("square", 1), ("triangular", 0), ("cubic", 2)]
)
def test_an_electron_that_goes_once_around_picks_up_the_twist(kind, direction, boundary, theta):
    each = ["periodic"] * len(UNIT_CELLS[kind].vectors)
    each[direction] = boundary
    lattice = Lattice(kind, [4] * len(each), each)
    h, step = hamiltonian(lattice, t=-1.0), np.eye(len(each), dtype=int)[direction]
    path = lattice.site(np.arange(5)[:, None] * step)
    around = np.prod([h[there, here] for here, there in itertools.pairwise(path)])
    assert around == pytest.approx(np.exp(1j * np.pi * theta), abs=1e-14)


@pytest.mark.parametrize(("cells", "theta"), [(5, 0.0), (6, 1.0), (7, 0.25), (4, -0.9)])
def test_twisted_chain_has_the_shifted_cosine_band(cells, theta):
    """-2t cos k with k = (2 m + theta) pi / L."""
    k = np.pi * (2 * np.arange(cells) + theta) / cells
    levels = np.linalg.eigvalsh(hamiltonian(Lattice("chain", (cells,), theta)))
    np.testing.assert_allclose(levels, np.sort(-2 * np.cos(k)), atol=1e-13)


def test_open_chain_and_open_square_are_standing_waves():
    k = np.pi * np.arange(1, 6) / 6
    chain = np.linalg.eigvalsh(hamiltonian(Lattice("chain", (5,), "open")))
    np.testing.assert_allclose(chain, np.sort(-2 * np.cos(k)), atol=1e-13)
    strip = np.linalg.eigvalsh(hamiltonian(Lattice("square", (5, 4), ["open", "antiperiodic"])))
    q = np.pi * (2 * np.arange(4) + 1) / 4
    np.testing.assert_allclose(strip, np.sort((-2 * np.cos(k)[:, None] - 2 * np.cos(q)).ravel()), atol=1e-13)


@pytest.mark.parametrize("twist", [(0.0, 0.0), (0.3, 0.0), (1.0, 0.6)], ids=str)
def test_bands_of_the_lattices_with_a_basis(twist):
    """Square and triangular cosines, honeycomb +-|f(k)|, kagome with its flat band at +2t, ladder -2t cos k -+ t."""
    cells = (5, 4)
    m, n = np.meshgrid(
        *(np.pi * (2 * np.arange(c) + theta) / c for c, theta in zip(cells, twist, strict=True)), indexing="ij"
    )
    six = np.cos(m) + np.cos(n) + np.cos(m - n)
    f = np.abs(1 + np.exp(1j * m) + np.exp(1j * n))
    root = np.sqrt(3 + 2 * six)
    expected = {
        "square": [-2 * np.cos(m) - 2 * np.cos(n)],
        "triangular": [-2 * six],
        "honeycomb": [-f, f],
        "kagome": [np.full_like(m, 2.0), -1 + root, -1 - root],
    }
    for kind, bands in expected.items():
        levels = np.linalg.eigvalsh(hamiltonian(Lattice(kind, cells, twist)))
        np.testing.assert_allclose(levels, np.sort(np.ravel(bands)), atol=1e-12, err_msg=kind)
    k = np.pi * (2 * np.arange(5) + twist[0]) / 5
    ladder = np.linalg.eigvalsh(hamiltonian(Lattice("ladder", (5,), twist[0])))
    np.testing.assert_allclose(ladder, np.sort(np.ravel([-2 * np.cos(k) - 1, -2 * np.cos(k) + 1])), atol=1e-13)


def test_the_cubic_band():
    k = [np.pi * (2 * np.arange(c) + theta) / c for c, theta in zip((3, 4, 3), (0.2, 0.0, 1.0), strict=True)]
    expected = -2 * sum(np.cos(axis) for axis in np.meshgrid(*k, indexing="ij"))
    levels = np.linalg.eigvalsh(hamiltonian(Lattice("cubic", (3, 4, 3), (0.2, 0.0, 1.0))))
    np.testing.assert_allclose(levels, np.sort(expected.ravel()), atol=1e-12)


@given(lattices())
@settings(deadline=None)
def test_staggered_signs_are_a_two_colouring_where_there_is_one(lattice):
    """A graph has two colours exactly if its spectrum, without phases, is symmetric."""
    assert set(np.unique(lattice.staggered)) <= {-1.0, 1.0}
    levels = np.linalg.eigvalsh(lattice.adjacency().toarray())
    assert lattice.bipartite == np.allclose(levels, -levels[::-1], atol=1e-9)
    if lattice.bipartite:
        bonds = lattice.bonds()
        np.testing.assert_array_equal(lattice.staggered[bonds.i], -lattice.staggered[bonds.j])


@given(st.tuples(st.integers(3, 6), st.integers(3, 6)))
def test_on_a_square_lattice_the_signs_are_the_checkerboard(shape):
    lattice = Lattice("square", shape)
    np.testing.assert_array_equal(lattice.staggered, (-1.0) ** lattice.cells.sum(axis=1))
