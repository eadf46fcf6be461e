"""Irreps of point groups: orthogonality, homomorphism, Mulliken's names, and the functions they are named for."""

from __future__ import annotations

import numpy as np
import pytest
from test_lattice_symmetry import CUSTOM, custom

from latticemd import Lattice
from latticemd.lattice import UNIT_CELLS, Operation, UnitCell
from latticemd.lattice.irreps import irreps_of

PINWHEEL = [[0.3, 0.1], [-0.1, 0.3], [-0.3, -0.1], [0.1, -0.3]]
LATTICES = {
    **{kind: Lattice(kind, (4,) * len(cell.vectors)) for kind, cell in UNIT_CELLS.items()},
    **{name: custom(name) for name in CUSTOM},
    "a pinwheel": Lattice("custom", (4, 4), "periodic", [[1, 0], [0, 1]], PINWHEEL),
    "an open square": Lattice("square", (4, 4), "open"),
    "an open triangle": Lattice("triangular", (3, 3), "open"),
}
POINT_GROUPS = {
    "1": "A", "-1": "Ag Au", "2": "A B", "m": "A' A''", "2/m": "Ag Bg Au Bu", "222": "A B1 B2 B3", "mm2": "A1 A2 B1 B2",
    "mmm": "Ag B1g B2g B3g Au B1u B2u B3u", "4": "A B E", "-4": "A B E", "4/m": "Ag Bg Eg Au Bu Eu", "422": "A1 A2 B1 B2 E",
    "4mm": "A1 A2 B1 B2 E", "-42m": "A1 A2 B1 B2 E", "4/mmm": "A1g A2g B1g B2g Eg A1u A2u B1u B2u Eu", "3": "A E",
    "-3": "Ag Eg Au Eu", "32": "A1 A2 E", "3m": "A1 A2 E", "-3m": "A1g A2g Eg A1u A2u Eu", "6": "A B E1 E2",
    "-6": "A' E' A'' E''", "6/m": "Ag Bg E1g E2g Au Bu E1u E2u", "622": "A1 A2 B1 B2 E1 E2", "6mm": "A1 A2 B1 B2 E1 E2",
    "-6m2": "A1' A2' E' A1'' A2'' E''", "6/mmm": "A1g A2g B1g B2g E1g E2g A1u A2u B1u B2u E1u E2u", "23": "A E T",
    "m-3": "Ag Eg Tg Au Eu Tu", "432": "A1 A2 E T1 T2", "-43m": "A1 A2 E T1 T2",
    "m-3m": "A1g A2g Eg T1g T2g A1u A2u Eu T1u T2u",
}  # fmt: skip


def product_table(rotations):
    products = rotations[:, None] @ rotations[None]
    return np.array([[np.abs(rotations - one).max(axis=(1, 2)).argmin() for one in row] for row in products])


def assert_irreps(irreps, rotations):
    size = len(rotations)
    table = product_table(rotations)
    for irrep in irreps:
        products = irrep.matrices[:, None] @ irrep.matrices[None]
        np.testing.assert_allclose(products, irrep.matrices[table], atol=1e-10, err_msg=irrep.name)
        orthogonal = irrep.matrices @ irrep.matrices.transpose(0, 2, 1)
        np.testing.assert_allclose(orthogonal - np.eye(irrep.dimension), 0.0, atol=1e-10)
    characters = np.array([irrep.character for irrep in irreps])
    expected = size * np.diag([irrep.copies for irrep in irreps])
    np.testing.assert_allclose(characters @ characters.T, expected, atol=1e-10)
    assert sum(irrep.dimension**2 / irrep.copies for irrep in irreps) == size
    np.testing.assert_array_equal(irreps[0].character, 1.0)
    assert len({irrep.name for irrep in irreps}) == len(irreps)


def turned(functions, points, rotations):
    """The matrices D with f_k(g^-1 r) = sum_l f_l(r) D_lk(g) for functions of points (P, D), by least squares: (G, n, n)."""
    before = np.array([f(*points.T) for f in functions]).T
    images = [np.array([f(*(points @ rotation).T) for f in functions]).T for rotation in rotations]  # g^-1 r = r @ g
    return np.array([np.linalg.lstsq(before, image, rcond=None)[0] for image in images])


