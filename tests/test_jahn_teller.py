"""The cooperative Jahn-Teller model: orbitals and modes that turn with the lattice, and the staggered order of both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions, simulation
from electrons import electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.poles import PoleExpansion
from latticemd import Lattice, load_plugin
from latticemd.errors import InputError
from latticemd.lattice import Symmetry
from latticemd.measurements.forces import internal_symmetry_error, symmetry_error
from latticemd.models.jahn_teller import TAU, JahnTeller
from latticemd.observables import local_amplitude, order_parameter
from latticemd.testing import DenseElectrons, assert_agrees
from latticemd.testing.reference import hamiltonian_matrix

QUARTER_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def made(shape=(4, 4), **parameters):
    return JahnTeller(Lattice("square", shape), **parameters)


def turning(rotation):
    """An operation of which only the rotation matters."""
    return Symmetry("test", np.arange(1), np.array(rotation, dtype=float))


def test_hops_along_x_and_y_are_those_of_orbitals_that_point_there():
    model = made(hopping=0.8)
    hops, bonds = model.hops(), model.lattice.bonds()
    for axis, sign in ((0, -1.0), (1, 1.0)):
        along = np.abs(bonds.vector[:, axis]) > 0.5
        expected = -0.2 * np.array([[3.0, sign * np.sqrt(3)], [sign * np.sqrt(3), 1.0]])
        np.testing.assert_allclose(hops.amplitude[along], np.broadcast_to(expected, (along.sum(), 2, 2)), atol=1e-15)


def test_hops_along_z_leave_x2_y2_where_it_is():
    model = JahnTeller(Lattice("cubic", (3, 3, 3)))
    along = np.abs(model.lattice.bonds().vector[:, 2]) > 0.5
    np.testing.assert_allclose(
        model.hops().amplitude[along], np.broadcast_to([[0, 0], [0, -1]], (27, 2, 2)), atol=1e-15
    )


def test_bonds_in_other_directions_are_refused():
    with pytest.raises(InputError, match=r"along x, y and z.*of a honeycomb lattice have other directions"):
        JahnTeller(Lattice("honeycomb", (3, 3)))


def test_one_site_splits_by_twice_the_length_of_q():
    model = made(hopping=0.0, coupling=1.3)
    x = random_positions(model, seed=1)
    energies = np.linalg.eigvalsh(hamiltonian_matrix(model, x))
    split = np.sort(1.3 * np.linalg.norm(x[0], axis=1))
    np.testing.assert_allclose(energies, np.concatenate([-split[::-1], split]), atol=1e-12)


def test_an_isolated_site_is_pushed_outwards_alike_in_all_directions():
    model = made(hopping=0.0, intersite=0.0, coupling=1.3, electronic_temperature=0.1)
    x = random_positions(model, seed=2)
    length = np.linalg.norm(x, axis=2, keepdims=True)
    push = 1.3 * np.tanh(1.3 * length / 0.2)  # (f(-E) - f(E)) E/|Q|, E = lam |Q|
    np.testing.assert_allclose(electrons(ExactDiagonalisation(), model, x).force, push * x / length, atol=1e-12)


@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize(
    "lattice",
    [
        Lattice("square", (3, 4)),
        Lattice("square", (3, 3), ["open", 0.3]),
        Lattice("ladder", (3,)),
        Lattice("cubic", (3, 3, 3)),
    ],
    ids=str,
)
def test_force_is_minus_the_derivative_of_the_free_energy_by_every_coordinate(lattice, ensemble):
    model = JahnTeller(lattice, **ensemble)
    x, h = random_positions(model, seed=3), 1e-3
    shift = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    energy = [forces_and_energy(model, x + n * shift)[1] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    np.testing.assert_allclose(forces_and_energy(model, x)[0].ravel(), -derivative, atol=1e-9)


@pytest.mark.parametrize(
    ("lattice", "count"),
    [(Lattice("square", (4, 4)), 8 * 16), (Lattice("cubic", (3, 3, 3)), 48 * 27)],
    ids=["square", "cubic"],
)
def test_all_operations_of_space_turn_orbitals_and_modes_together(lattice, count):
    model = JahnTeller(lattice, mu=0.2)
    operations = list(model.symmetries())
    assert len(operations) == count  # none of the space group is lost
    error, _ = symmetry_error(lambda x: forces_and_energy(model, x), model, operations, random_positions(model, seed=4))
    assert error < 1e-12


def test_particle_hole_symmetry_is_exact():
    model = made(mu=0.0)
    error, name = internal_symmetry_error(lambda x: forces_and_energy(model, x), model, random_positions(model, seed=5))
    assert name == "particle-hole"
    assert error < 1e-12
    assert not made((3, 4)).internal_symmetries()  # a ring of three is frustrated
    assert not made(mu=0.1).internal_symmetries()


def test_a_quarter_turn_keeps_qz_and_turns_the_sign_of_qx():
    np.testing.assert_allclose(made().representation(turning(QUARTER_TURN)), np.diag([-1.0, 1.0]), atol=1e-15)
    np.testing.assert_allclose(made().representation(turning(np.diag([-1.0, 1.0]))), np.eye(2), atol=1e-15)


def test_a_turn_about_the_space_diagonal_turns_the_modes_by_120_degrees():
    cyclic = turning(np.roll(np.eye(3), 1, axis=0))
    representation = made().representation(cyclic)
    assert np.trace(representation) == pytest.approx(-1.0, abs=1e-14)  # 2 cos 120
    assert np.linalg.det(representation) == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(np.linalg.matrix_power(representation, 3), np.eye(2), atol=1e-14)


def test_the_48_operations_of_the_cube_are_represented():
    model = made()
    cube = [
        turning(np.eye(3)[list(order)] * np.array(signs))
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    for one, other in itertools.product(cube, repeat=2):
        both = turning(one.rotation @ other.rotation)
        product = model.representation(one) @ model.representation(other)
        np.testing.assert_allclose(model.representation(both), product, atol=1e-14)
        product = model.orbital_representation(one) @ model.orbital_representation(other)
        np.testing.assert_allclose(model.orbital_representation(both), product, atol=1e-14)
    for one in cube:  # U (Q.tau) U+ = (R Q).tau
        turned = model.orbital_representation(one)
        np.testing.assert_allclose(
            turned @ TAU @ turned.T, np.einsum("kl,kac->lac", model.representation(one), TAU), atol=1e-14
        )


def test_poles_answer_as_matrices_do():
    for ensemble in ({"mu": 0.0}, {"mu": -0.7}, {"filling": 0.3}):
        model = made((4, 3), **ensemble)
        assert_agrees(PoleExpansion, DenseElectrons, model, random_positions(model, seed=6, replicas=2), rms=1e-9)


def test_order_is_the_staggered_mode():
    model = made()
    x = model.ordered(1.2)[None] + [0.0, 0.3]
    np.testing.assert_allclose(model.order_field(x, np.ones((1, 16))), 1.2)


def test_staggered_qx_has_the_lowest_energy_of_simple_patterns():
    """Orbitals that point along x and y in turn: they hop least into their like, and most into empty ones."""
    model = made(electronic_temperature=0.05)
    stripes = (-1.0) ** model.lattice.cells[:, 0]
    patterns = {
        "Qx (pi, pi)": model.ordered(1.2),
        "Qz (pi, pi)": model.ordered(1.2)[:, ::-1],
        "Qx (pi, 0)": 1.2 * np.outer(stripes, [1.0, 0.0]),
        "Qz (0, 0)": 1.2 * np.outer(np.ones(16), [0.0, 1.0]),
        "Qx (0, 0)": 1.2 * np.outer(np.ones(16), [1.0, 0.0]),
    }
    energy = {name: forces_and_energy(model, x[None])[1][0] / 16 for name, x in patterns.items()}
    lowest, second = sorted(energy, key=energy.get)[:2]
    assert lowest == "Qx (pi, pi)"
    assert energy[second] - energy[lowest] > 0.02


@pytest.mark.slow
def test_orbitals_order_from_a_hot_start_below_their_temperature():
    """arXiv:2405.14776: after a quench the staggered order of orbitals and modes appears, in domains that grow."""
    model = made((8, 8), electronic_temperature=0.05)
    start = 2.0 * random_positions(model, seed=7, replicas=4)
    run = simulation(model, "langevin", start, dt=0.2, temperature=0.05, friction=0.5, seed=1)
    assert order_parameter(model.order_field(start, np.ones((4, 64)))).max() < 0.6
    run.run(800)
    order = model.order_field(run.state.x, np.ones((4, 64)))
    assert local_amplitude(order).min() > 0.8
    assert np.median(order_parameter(order)) > 1.0
    split = run.frame().system.electrons.density
    np.testing.assert_allclose(split, 1.0, atol=0.15)  # orbitals order, charges do not


@pytest.mark.slow
def test_orbital_order_is_lost_above_its_temperature():
    model = made((8, 8), electronic_temperature=0.4)
    start = np.repeat(model.ordered(1.2)[None], 4, axis=0)
    run = simulation(model, "langevin", start, dt=0.2, temperature=0.4, friction=0.5, seed=1)
    run.run(600)
    assert order_parameter(model.order_field(run.state.x, np.ones((4, 64)))).mean() < 0.4


def test_the_model_is_found_by_its_name():
    assert load_plugin("model", "jahn_teller") is JahnTeller
