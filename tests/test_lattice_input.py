"""Lattices from an input: what is refused and how it is said, what a trajectory remembers, and the box a viewer sees."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latticemd import Lattice, observables
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.figures import read_run
from latticemd.output.h5md import box_of
from latticemd.output.trajectory import read_trajectory
from latticemd.runner import run

INPUT = """
lattice: {type: TYPE, shape: SHAPE}
model: {name: holstein}
dynamics: {integrator: overdamped, dt: 0.1, steps: 2, temperature: 0.1, friction: 0.2}
output: {every: 1, figures: false}
"""


@pytest.fixture
def load(tmp_path):
    def load(kind, shape, *settings):
        path = tmp_path / "input.yaml"
        path.write_text(INPUT.replace("TYPE", kind).replace("SHAPE", str(list(shape))))
        return load_input(path, [f"output.directory={tmp_path / 'run'}", *settings])

    return load


@pytest.mark.parametrize(("boundary", "normal"), [
    ("open", ("open", "open")),
    ("[periodic, open]", ("periodic", "open")),
    ("0.25", (0.25, 0.25)),
    ("[1, 0.0]", ("antiperiodic", "periodic")),
    ("[-1.75, 3]", (0.25, "antiperiodic")),
])  # fmt: skip
def test_boundaries_are_words_or_twists(load, boundary, normal):
    assert load("square", (4, 4), f"lattice.boundary={boundary}").lattice.to_lattice().boundary == normal


@pytest.mark.parametrize(("kind", "shape", "setting", "said"), [
    ("hexagonal", (4, 4), None, "lattice.type: expected one of chain, ladder, square, triangular, honeycomb, kagome, cubic, c"),
    ("honeycom", (4, 4), None, "did you mean 'honeycomb'?"),
    ("ladder", (4, 2), None, "lattice.shape: lattice ladder has 1 directions, but shape [4, 2] has 2"),
    ("triangular", (2, 4), None, "nearest neighbours of a periodic triangular lattice need at least 3 cells "
     "per direction; use shape: [3, 4] or boundary: open"),
    ("square", (4, 4), "lattice.boundary=opne", "did you mean 'open'?"),
    ("square", (4, 4), "lattice.boundary=[open, shut]", "lattice.boundary.1: expected 'periodic', 'open', 'antiperiodic' or"),
    ("square", (4, 4), "lattice.boundary=.inf", "lattice.boundary: expected"),
    ("square", (4, 4), "lattice.boundary=true", "lattice.boundary: expected"),
    ("square", (4, 4), "lattice.boundary=[open]", "lattice.boundary: boundary has 1 entries, but the lattice has 2 direction(s)"),
    ("square", (4, 4), "lattice.vectors=[[1, 0], [0, 1]]", "lattice.vectors: a square lattice has its own"),
    ("square", (4, 4), "lattice.basis=[[0, 0]]", "lattice.basis: a square lattice has its own"),
    ("custom", (4, 4), None, "lattice.vectors: missing; expected a list of vectors"),
    ("custom", (4, 4), "lattice.vectors=[[1, 0], [2, 0]]", "lattice.vectors: the primitive vectors [[1.0, 0.0], [2.0, 0.0]]"),
    ("custom", (4, 4), "lattice.vectors=[[1, 0], [0]]", "lattice.vectors: vectors are 1 to 3 rows of equally many numbers"),
    ("custom", (4, 4), "lattice.vectors=[[1, 0], [0, x]]", "lattice.vectors.1.1: expected a number [length], got 'x'"),
    ("custom", (4, 4), "lattice.vectors=[[1, 0], [50, 0.01]]", "choose the shortest vectors of the lattice"),
    ("square", (4, 4), "observables=[{name: correlation}]", None),
    ("honeycomb", (4, 4), "observables=[{name: correlation}]", "observables.0.name: Fourier observables need one site per cell"),
    ("honeycomb", (4, 4), "observables=[{name: structure_factor}]", "observables.0.name: Fourier observables need one site"),
    ("ladder", (4,), "observables=[{name: structure_factor, q: [[1]]}]", "expected 2 components on a ladder lattice, got 1"),
    ("ladder", (4,), "observables=[{name: structure_factor, q: [[1, 0]]}]", None),
])  # fmt: skip
def test_what_makes_no_lattice_is_said_at_its_key(load, kind, shape, setting, said):
    settings = [setting] if setting else []
    if said is None:
        load(kind, shape, *settings)
        return
    with pytest.raises(InputError) as error:
        load(kind, shape, *settings)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("basis", "said"), [
    ([[0]], "basis site 0 has 1 coordinate"),
    ([[0, 0], [1, 2]], "basis sites 0 and 1 are at the same place"),
    ([[0, float("nan")]], "finite"),
    ([], "a basis has 1 to 64 sites, got 0"),
])  # fmt: skip
def test_a_basis_is_sites_at_different_places(basis, said):
    with pytest.raises(InputError, match=said):
        Lattice("custom", (4, 4), "periodic", [[1, 0], [0.3, 1]], basis)


def test_later_shells_need_longer_periods_or_ends():
    with pytest.raises(InputError, match=r"neighbours of shell 3 .* at least 5 cells .* use shape: \[5, 6\]"):
        Lattice("square", (4, 6)).bonds(3)
    assert len(Lattice("square", (4, 6), ["open", "periodic"]).bonds(3).i) == 2 * 6 + 4 * 6
    assert len(Lattice("square", (1, 5), "open").bonds().i) == 4
    assert len(Lattice("square", (1, 1), "open").bonds().i) == 0
    with pytest.raises(InputError, match="at least 1 cell"):
        Lattice("square", (0, 4), "open")


def test_fourier_transforms_need_periods():
    lattice = Lattice("square", (4, 5), ["periodic", "open"])
    with pytest.raises(InputError, match="periodic directions, the boundaries are periodic, open"):
        observables.structure_factor(np.ones((1, 20)), lattice)
    assert observables.structure_factor_at(np.ones((1, 20)), lattice, np.zeros(2)) == pytest.approx(20.0)


def test_a_lattice_in_json_is_what_differs_from_the_default():
    assert Lattice("square", (4, 6)).to_dict() == {"type": "square", "shape": [4, 6]}
    lattice = Lattice("custom", (4, 6), ["open", 0.25], [[1, 0], [0.5, 0.866]])
    assert Lattice.from_dict(json.loads(json.dumps(lattice.to_dict()))) == lattice
    assert lattice.resized((3, 3)).boundary == lattice.boundary


@pytest.mark.parametrize(("lattice", "edges", "boundary"), [
    (Lattice("chain", (5,)), [5, 1, 1], ("periodic", "none", "none")),
    (Lattice("ladder", (5,)), [5, 2, 1], ("periodic", "none", "none")),
    (Lattice("square", (4, 6), ["open", 0.5]), [4, 6, 1], ("none", "periodic", "none")),
    (Lattice("cubic", (3, 4, 5)), [3, 4, 5], ("periodic",) * 3),
    (Lattice("triangular", (4, 6)), [[4, 0, 0], [3, 27**0.5, 0], [0, 0, 1]], ("periodic", "periodic", "none")),
    (Lattice("custom", (4,), "open", [[0, 2]]), [[0, 8, 0], [1, 0, 0], [0, 0, 1]], ("none", "none", "none")),
], ids=str)  # fmt: skip
def test_the_box_spans_the_periods(lattice, edges, boundary):
    found = box_of(lattice)
    np.testing.assert_allclose(found[0], edges, atol=1e-12)
    assert found[1] == boundary


@pytest.mark.parametrize(
    ("kind", "shape"), [("chain", (6,)), ("ladder", (4,)), ("honeycomb", (4, 3)), ("cubic", (3, 3, 3))]
)
def test_a_trajectory_holds_positions_and_a_box_that_closes_every_bond(load, tmp_path, kind, shape):
    run(load(kind, shape))
    with read_trajectory(tmp_path / "run/trajectory.h5") as trajectory:
        lattice = Lattice.from_dict(json.loads(trajectory.attributes["lattice"]))
        (path,) = [name for name in trajectory.elements() if name.endswith("/position")]
        position, displacement = (
            trajectory.value(name)[0] for name in (path, path.replace("position", "displacement"))
        )
        edges = np.asarray(trajectory.value(path.replace("position", "box/edges"))[0], dtype=float)
    position = np.array(position, dtype=float)
    position[:, 2] -= np.asarray(displacement).reshape(-1)  # a scalar is drawn as a height
    np.testing.assert_allclose(position[:, : lattice.dimensions], lattice.positions, atol=1e-6)
    bonds, rows = lattice.bonds(), edges if edges.ndim == 2 else np.diag(edges)
    vector = np.zeros((len(bonds.i), 3))
    vector[:, : lattice.dimensions] = bonds.vector
    periods = (position[bonds.i] + vector - position[bonds.j]) @ np.linalg.inv(rows)
    np.testing.assert_allclose(periods, np.rint(periods), atol=1e-5)
    assert read_run(tmp_path / "run").lattice == lattice
