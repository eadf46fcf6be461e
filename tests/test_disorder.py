"""Disorder, vacancies and second neighbours in the Holstein model, and what boundaries do to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions
from electrons import electrons

from latticemd import Holstein, Lattice, load_plugin
from latticemd.models.disorder import missing_sites, uniforms
from latticemd.rng import Stream
from latticemd.testing import DenseElectrons, assert_agrees, check_model
from latticemd.testing.reference import hamiltonian_matrix

SQUARE = Lattice("square", (6, 4))
VARIANTS = [
    {"next_hopping": 0.3},
    {"disorder": 2.0, "disorder_seed": 3},
    {"vacancies": 0.2},
    {"vacancies": 0.1, "disorder": 1.0, "next_hopping": -0.2, "mu": 0.3},
    {"vacancies": 0.2, "filling": 0.4},
]


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "lattice",
    [SQUARE, Lattice("square", (5, 4), "open"), Lattice("honeycomb", (3, 4)), Lattice("chain", (9,))],
    ids=lambda lattice: f"{lattice.type}-{lattice.boundary[0]}",
)
def test_variants_are_the_hamiltonians_they_claim_to_be(lattice, parameters):
    model = Holstein(lattice, **parameters)
    check_model(model)
    x = random_positions(model, seed=2, replicas=2)
    for name in ("ed", "poles"):
        assert_agrees(load_plugin("forcefield", name), DenseElectrons, model, x, rms=1e-9)


def test_a_vacancy_is_a_site_that_is_not_there():
    model = Holstein(SQUARE, vacancies=0.25, disorder_seed=5, mu=0.2)
    vacant = missing_sites(5, 0.25, 24)
    assert vacant.sum() == 6
    x = random_positions(model, seed=1)
    there = np.flatnonzero(~vacant)
    # The Hamiltonian without the rows and columns of vacancies is all that the others know.
    whole = hamiltonian_matrix(Holstein(SQUARE, mu=0.2), x)[np.ix_(there, there)]
    energies, states = np.linalg.eigh(whole)
    density = np.abs(states) ** 2 @ (1 / (np.exp((energies - 0.2) / 0.1) + 1))
    out = electrons(load_plugin("forcefield", "ed")(), model, x)
    np.testing.assert_allclose(out.density[0, there], density, atol=1e-13)
    assert np.abs(out.density[0, vacant]).max() < 1e-20
    assert np.abs(out.force[0, vacant]).max() == 0.0
    constant = 0.5 * model.coupling * x[0, there].sum()
    omega = constant - 0.1 * np.logaddexp(0, (0.2 - energies) / 0.1).sum()
    assert out.energy[0] == pytest.approx(omega, rel=1e-13)


def test_nothing_depends_on_the_displacement_of_a_vacancy_but_its_own_spring():
    model = Holstein(SQUARE, vacancies=0.25)
    vacant = missing_sites(0, 0.25, 24)
    x = random_positions(model, seed=1)
    moved = x.copy()
    moved[:, vacant] += 1.0
    forces, energy = forces_and_energy(model, np.concatenate([x, moved]))
    np.testing.assert_array_equal(forces[0, ~vacant], forces[1, ~vacant])
    np.testing.assert_array_equal(forces[:, vacant], -model.stiffness * np.concatenate([x, moved])[:, vacant])
    springs = 0.5 * model.stiffness * (moved**2 - x**2)[:, vacant].sum()
    assert energy[1] - energy[0] == pytest.approx(springs, rel=1e-12)


def test_disorder_has_the_moments_of_its_box_and_is_the_same_whatever_the_order_of_asking():
    values = uniforms(7, Stream.DISORDER, 100_001)
    assert values.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 1e5))
    assert values.var() == pytest.approx(1 / 12, rel=0.01)
    assert 0.0 < values.min() < values.max() < 1.0
    np.testing.assert_array_equal(uniforms(7, Stream.DISORDER, 50), values[:50])
    assert np.abs(np.corrcoef(values, uniforms(8, Stream.DISORDER, 100_001))[0, 1]) < 0.02


def test_second_neighbours_give_the_band_of_t_and_t_prime():
    model = Holstein(SQUARE, coupling=0.0, next_hopping=0.3)
    energies = np.linalg.eigvalsh(hamiltonian_matrix(model, np.zeros((1, 24, 1))))
    kx, ky = np.meshgrid(2 * np.pi * np.arange(6) / 6, 2 * np.pi * np.arange(4) / 4)
    band = -2 * (np.cos(kx) + np.cos(ky)) - 4 * 0.3 * np.cos(kx) * np.cos(ky)
    np.testing.assert_allclose(energies, np.sort(band.ravel()), atol=1e-13)


@pytest.mark.parametrize("twist", [1.0, 0.3])
def test_a_twist_shifts_the_wave_vectors(twist):
    lattice = Lattice("square", (6, 4), ("antiperiodic" if twist == 1.0 else twist, "periodic"))
    model = Holstein(lattice, coupling=0.0)
    assert np.iscomplexobj(model.hops().amplitude) == (twist != 1.0)
    energies = np.linalg.eigvalsh(hamiltonian_matrix(model, np.zeros((1, 24, 1))))
    kx, ky = np.meshgrid((2 * np.pi * np.arange(6) + np.pi * twist) / 6, 2 * np.pi * np.arange(4) / 4)
    np.testing.assert_allclose(energies, np.sort((-2 * (np.cos(kx) + np.cos(ky))).ravel()), atol=1e-13)


def test_translations_stay_symmetries_however_a_twist_is_cut():
    model = Holstein(Lattice("square", (4, 3), (0.3, "antiperiodic")))
    names = [operation.name for operation in model.symmetries()]
    assert sum(name.startswith("identity") for name in names) == 12
    # A twist by a generic angle has a direction: turning it around is another Hamiltonian.
    assert len(names) == 24


def test_orbits_of_symmetry_are_lost_with_disorder():
    assert len(list(Holstein(SQUARE).symmetries())) == 24 * 4
    assert [o.name for o in Holstein(SQUARE, disorder=0.5).symmetries()] == ["identity + [0, 0]"]


def test_open_ends_have_fewer_neighbours_in_every_term():
    model = Holstein(Lattice("square", (4, 3), "open"), coupling=0.0)
    x = random_positions(model, seed=4)
    forces, _ = forces_and_energy(model, x)
    q = x[0, :, 0].reshape(4, 3)
    around = np.zeros_like(q)
    around[1:] += q[:-1]
    around[:-1] += q[1:]
    around[:, 1:] += q[:, :-1]
    around[:, :-1] += q[:, 1:]
    np.testing.assert_allclose(forces[0, :, 0].reshape(4, 3), -q - 0.18 * around, atol=1e-13)


def test_a_replaced_model_has_its_own_disorder():
    model = Holstein(SQUARE, disorder=1.0)
    other = dataclasses.replace(model, disorder_seed=1)
    zero = np.zeros((1, 24, 1))
    assert np.abs(model.onsite(zero) - other.onsite(zero)).max() > 0.1
