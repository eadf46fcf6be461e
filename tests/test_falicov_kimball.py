"""The Falicov-Kimball model against analytic cases, its symmetries, and the numbers of particles it admits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import forces_and_energy, simulation
from electrons import electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.poles import PoleExpansion
from latticemd import Lattice
from latticemd.errors import InputError
from latticemd.measurements.forces import gradient_error, internal_symmetry_error, symmetry_error
from latticemd.models.falicov_kimball import FalicovKimball
from latticemd.models.hamiltonian import Hops

ENSEMBLES = [{"mu": 0.0}, {"mu": -0.7}, {"filling": 0.5}, {"filling": 0.3}]
KT = 0.2


def square(*shape, **parameters):
    return FalicovKimball(Lattice("square", shape), electronic_temperature=KT, **parameters)


def arrangement(model, seed=0, replicas=1):
    """Heavy particles on random sites, as many as the model asks for, (R, N, 1)."""
    noise = np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, 1))
    return model.admissible(noise)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
def test_the_force_is_minus_the_derivative_by_real_occupations(ensemble):
    model = square(4, 6, repulsion=0.3, **ensemble)
    x = arrangement(model) + 0.1 * np.random.default_rng(1).normal(size=(1, 24, 1))
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=x.shape)
        assert gradient_error(lambda x: forces_and_energy(model, x), x, direction) < 1e-8


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
def test_every_lattice_symmetry_is_kept(ensemble):
    model = square(4, 4, repulsion=0.3, **ensemble)
    error, worst = symmetry_error(lambda x: forces_and_energy(model, x), model, model.symmetries(), arrangement(model))
    assert len(list(model.symmetries())) == 16 * 8
    assert error < 1e-12, worst


@pytest.mark.parametrize("heavy", [0.5, 0.25])
@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
def test_particles_and_holes_have_the_same_free_energy(ensemble, heavy):
    model = square(4, 6, repulsion=0.3, heavy=heavy, **ensemble)
    error, name = internal_symmetry_error(lambda x: forces_and_energy(model, x), model, arrangement(model))
    assert name == "particle-hole"
    assert error < 1e-12


@pytest.mark.parametrize(
    ("shape", "ensemble"), [((4, 4), {"mu": 0.1}), ((4, 4), {"filling": 0.4}), ((5, 4), {})], ids=str
)
def test_no_particle_hole_symmetry_is_claimed_where_there_is_none(shape, ensemble):
    assert square(*shape, **ensemble).internal_symmetries() == []


def test_electrons_that_do_not_hop_sit_on_independent_sites():
    """Omega = sum_i [V part] -kT log(1 + exp((mu - e_i)/kT)) - e_i/2 with e_i = +-U/2, and <n_i> the Fermi function."""
    model = square(4, 4, hopping=0.0, interaction=3.0, repulsion=0.4, mu=-0.3)
    x = arrangement(model)
    level = 3.0 * (x[0, :, 0] - 0.5)
    around = _adjacency(model) @ (x[0, :, 0] - 0.5)
    classical = 0.5 * 0.4 * (x[0, :, 0] - 0.5) @ around
    omega = classical - 0.5 * level.sum() - KT * np.logaddexp(0.0, (-0.3 - level) / KT).sum()
    force, energy = forces_and_energy(model, x)
    density = 1.0 / (np.exp((level + 0.3) / KT) + 1.0)
    np.testing.assert_allclose(energy, omega, rtol=1e-13)
    np.testing.assert_allclose(force[0, :, 0], -3.0 * (density - 0.5) - 0.4 * around, atol=1e-13)


@dataclasses.dataclass(frozen=True)
class Dimers(FalicovKimball):
    """Electrons that hop within pairs of sites only, (x, y) and (x + 1, y) with even x."""

    def hops(self) -> Hops:
        first = np.flatnonzero(self.lattice.cells[:, 0] % 2 == 0)
        return Hops(first, first + self.lattice.shape[1], np.full(len(first), -self.hopping))


def test_dimers_have_the_levels_of_a_quadratic_equation():
    """One heavy particle: +-sqrt(U^2/4 + t^2); none or two: -U/2 +- t or U/2 +- t; the density follows by Hellmann-Feynman."""
    model = Dimers(Lattice("square", (4, 3)), interaction=2.5, hopping=0.7, electronic_temperature=KT)
    x = np.zeros((1, 12, 1))
    x[0, [0, 6, 9, 1, 2, 11], 0] = 1.0  # of the pairs (0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)
    split = np.hypot(1.25, 0.7)
    levels = np.array([*[-split, split] * 4, 1.25 - 0.7, 1.25 + 0.7, -1.25 - 0.7, -1.25 + 0.7])
    omega = -KT * np.logaddexp(0.0, -levels / KT).sum()  # C = -U/2 (6 - 12/2) = 0
    force, energy = forces_and_energy(model, x)
    np.testing.assert_allclose(energy, omega, rtol=1e-13)
    polarised = 0.5 - 0.5 * np.tanh(0.5 * split / KT) * 1.25 / split  # <n> beside the heavy particle of a pair
    np.testing.assert_allclose(force[0, [0, 3], 0], [2.5 * (0.5 - polarised), -2.5 * (0.5 - polarised)], rtol=1e-12)


def test_strong_coupling_is_an_ising_antiferromagnet():
    """Each pair of unlike neighbours gains t^2/U; exchanging two neighbours of the checkerboard spoils six of them.

    The next order is (t/U)^2 of it.
    """
    deviations = []
    for interaction in (20.0, 40.0):
        model = square(6, 6, interaction=interaction)
        x = model.admissible(np.broadcast_to(model.ordered(1.0), (2, 36, 1)))
        x[1, [14, 15]] = x[1, [15, 14]]
        _, energy = forces_and_energy(model, x)
        deviations.append((energy[1] - energy[0]) * interaction / 6.0 - 1.0)
    assert abs(deviations[1]) < 0.02
    assert deviations[0] / deviations[1] == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
def test_poles_agree_with_exact_diagonalisation(ensemble):
    model = square(6, 5, repulsion=0.2, heavy=0.4, **ensemble)
    x = arrangement(model, replicas=3)
    exact, poles = electrons(ExactDiagonalisation(), model, x), electrons(PoleExpansion(), model, x)
    np.testing.assert_allclose(poles.force, exact.force, atol=5e-9)
    np.testing.assert_allclose(poles.energy, exact.energy, atol=5e-8)
    np.testing.assert_allclose(poles.density, exact.density, atol=1e-9)


@pytest.mark.parametrize(("heavy", "number"), [(0.0, 0), (0.5, 15), (0.3, 9), (1.0, 30)])
def test_starts_hold_the_number_of_heavy_particles_asked_for(heavy, number):
    model = square(6, 5, heavy=heavy)
    x = arrangement(model, replicas=4)
    assert set(np.unique(x)) <= {0.0, 1.0}
    np.testing.assert_array_equal(x.sum(axis=(1, 2)), number)
    noise = np.random.default_rng(0).normal(size=(4, 30, 1))
    for one, drawn in zip(x, noise, strict=True):
        if 0 < number < 30:
            assert drawn[one == 1.0].min() > drawn[one == 0.0].max()
    assert model.admissible(x).tobytes() == x.tobytes()


def test_equal_sites_are_filled_by_number():
    model = square(4, 4, heavy=0.25)
    np.testing.assert_array_equal(model.admissible(np.full((1, 16, 1), 0.3))[0, :, 0], [1.0] * 4 + [0.0] * 12)


def test_the_ordered_start_is_the_checkerboard():
    model = square(4, 6)
    x = model.admissible(model.ordered(0.7)[None])
    np.testing.assert_array_equal(model.order_field(x, np.zeros((1, 24))), 0.5)
    opposite = model.admissible(model.ordered(-0.7)[None])
    np.testing.assert_array_equal(model.order_field(opposite, np.zeros((1, 24))), -0.5)


def test_an_arrangement_of_another_number_is_refused():
    model = square(4, 4)
    with pytest.raises(
        InputError, match=r"has 3 heavy particles on 16 sites, but heavy: 0.5 asks for 8; use heavy: 0.1875"
    ):
        model.admissible(np.eye(16)[:3].sum(axis=0)[None, :, None])


def staggered_order(model, start, temperature, *, replicas, tau, repeats):
    """2 |mean order field| averaged over the second half of `repeats` stretches of tau attempt times, (R,)."""
    motion = simulation(
        model,
        "kinetic_monte_carlo",
        np.repeat(start, replicas, axis=0),
        dt=tau,
        temperature=temperature,
        forcefield=PoleExpansion(tolerance=1e-6),
        events="exchanges",
        seed=3,
    )
    orders = []
    for step in range(1, repeats + 1):
        motion.run(step)
        orders.append(2.0 * np.abs(motion.frame().order_field.mean(axis=1)))
    return np.mean(orders[repeats // 2 :], axis=0)


@pytest.mark.slow
def test_the_checkerboard_forms_below_its_temperature_and_melts_above():
    """U = 4t, half filling: order from random arrangements at kT = 0.1 t, none is left of a perfect one at kT = 0.25 t.

    The transition is near 0.15 t; Maska and Czajka, doi:10.1103/PhysRevB.74.035109, have the phase diagram.
    """
    for shape in ((8, 8), (10, 10)):
        cold, hot = (FalicovKimball(Lattice("square", shape), electronic_temperature=kt) for kt in (0.1, 0.25))
        formed = staggered_order(cold, arrangement(cold), 0.1, replicas=3, tau=10.0, repeats=10)
        assert formed.min() > 0.9
        melted = staggered_order(hot, hot.admissible(hot.ordered(1.0)[None]), 0.25, replicas=3, tau=4.0, repeats=10)
        assert melted.mean() < 2.5 / np.sqrt(hot.lattice.sites)  # independent sites: (2/pi)^(1/2) of N^(-1/2)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.15, 0.3])
def test_the_order_of_a_small_lattice_is_its_exact_thermal_average(temperature):
    """4 x 4 sites: the mean |order| over all 12870 arrangements of 8 heavy particles, weighted with exp(-Omega/kT)."""
    model = FalicovKimball(Lattice("square", (4, 4)), electronic_temperature=temperature, repulsion=0.2)
    occupied = np.array(list(itertools.combinations(range(16), 8)))
    x = np.zeros((len(occupied), 16, 1))
    x[np.arange(len(x))[:, None], occupied] = 1.0
    _, omega = forces_and_energy(model, x)
    weight = np.exp(-(omega - omega.min()) / temperature)
    exact = np.average(2.0 * np.abs(model.order_field(x, x).mean(axis=1)), weights=weight)
    order = staggered_order(model, arrangement(model), temperature, replicas=20, tau=2.0, repeats=100)
    error = order.std() / np.sqrt(19)
    assert error < 0.02
    assert order.mean() == pytest.approx(exact, abs=4.0 * error)


def _adjacency(model):
    bonds = model.lattice.bonds()
    matrix = np.zeros((model.lattice.sites,) * 2)
    np.add.at(matrix, (bonds.i, bonds.j), 1.0)
    return matrix + matrix.T
