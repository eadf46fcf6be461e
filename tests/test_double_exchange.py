"""Double exchange: fields against energies, spin rotations, the two-site problem, and who wins at which filling."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import forces_and_energy
from electrons import electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.poles import PoleExpansion
from latticemd import Lattice, Simulation, State, System, load_integrator, observables
from latticemd.errors import InputError
from latticemd.models.double_exchange import DoubleExchange
from latticemd.testing import DenseElectrons, assert_agrees, check_forcefield


def spins(model, seed=0, replicas=1):
    """Random directions (R, N, 3)."""
    return model.admissible(np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, 3)))


def pair(theta):
    """Two spins at an angle theta, (1, 2, 3)."""
    return np.array([[[0.0, 0.0, 1.0], [np.sin(theta), 0.0, np.cos(theta)]]])


@pytest.mark.parametrize("lattice", [
    Lattice("square", (3, 4)), Lattice("triangular", (3, 3)), Lattice("honeycomb", (2, 3), boundary=("open", "periodic")),
    Lattice("chain", (6,), boundary="antiperiodic"), Lattice("chain", (5,), boundary=0.3),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("ensemble", [{"mu": -1.3}, {"filling": 0.35}], ids=str)
def test_the_field_is_minus_the_derivative_of_the_free_energy(lattice, ensemble):
    model = DoubleExchange(lattice, coupling=3.0, superexchange=0.3, field=0.2, **ensemble)
    x, h = spins(model), 1e-3
    force, _ = forces_and_energy(model, x)
    shift = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    energy = [forces_and_energy(model, x + n * shift)[1] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    assert np.abs(force.ravel() + derivative).max() < 1e-8 * np.abs(force).max() * 10


@pytest.mark.parametrize("field", [0.0, 0.4])
@pytest.mark.parametrize("boundary", ["periodic", 0.3], ids=str)
def test_spin_symmetries_are_exact(field, boundary):
    lattice = Lattice("square", (4, 4)) if boundary == "periodic" else Lattice("chain", (7,), boundary=boundary)
    model = DoubleExchange(lattice, field=field, superexchange=0.2, mu=-5.0)
    x = spins(model)
    force, energy = forces_and_energy(model, x)
    found = model.internal_symmetries()
    # A twist is a field in which electrons run one way round: it leaves no reversal of the spins.
    assert len(found) == (2 if field else 3) - (boundary != "periodic")
    for symmetry in found:
        image_force, image_energy = forces_and_energy(model, x @ symmetry.matrix.T)
        np.testing.assert_allclose(image_force, force @ symmetry.matrix.T, atol=1e-12 * np.abs(force).max() * 10)
        np.testing.assert_allclose(image_energy, energy, rtol=1e-12)
    if field:
        assert abs(forces_and_energy(model, -x)[1] - energy).max() > 1e-3


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_every_operation_of_the_lattice_is_a_symmetry(shape):
    model = DoubleExchange(Lattice("square", shape), superexchange=0.2, mu=-5.0)
    x = spins(model)
    force, energy = forces_and_energy(model, x)
    operations = list(model.symmetries())
    assert len(operations) == {(4, 4): 128, (3, 5): 60}[shape]
    for operation in operations:
        image = np.empty_like(x)
        image[:, operation.permutation] = x
        image_force, image_energy = forces_and_energy(model, image)
        np.testing.assert_allclose(image_force[:, operation.permutation], force, atol=1e-11)
        np.testing.assert_allclose(image_energy, energy, rtol=1e-12)


@pytest.mark.parametrize("theta", [0.3, 1.2, 2.9])
def test_two_sites_have_the_levels_of_anderson_and_hasegawa(theta):
    """E = +-J', J'^2 = J^2 + t^2 +- 2 J t cos(theta/2); for large J the electron hops with t cos(theta/2)."""
    lattice, t = Lattice("chain", (2,), boundary="open"), 0.7
    for coupling in (2.0, 1e4):
        model = DoubleExchange(lattice, hopping=t, coupling=coupling, electronic_temperature=0.01, filling=0.25)
        half = np.cos(theta / 2)
        levels = [-np.sqrt(coupling**2 + t**2 + sign * 2 * coupling * t * half) for sign in (1, -1)]
        # One electron in four levels: at kT = 0.01 it is in the lowest, with a share in the second.
        _, energy = forces_and_energy(model, pair(theta))
        mu = electrons(ExactDiagonalisation(), model, pair(theta)).mu[0]
        expected = mu - 0.01 * np.logaddexp(0.0, (mu - np.array([*levels, *(-np.array(levels))])) / 0.01).sum()
        assert energy[0] == pytest.approx(expected, rel=1e-12)
        if coupling > 100:
            assert levels[0] + coupling == pytest.approx(-t * half, abs=t * t / coupling)


def test_a_local_electron_answers_its_spin_as_a_free_spin_in_a_field():
    # Without hops, Omega of a site is independent of S, and <sigma> = S (f(-J) - f(J)).
    model = DoubleExchange(Lattice("chain", (4,), boundary="open"), hopping=0.0, coupling=1.5, mu=-0.4,
                           electronic_temperature=0.3)  # fmt: skip
    x = spins(model)
    occupied = 1.0 / (np.exp((np.array([-1.5, 1.5]) + 0.4) / 0.3) + 1.0)
    np.testing.assert_allclose(forces_and_energy(model, x)[0], 1.5 * (occupied[0] - occupied[1]) * x, atol=1e-14)


@pytest.mark.parametrize("ensemble", [{"mu": -6.0}, {"filling": 0.3}], ids=str)
def test_exact_force_fields_agree(ensemble):
    model = DoubleExchange(Lattice("square", (4, 3)), superexchange=0.1, **ensemble)
    for made in (ExactDiagonalisation, PoleExpansion):
        check_forcefield(made, model, spins(model))
        assert_agrees(made, DenseElectrons, model, spins(model, replicas=2), rms=1e-9)


def test_a_start_becomes_unit_vectors_and_a_spin_without_direction_is_refused():
    model = DoubleExchange(Lattice("square", (3, 3)))
    x = model.admissible(np.full((2, 9, 3), -0.2))
    np.testing.assert_allclose(x, -np.ones((2, 9, 3)) / np.sqrt(3), rtol=1e-15)
    x[1, 4] = 0.0
    with pytest.raises(InputError, match="replica 1, site 4 has length 0"):
        model.admissible(x)


@pytest.mark.parametrize("order", ["ferromagnet", "antiferromagnet"])
def test_the_order_parameter_is_that_of_the_chosen_order_in_whatever_direction(order):
    model = DoubleExchange(Lattice("square", (4, 4)), order=order)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    density = np.ones((1, 16))
    field = model.order_field((model.ordered(1.0) @ turn.T)[None], density)
    np.testing.assert_allclose(field, 1.0, rtol=1e-14)
    other = DoubleExchange(model.lattice, order="ferromagnet" if order != "ferromagnet" else "antiferromagnet")
    assert observables.order_parameter(other.order_field(model.ordered(1.0)[None], density))[0] < 1e-15


def energy_per_site(x, filling, side, **more):
    lattice = Lattice("square", (side, side), boundary="antiperiodic")
    model = DoubleExchange(lattice, filling=filling, electronic_temperature=0.02, **more)
    return forces_and_energy(model, x)[1][0] / lattice.sites


def patterns(side):
    lattice = Lattice("square", (side, side))
    return {
        order: DoubleExchange(lattice, order=order).ordered(1.0)[None] for order in ("ferromagnet", "antiferromagnet")
    }


def test_half_filling_is_antiferromagnetic_and_a_quarter_is_ferromagnetic():
    """J = 8t on a square lattice (Yunoki et al., doi:10.1103/PhysRevLett.80.845): the exchange energies have opposite signs."""
    pattern = patterns(8)
    at_half = {order: energy_per_site(x, 0.5, 8) for order, x in pattern.items()}
    # Second order in t/J: an electron of the antiferromagnet visits its neighbour at the cost 2J and gains 4 t^2/2J.
    assert at_half["antiferromagnet"] - at_half["ferromagnet"] == pytest.approx(-4 / 16, rel=0.05)
    at_quarter = {order: energy_per_site(x, 0.25, 8) for order, x in pattern.items()}
    assert at_quarter["ferromagnet"] < at_quarter["antiferromagnet"] - 0.5


@pytest.mark.slow
def test_the_ferromagnet_wins_up_to_a_filling_beyond_which_the_phases_separate():
    """Below n = 0.9 electrons per site the ferromagnet is lower at J = 8t, at n = 1 the antiferromagnet."""
    fillings, pattern = np.array([0.125, 0.2, 0.3, 0.4, 0.45, 0.475, 0.5]), patterns(12)
    difference = [
        energy_per_site(pattern["ferromagnet"], n, 12) - energy_per_site(pattern["antiferromagnet"], n, 12)
        for n in fillings
    ]
    np.testing.assert_array_equal(np.sign(difference), [-1, -1, -1, -1, -1, 1, 1])
    assert difference[2] == pytest.approx(-0.5575, abs=1e-3)
    assert difference[6] == pytest.approx(0.2419, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("filling", "wins"), [(13 / 72, "ferromagnet"), (0.5, "antiferromagnet")])
def test_cooled_spins_find_the_order_of_their_filling(filling, wins):
    """From independent directions, with strong damping at kT = 0.01: the order that wins grows, the other one does not.

    13 electrons fill closed shells of the polarised band on 6 x 6 sites; half-filled shells prefer spirals on so small a lattice.
    """
    lattice, density = Lattice("square", (6, 6)), np.ones((4, 36))
    model = DoubleExchange(lattice, filling=filling, electronic_temperature=0.05)
    integrator = load_integrator("llg")(dt=0.4, temperature=0.01, damping=1.0, seed=5)
    run = Simulation(System(model, ExactDiagonalisation(), 4), integrator, State.at_rest(spins(model, 3, replicas=4)))
    run.run(steps=200 if wins == "ferromagnet" else 700)
    found = {
        order: observables.order_parameter(
            DoubleExchange(lattice, order=order).order_field(run.state.x, density)
        ).mean()
        for order in ("ferromagnet", "antiferromagnet")
    }
    other = "antiferromagnet" if wins == "ferromagnet" else "ferromagnet"
    assert found[wins] > 0.6 > 0.2 > found[other], found
