"""Hubbard-Holstein and t-V-Holstein: mean fields against closed forms, gap equations and their symmetries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from electrons import electrons
from electrons import solved_in_mean_field as solved
from electrons import total_in_mean_field as total
from scipy.optimize import brentq

from forcefields.ed import ExactDiagonalisation
from forcefields.mean_field import MeanField
from latticemd import Holstein, Lattice, State, System, load_simulation
from latticemd.minimization import Fire, minimize
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.hubbard_holstein import HubbardHolstein
from latticemd.models.tv_holstein import TVHolstein
from latticemd.observables import order_parameter
from latticemd.testing import check_forcefield, check_model

SQUARE = Lattice("square", (4, 4))
KT = 0.1


def half_band(lattice):
    """-2t (cos kx + cos ky) of all wave vectors (N,)."""
    k = [2 * np.pi * np.arange(n) / n for n in lattice.shape]
    return -2.0 * np.add.outer(np.cos(k[0]), np.cos(k[1])).ravel()


# limits in closed form


@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.3}], ids=str)
def test_without_interaction_it_is_the_plain_model(ensemble):
    x = np.random.default_rng(2).normal(size=(1, 16, 1))
    free = electrons(ExactDiagonalisation(), Holstein(SQUARE, **ensemble), x)
    spinless = solved(TVHolstein(SQUARE, repulsion=0.0, **ensemble), x)
    spins = solved(HubbardHolstein(SQUARE, hubbard=0.0, **ensemble), x)
    assert spinless.force.tobytes() == free.force.tobytes()
    np.testing.assert_allclose(spins.force, 2.0 * free.force, atol=1e-12)
    np.testing.assert_allclose(spins.energy, 2.0 * free.energy, atol=1e-12)
    assert spins.details["solves"][0][0] == 1


def test_isolated_atoms_in_closed_form():
    """One spin up and none down on a site: each level moves by U/2, and m solves m = tanh(U m/2kT)/2."""
    u = 2.0
    model = HubbardHolstein(SQUARE, hopping=0.0, coupling=0.0, hubbard=u, electronic_temperature=0.3)
    moment = brentq(lambda m: m - 0.5 * np.tanh(0.5 * u * m / 0.3), 0.1, 0.5, xtol=1e-14)
    found = solved(model, np.zeros((1, 16, 1)), residual=1e-12)
    field = u * moment
    energy = 16 * (-0.3 * np.log(2.0 + 2.0 * np.cosh(field / 0.3)) + u * moment**2)
    assert found.details["staggered_spin"][0][0] == pytest.approx(moment, abs=1e-10)
    assert found.energy[0] == pytest.approx(energy, rel=1e-12)


def test_antiferromagnet_solves_the_gap_equation():
    """1/U = 1/N sum_k tanh(E_k/2kT)/2E_k with E_k^2 = e_k^2 + (U m)^2, over all k of the lattice."""
    lattice, u = Lattice("square", (6, 6)), 4.0
    band = half_band(lattice)

    def energies(m):
        return np.sqrt(band**2 + (u * m) ** 2)

    def gap(m):
        return 1.0 / u - np.mean(np.tanh(energies(m) / (2 * KT)) / (2.0 * energies(m)))

    moment = brentq(gap, 0.05, 0.5, xtol=1e-14)
    model = HubbardHolstein(lattice, hubbard=u, coupling=0.0)
    found = solved(model, np.zeros((1, 36, 1)), residual=1e-12)
    e = energies(moment)
    energy = -KT * np.log(2.0 + 2.0 * np.cosh(e / KT)).sum() + 36 * u * moment**2
    assert found.details["staggered_spin"][0][0] == pytest.approx(moment, abs=1e-10)
    assert found.energy[0] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(found.density, 1.0, atol=1e-10)


def test_charge_order_solves_its_mean_field():
    """Spinless electrons at Q = 0: the gap 4 V delta and the exchange, which widens the band, together."""
    lattice, v = Lattice("square", (6, 6)), 1.5
    band = half_band(lattice)  # e_k of t = 1

    def images(delta, bond):
        """n_A - 1/2 and <c+_j c_i> made by a pattern with these values."""
        e = (1.0 + v * bond) * band
        gap = 4.0 * v * delta
        level = np.sqrt(e**2 + gap**2)
        share = np.tanh(level / (2 * KT)) / (2.0 * level)
        return np.mean(share * gap), -np.mean(share * e * band) / 4.0

    delta, bond = 0.4, 0.2
    for _ in range(400):
        delta, bond = images(delta, abs(bond))[0], abs(images(delta, abs(bond))[1])
    model = TVHolstein(lattice, repulsion=v, coupling=0.0)
    found = solved(model, np.zeros((1, 36, 1)), seed="charge", residual=1e-12)
    np.testing.assert_allclose((found.density - 0.5) * lattice.staggered, delta, atol=1e-10)
    e = np.hypot((1.0 + v * bond) * band, 4.0 * v * delta)
    energy = -KT * np.logaddexp(0.0, e / KT).sum() * 0.5 - KT * np.logaddexp(0.0, -e / KT).sum() * 0.5
    energy += 36 * 2 * v * (delta**2 + bond**2)
    assert found.energy[0] == pytest.approx(energy, rel=1e-10)


def test_spins_and_pairs_have_the_same_energy_where_their_attractions_are_equal():
    """U = g^2/(k - z kappa) + z V is the line between both; the pairs need the Q that minimises their energy."""
    g, k, kappa, v = 1.0, 1.0, 0.1, 0.1
    u = g**2 / (k - 4 * kappa) + 4 * v
    lattice = Lattice("square", (6, 6))
    model = HubbardHolstein(lattice, hubbard=u, repulsion=v, coupling=g, stiffness=k, intersite=kappa)
    spins = total(model, np.zeros((1, 36, 1)), residual=1e-12)
    moment = solved(model, np.zeros((1, 36, 1)), residual=1e-12).details["staggered_spin"][0][0]
    pairs = total(model, model.ordered(2.0 * g * moment / (k - 4 * kappa))[None], seed="charge", residual=1e-12)
    assert np.abs(pairs[0]).max() < 1e-9
    assert pairs[1][0] == pytest.approx(spins[1][0], rel=1e-11)
    assert moment > 0.2


# symmetry of spins


def test_the_fields_turn_with_the_spins():
    """Sigma[U rho U+] = U Sigma[rho] U+ for one U in SU(2) on all sites, and Phi stays."""
    model = HubbardHolstein(SQUARE, repulsion=0.7)
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(2, 2)) + 1j * generator.normal(size=(2, 2))
    turn = np.linalg.qr(noise)[0]
    hops = len(model.hops().i)
    onsite, bonds = (generator.normal(size=(1, n, 2, 2)) + 1j * generator.normal(size=(1, n, 2, 2)) for n in (16, hops))
    onsite = onsite + onsite.conj().swapaxes(2, 3)
    fields = model.mean_fields(DensityMatrix(onsite, bonds))
    turned = model.mean_fields(DensityMatrix(turn @ onsite @ turn.conj().T, turn @ bonds @ turn.conj().T))
    np.testing.assert_allclose(turned.onsite, turn @ fields.onsite @ turn.conj().T, atol=1e-12)
    np.testing.assert_allclose(turned.bonds, turn @ fields.bonds @ turn.conj().T, atol=1e-12)
    assert turned.energy[0] == pytest.approx(fields.energy[0], rel=1e-12)


# frustration


def test_spins_of_a_triangle_stand_at_120_degrees():
    """Every bond of the triangular lattice has S_i . S_j = -S^2/2; other seeds may end higher, in patterns less good."""
    lattice, u = Lattice("triangular", (3, 3)), 12.0
    model = HubbardHolstein(lattice, hubbard=u, coupling=0.0, filling=0.5, electronic_temperature=0.05)
    bonds, x = lattice.bonds(), np.zeros((1, 9, 1))
    energies = []
    for number in (3, 1):
        method = MeanField(seed="random", seed_number=number, residual=1e-9, iterations=1000)
        found = electrons(method, model, x)
        energies.append(found.energy[0])
        if number == 3:
            method.prepare(model, 1)
            fields = method.evaluate_from(method.memory(model, 1), model, x, 0, found)["mean_field"][0, :36]
            blocks = fields.reshape(9, 2, 2)
            spins = np.stack([-blocks[:, 0, 1], 0.5 * (blocks[:, 1, 1] - blocks[:, 0, 0])], axis=1) / u
            square = np.sum(spins**2, axis=1)
            np.testing.assert_allclose(np.sqrt(square), found.details["local_spin"][0][0], atol=1e-6)
            products = np.sum(spins[bonds.i] * spins[bonds.j], axis=1)
            np.testing.assert_allclose(products, -0.5 * square.mean(), atol=1e-6)
    assert energies[0] <= energies[1] + 1e-9


# what else Holstein has


@pytest.mark.parametrize("kind", [HubbardHolstein, TVHolstein])
@pytest.mark.parametrize(
    ("lattice", "settings"),
    [
        (SQUARE, {"vacancies": 0.2, "disorder": 1.0, "repulsion": 0.4, "mu": 0.3}),
        (SQUARE, {"vacancies": 0.2, "repulsion": 0.4, "filling": 0.7}),
        (SQUARE, {"next_hopping": 0.3, "repulsion": 0.4}),
        (Lattice("square", (4, 3), "open"), {"repulsion": 0.4}),
        (Lattice("triangular", (3, 3)), {"repulsion": 0.4}),
    ],
    ids=["vacancies", "vacancies-filling", "second neighbours", "open", "triangular"],
)
def test_terms_of_holstein_go_together_with_repulsion(kind, lattice, settings):
    model = kind(lattice, **settings)
    x = np.random.default_rng(4).normal(size=(1, lattice.sites, 1))
    check_model(model)
    found = solved(model, x, seed="paramagnet")
    direction = np.random.default_rng(5).normal(size=x.shape)
    slope = [solved(model, x + h * direction, seed="paramagnet").energy[0] for h in (2e-3, 1e-3, -1e-3, -2e-3)]
    derivative = (-slope[0] + 8 * slope[1] - 8 * slope[2] + slope[3]) / 12e-3
    assert -np.vdot(found.force, direction) == pytest.approx(derivative, rel=1e-6)
    if model.vacancies:
        assert found.density[0, model._vacant].max() < 1e-20


def test_repulsion_joins_nearest_neighbours_only():
    model = TVHolstein(SQUARE, next_hopping=0.3, repulsion=2.0)
    hops, lengths = model.hops(), np.concatenate([np.full(32, 2.0), np.zeros(32)])
    rho = DensityMatrix(np.full((1, 16), 0.5), np.ones((1, len(hops.i))))
    np.testing.assert_array_equal(-model.mean_fields(rho).bonds[0], lengths)


def test_a_twisted_boundary_may_be_cut_anywhere():
    """Exchange is complex there, and every translation, which moves the cut, still is a symmetry."""
    model = TVHolstein(Lattice("square", (4, 4), (0.7, "periodic")))
    check_forcefield(MeanField, model)


# slow


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "lower"), [(0.3, "antiferromagnet"), (-0.3, "charge")])
def test_minima_cross_at_the_line_between_spins_and_pairs(shift, lower):
    """FIRE from noisy starts: the lower of both minima changes at U = g^2/(k - z kappa) + z V."""
    g, k, kappa, v = 1.3, 1.0, 0.1, 0.1
    u = g**2 / (k - 4 * kappa) + 4 * v + shift
    model = HubbardHolstein(Lattice("square", (8, 8)), hubbard=u, repulsion=v, coupling=g, stiffness=k, intersite=kappa)
    noise = 0.05 * np.random.default_rng(1).normal(size=(1, 64, 1))
    energy = {}
    for seed, amplitude in (("antiferromagnet", 0.0), ("charge", 1.5)):
        system, state = System(model, MeanField(seed=seed)), State.at_rest(model.ordered(amplitude)[None] + noise)
        minimize(state, system, Fire(), 500)
        assert Fire().converged(state).all()
        energy[seed] = state.potential[0]
    assert min(energy, key=lambda seed: energy[seed]) == lower
    assert abs(energy["charge"] - energy["antiferromagnet"]) > 1.0


@pytest.mark.slow
def test_the_demo_goes_from_spins_to_pairs():
    """As U falls: spins stay beyond the line at U = 2.8, where pairs are lower already, and then give way to them."""
    simulation = load_simulation(Path(__file__).parent.parent / "inputs/hubbard_holstein.yaml", "lattice.shape=[8, 8]")
    spin, charge = [], []
    for step in (0, 160, 400, 500):
        simulation.run(step)
        frame = simulation.frame()
        charge.append(order_parameter(frame.order_field)[0])
        spin.append(frame.system.electrons.details["staggered_spin"][0][0])
    assert spin[0] > 0.3
    assert spin[1] > 0.2  # U = 2.8
    assert max(charge[:2]) < 0.1
    assert max(spin[2:]) < 0.01
    assert min(charge[2:]) > 0.6
