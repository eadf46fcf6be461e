"""The SSH model: hops that follow the lengths of bonds, sites that nothing pins, and the Peierls dimerisation."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions, simulation
from electrons import electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.poles import PoleExpansion
from latticemd import Lattice, load_plugin
from latticemd.errors import InputError
from latticemd.measurements.forces import internal_symmetry_error, symmetry_error
from latticemd.models.ssh import SSH
from latticemd.testing import DenseElectrons, assert_agrees


def made(type="square", shape=(4, 4), **parameters):
    return SSH(Lattice(type, shape), **parameters)


def landscape(model):
    return lambda x: forces_and_energy(model, x)


# --- the Hamiltonian --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.5}], ids=str)
def test_force_is_minus_the_derivative_of_the_free_energy_by_every_coordinate(ensemble):
    model = made(shape=(4, 3), pinning=0.3, **ensemble)
    x, h = 0.3 * random_positions(model, seed=1), 1e-3
    shift = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    energy = [forces_and_energy(model, x + n * shift)[1] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    np.testing.assert_allclose(forces_and_energy(model, x)[0].ravel(), -derivative, atol=1e-9)


def test_all_operations_of_space_turn_displacements_as_vectors():
    model = made(mu=0.2, next_stiffness=0.2, pinning=0.1)
    operations = list(model.symmetries())
    assert len(operations) == 8 * 16
    error, _ = symmetry_error(landscape(model), model, operations, 0.5 * random_positions(model, seed=2))
    assert error < 1e-12


def test_a_shift_of_the_whole_lattice_changes_nothing():
    model = made(next_stiffness=0.2)
    error, name = internal_symmetry_error(landscape(model), model, 0.5 * random_positions(model, seed=3))
    assert name == "uniform shift"
    assert error < 1e-12
    assert not made(pinning=0.1).internal_symmetries()


def test_a_half_filled_bipartite_lattice_has_half_an_electron_on_every_site():
    x = 0.5 * random_positions(made(), seed=4)
    density = electrons(ExactDiagonalisation(), made(mu=0.0), x).density
    np.testing.assert_allclose(density, 0.5, atol=1e-13)
    assert np.abs(electrons(ExactDiagonalisation(), made(mu=0.1), x).density - 0.5).max() > 1e-3


def test_a_longer_bond_hops_less_and_pulls_its_ends_together():
    model = made(coupling=0.7, stiffness=0.01)
    x = np.zeros((1, 16, 2))
    x[0, 4, 0] = 0.2  # the site at (1, 0) moves away from (0, 0) and towards (2, 0)
    bonds = model.lattice.bonds()
    amplitude = {
        frozenset((int(i), int(j))): a for i, j, a in zip(bonds.i, bonds.j, model.amplitudes(x)[0], strict=True)
    }
    assert amplitude[frozenset((0, 4))] == pytest.approx(-(1.0 - 0.7 * 0.2))
    assert amplitude[frozenset((4, 8))] == pytest.approx(-(1.0 + 0.7 * 0.2))
    assert amplitude[frozenset((4, 5))] == pytest.approx(-1.0)  # across the motion: no change to first order
    assert electrons(ExactDiagonalisation(), model, x).force[0, 4, 0] > 0.0  # towards the stronger bond


def test_poles_answer_as_matrices_do():
    for ensemble in ({"mu": 0.0}, {"mu": -0.7}, {"filling": 0.3}):
        model = made(shape=(4, 3), **ensemble)
        assert_agrees(PoleExpansion, DenseElectrons, model, 0.5 * random_positions(model, seed=5, replicas=2), rms=1e-9)


def test_springs_to_second_neighbours_tie_rows_together():
    rows = np.zeros((1, 16, 2))
    rows[0, :, 0] = (-1.0) ** np.arange(16)  # rows along x, shifted in turn
    assert made().classical_energy(rows)[0] == 0.0
    # Every diagonal is stretched by 2/sqrt(2), and there are two per site.
    assert made(next_stiffness=0.3).classical_energy(rows)[0] == pytest.approx(16 * 2 * 0.5 * 0.3 * 2.0)


def test_a_lattice_without_springs_is_refused():
    with pytest.raises(InputError, match="stiffness 0 and pinning 0; one of them has to be > 0"):
        made(stiffness=0.0)
    made(stiffness=0.0, pinning=1.0)


# --- motion ----------------------------------------------------------------------------------------------------------


def test_total_momentum_is_conserved_without_pinning():
    """A rotation that finds no on-site spring is a drift, so that BRB is BAB to the last bit."""
    model = made(electronic_temperature=0.1)
    start = 0.1 * random_positions(model, seed=6)
    ends = []
    for word in ("BAB", "BRB"):
        run = simulation(model, word, start.copy(), dt=0.1)
        run.state.p[...] = random_positions(model, seed=7)
        total = run.state.p.sum(axis=1)
        run.run(20)
        np.testing.assert_allclose(run.state.p.sum(axis=1), total, atol=1e-12)
        ends.append(run.state.x.tobytes())
    assert ends[0] == ends[1]


# --- order ------------------------------------------------------------------------------------------------------------


def test_order_is_the_amplitude_of_the_pattern_and_blind_to_drift():
    model = made()
    for pattern in (model.ordered(0.3), model.ordered(0.3)[:, ::-1]):  # dimers along x and along y
        x = pattern[None] + np.array([5.0, -2.0])
        np.testing.assert_allclose(model.order_field(x, np.full((1, 16), 0.5)), 0.3, atol=1e-14)


def test_pinned_sites_prefer_dimers_along_one_axis():
    """On springs of their own all patterns cost alike; dimers along x open a gap on all of the Fermi surface."""
    model = made(shape=(8, 8), pinning=2.0, stiffness=0.5, coupling=1.3, electronic_temperature=0.02)
    sign = model.lattice.staggered
    stripes = np.stack([(-1.0) ** model.lattice.cells[:, 0], 0.0 * sign], axis=1)
    patterns = {
        "(pi, pi) along x": model.ordered(0.26),
        "(pi, pi) along the diagonal": 0.26 / np.sqrt(2) * np.outer(sign, [1.0, 1.0]),
        "(pi, 0)": 0.26 * stripes,
        "none": 0.0 * stripes,
    }
    energy = {name: forces_and_energy(model, x[None])[1][0] / 64 for name, x in patterns.items()}
    lowest, second = sorted(energy, key=energy.get)[:2]
    assert lowest == "(pi, pi) along x"
    assert energy[second] - energy[lowest] > 0.005


def test_the_model_is_found_by_its_name():
    assert load_plugin("model", "ssh") is SSH
