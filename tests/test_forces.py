"""Electronic forces: derivatives of the free energy, exact symmetries, closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import forces_and_energy, random_positions
from scipy.special import expit

from latticemd import Holstein, Lattice
from latticemd.errors import InputError
from latticemd.models.hamiltonian import Hops

ENSEMBLES = [{"mu": 0.0}, {"mu": -0.7}, {"filling": 0.5}, {"filling": 0.3}]


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("coupling", [0.5, 1.5, 3.5])
def test_force_is_minus_the_derivative_of_the_free_energy(ensemble, coupling):
    model = Holstein(Lattice("square", (4, 6)), coupling=coupling, **ensemble)
    x = random_positions(model, seed=3)
    forces, _ = forces_and_energy(model, x)
    direction = random_positions(model, seed=4)
    slope = [forces_and_energy(model, x + h * direction)[1][0] for h in (2e-3, 1e-3, -1e-3, -2e-3)]
    # Five-point rule: its truncation error is h^4 and its rounding error eps Omega / h, both far below the limit.
    derivative = (-slope[0] + 8 * slope[1] - 8 * slope[2] + slope[3]) / 12e-3
    assert -np.vdot(forces, direction) == pytest.approx(derivative, rel=1e-7)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (4, 6)])
def test_forces_follow_every_operation_of_the_space_group(ensemble, shape):
    model = Holstein(Lattice("square", shape), **ensemble)
    x = random_positions(model, seed=5)
    forces, energy = forces_and_energy(model, x)
    operations = list(model.lattice.symmetries())
    images = np.empty((len(operations), *x.shape[1:]))
    for r, operation in enumerate(operations):
        images[r, operation.permutation] = x[0]
    image_forces, image_energies = forces_and_energy(model, images)
    scale = np.abs(forces).max()
    for r, operation in enumerate(operations):
        assert np.abs(image_forces[r, operation.permutation] - forces[0]).max() <= 1e-12 * scale, operation.name
    assert np.abs(image_energies - energy).max() <= 1e-12 * abs(energy[0])


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize("coupling", [1.5, 3.5])
def test_particle_hole_symmetry(ensemble, coupling):
    model = Holstein(Lattice("square", (6, 4)), coupling=coupling, **ensemble)
    x = random_positions(model, seed=6, width=2.0)
    forces, energy = forces_and_energy(model, np.concatenate([x, -x]))
    assert [symmetry.name for symmetry in model.internal_symmetries()] == ["particle-hole"]
    assert np.abs(forces[0] + forces[1]).max() <= 1e-12 * np.abs(forces).max()
    assert energy[0] == pytest.approx(energy[1], rel=1e-12)


def test_particle_hole_symmetry_is_not_claimed_where_it_does_not_hold():
    for model in (Holstein(Lattice("square", (5, 4))), Holstein(Lattice("square", (4, 4)), mu=0.3)):
        x = random_positions(model, seed=7)
        forces, _ = forces_and_energy(model, np.concatenate([x, -x]))
        assert model.internal_symmetries() == []
        assert np.abs(forces[0] + forces[1]).max() > 1e-3


@dataclasses.dataclass(frozen=True)
class Dimer(Holstein):
    """Sites 0 and 1 joined by one bond, all others isolated."""

    def hops(self) -> Hops:
        return Hops(np.array([0]), np.array([1]), np.array([-self.hopping]))


@pytest.mark.parametrize("mu", [0.0, 0.4])
def test_two_sites_and_isolated_sites_match_the_closed_form(mu):
    # e = (a + b)/2 -+ w with w = sqrt(((a - b)/2)^2 + t^2); site a has weight (1 +- (a - b)/2w)/2 in them.
    model = Dimer(Lattice("square", (3, 3)), mu=mu, intersite=0.0, electronic_temperature=0.3)
    x = random_positions(model, seed=8)
    forces, energy = forces_and_energy(model, x)
    kt, q = 0.3, x[0, :, 0]
    levels = -model.coupling * q
    half, mean = 0.5 * (levels[0] - levels[1]), 0.5 * (levels[0] + levels[1])
    width = np.hypot(half, model.hopping)
    occupied = expit((mu - np.array([mean - width, mean + width])) / kt)
    n0 = occupied[0] * (1 - half / width) / 2 + occupied[1] * (1 + half / width) / 2
    density = np.array([n0, occupied.sum() - n0, *expit((mu - levels[2:]) / kt)])
    np.testing.assert_allclose(forces[0, :, 0], model.coupling * (density - 0.5) - model.stiffness * q, atol=1e-13)
    spectrum = np.array([mean - width, mean + width, *levels[2:]])
    omega = -kt * np.log1p(np.exp((mu - spectrum) / kt)).sum() + 0.5 * model.coupling * q.sum() + 0.5 * (q**2).sum()
    assert energy[0] == pytest.approx(omega, rel=1e-13)


def test_without_coupling_the_force_is_elastic_and_the_electrons_are_a_fermi_sea():
    model = Holstein(Lattice("square", (4, 6)), coupling=0.0)
    x = random_positions(model, seed=9)
    forces, energy = forces_and_energy(model, x)
    around = x[:, model.lattice.neighbours()].sum(axis=2)
    np.testing.assert_allclose(forces, -model.stiffness * x - model.intersite * around, atol=1e-13)
    kx, ky = np.meshgrid(2 * np.pi * np.arange(4) / 4, 2 * np.pi * np.arange(6) / 6)
    band = -2.0 * (np.cos(kx) + np.cos(ky))
    elastic = 0.5 * (x**2).sum() + 0.5 * model.intersite * (x * around).sum()
    assert energy[0] == pytest.approx(elastic - 0.1 * np.logaddexp(0.0, -band / 0.1).sum(), rel=1e-12)


def test_fixed_filling_holds_the_number_of_electrons():
    from forcefields.ed import ExactDiagonalisation
    from latticemd import State, System

    model = Holstein(Lattice("square", (4, 5)), filling=0.37)
    system = System(model, ExactDiagonalisation(), replicas=2)
    system.update_forces(State.at_rest(random_positions(model, replicas=2)), 0)
    np.testing.assert_allclose(system.electrons.density.sum(axis=1), 0.37 * 20, rtol=1e-13)


def test_the_checkerboard_has_the_mean_field_order():
    # Self-consistent order <n_A> - 1/2 at kT = 0.1, k = 1, kappa = 0.18 for g = 1.5: 0.447 (physics reference).
    model = Holstein(Lattice("square", (16, 16)))
    amplitude = 1.0
    for _ in range(60):
        x = model.ordered(amplitude)[None]
        forces, _ = forces_and_energy(model, x)
        amplitude += 0.5 * float((forces[0] * model.ordered(1.0)).mean())
    order = amplitude * (model.stiffness - 4 * model.intersite) / model.coupling
    assert order == pytest.approx(0.447, abs=0.002)


def test_mu_and_filling_exclude_each_other():
    with pytest.raises(InputError, match="not both"):
        Holstein(Lattice("square", (3, 3)), mu=0.0, filling=0.5)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_positions_without_a_spectrum_end_in_an_arithmetic_error(ensemble, value):
    from forcefields.ed import ExactDiagonalisation
    from latticemd.forcefield import Electrons

    model, forcefield = Holstein(Lattice("square", (3, 3)), coupling=10.0, **ensemble), ExactDiagonalisation()
    x = random_positions(model)
    x[0, 4, 0] = value
    forcefield.prepare(model, 1)
    with pytest.raises(ArithmeticError, match="finite"), np.errstate(over="ignore"):
        forcefield.evaluate(model, x, 0, Electrons.empty(1, model))