@pytest.mark.parametrize("name", LATTICES)
def test_characters_are_orthogonal_and_matrices_multiply_as_the_operations(name):
    lattice = LATTICES[name]
    assert_irreps(lattice.irreps(), np.array([operation.rotation for operation in lattice.point_group]))


@pytest.mark.parametrize(("kind", "functions"), [
    ("square", {
        "A1": [lambda x, y: x * x + y * y], "A2": [lambda x, y: x * y * (x * x - y * y)], "B1": [lambda x, y: x * x - y * y],
        "B2": [lambda x, y: x * y], "E": [lambda x, y: x, lambda x, y: y],
    }),
    ("honeycomb", {
        "A1": [lambda x, y: x * x + y * y], "A2": [lambda x, y: x * y * (3 * x**4 - 10 * x * x * y * y + 3 * y**4)],
        "B1": [lambda x, y: x**3 - 3 * x * y * y], "B2": [lambda x, y: 3 * x * x * y - y**3],
        "E1": [lambda x, y: x, lambda x, y: y], "E2": [lambda x, y: x * x - y * y, lambda x, y: 2 * x * y],
    }),
    ("ladder", {
        "A1": [lambda x, y: x * x], "A2": [lambda x, y: x * y], "B1": [lambda x, y: x], "B2": [lambda x, y: y],
    }),
    ("cubic", {
        "A1g": [lambda x, y, z: x * x + y * y + z * z], "A2u": [lambda x, y, z: x * y * z],
        "Eg": [lambda x, y, z: (2 * z * z - x * x - y * y) / 3**0.5, lambda x, y, z: x * x - y * y],
        "T1u": [lambda x, y, z: x, lambda x, y, z: y, lambda x, y, z: z],
        "T2g": [lambda x, y, z: y * z, lambda x, y, z: z * x, lambda x, y, z: x * y],
    }),
])  # fmt: skip
def test_irreps_are_those_of_their_basis_functions(kind, functions):
    lattice = LATTICES[kind]
    rotations = np.array([operation.rotation for operation in lattice.point_group])
    points = np.random.default_rng(0).normal(size=(40, lattice.dimensions))
    irreps = {irrep.name: irrep for irrep in lattice.irreps()}
    for name, basis in functions.items():
        matrices = turned(basis, points, rotations)
        np.testing.assert_allclose(
            np.trace(matrices, axis1=1, axis2=2), irreps[name].character, atol=1e-10, err_msg=name
        )
        if name in ("E", "E1", "E2", "T1u"):
            np.testing.assert_allclose(matrices, irreps[name].matrices, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("symbol", POINT_GROUPS)
def test_names_of_all_crystallographic_point_groups_are_mullikens(symbol):
    spglib = pytest.importorskip("spglib")
    kinds = (spglib.get_spacegroup_type(number) for number in range(1, 531))
    number = next(kind.hall_number for kind in kinds if kind.pointgroup_international == symbol)
    integers = np.unique(spglib.get_symmetry_from_database(number)["rotations"], axis=0)
    h = np.sqrt(0.75)
    hexagonal = symbol[0] in "36" or symbol[:2] in ("-3", "-6")
    vectors = ((1.0, 0.0, 0.0), (-0.5, h, 0.0), (0.0, 0.0, 1.0)) if hexagonal else tuple(map(tuple, np.eye(3).tolist()))
    frame = np.array(vectors)
    rotations = frame.T @ integers @ np.linalg.inv(frame.T)
    operations = [
        Operation("", m, r, np.zeros(1, int), np.zeros((1, 3), int)) for m, r in zip(integers, rotations, strict=True)
    ]
    irreps = irreps_of(operations, UnitCell(vectors, ((0.0, 0.0, 0.0),)))
    assert sorted(irrep.name for irrep in irreps) == sorted(POINT_GROUPS[symbol].split())
    assert_irreps(irreps, rotations)


def test_conjugate_pairs_are_one_real_irrep():
    irreps = LATTICES["a pinwheel"].irreps()
    assert [(irrep.name, irrep.dimension, irrep.copies) for irrep in irreps] == [("A", 1, 1), ("B", 1, 1), ("E", 2, 2)]


def test_matrices_do_not_depend_on_the_call():
    first, second = (Lattice("triangular", (3, 3)).irreps() for _ in range(2))
    assert [a.matrices.tobytes() for a in first] == [b.matrices.tobytes() for b in second]
