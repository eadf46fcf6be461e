"""Observables on configurations whose answer is known on paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd import observables as ob
from latticemd.errors import InputError
from latticemd.lattice import Lattice

extents = st.tuples(st.integers(3, 9), st.integers(3, 9))
seeds = st.integers(0, 2**32 - 1)


def square(*shape):
    return Lattice("square", shape)


def noise(lattice, seed=0, replicas=2):
    return np.random.default_rng(seed).normal(size=(replicas, lattice.sites))


def two_domains(lattice):
    """+1 for x below half the box and -1 above: two straight walls of length Ly."""
    return np.where(lattice.cells[:, 0] < lattice.shape[0] // 2, 1.0, -1.0)[None]


def exponential_field(lattice, length, seed=0):
    """A field of random phases whose correlation is exp(-r/length) exactly, but for the clipping of S at zero."""
    cells = np.moveaxis(np.indices(lattice.shape), 0, -1)
    nearest = np.minimum(cells, np.array(lattice.shape) - cells)
    target = np.fft.fftn(np.exp(-np.linalg.norm(nearest, axis=-1) / length)).real.clip(min=0)
    phases = np.fft.fftn(noise(lattice, seed, 1).reshape(lattice.shape))
    return np.fft.ifftn(np.sqrt(lattice.sites * target) * phases / np.abs(phases)).real.reshape(1, -1)


@pytest.fixture
def triangular():
    return Lattice("triangular", (12, 12))


# order and domain walls


def test_the_perfect_checkerboard_is_ordered_and_has_no_walls():
    lattice = square(6, 4)
    phi = (0.5 * lattice.staggered * lattice.staggered)[None]
    assert ob.order_parameter(phi) == pytest.approx([0.5])
    assert ob.local_amplitude(phi) == pytest.approx([0.5])
    assert ob.wall_fraction(phi, lattice.bonds()) == pytest.approx([0.0])


def test_two_straight_walls_cut_their_length_in_bonds_and_cancel_the_order():
    lattice = square(10, 7)
    phi = 0.4 * two_domains(lattice)
    assert ob.wall_fraction(phi, lattice.bonds()) == pytest.approx([2 * 7 / (2 * lattice.sites)])
    assert ob.order_parameter(phi) == pytest.approx([0.0], abs=1e-15)
    assert ob.local_amplitude(phi) == pytest.approx([0.4])


def test_one_flipped_site_costs_four_walls():
    lattice = square(8, 8)
    phi = np.ones((1, lattice.sites))
    phi[0, 13] = -1
    assert ob.wall_fraction(phi, lattice.bonds()) == pytest.approx([4 / (2 * lattice.sites)])


def test_random_signs_cut_half_of_the_bonds():
    lattice = square(100, 100)
    # Products of neighbouring random signs are pairwise independent: the spread is that of B = 20 000 coin flips.
    assert ob.wall_fraction(noise(lattice), lattice.bonds()) == pytest.approx([0.5, 0.5], abs=5 * 0.5 / np.sqrt(20_000))


@given(extents, seeds)
@settings(deadline=None, max_examples=25)
def test_walls_ignore_amplitudes_and_the_global_sign(shape, seed):
    lattice = square(*shape)
    phi = noise(lattice, seed)
    stretched = -phi * np.random.default_rng(seed + 1).uniform(0.1, 10, phi.shape)
    np.testing.assert_array_equal(ob.wall_fraction(stretched, lattice.bonds()), ob.wall_fraction(phi, lattice.bonds()))


# structure factor


def test_the_checkerboard_has_one_bragg_peak_of_a_quarter_of_n_at_pi_pi():
    lattice = square(8, 6)
    density = 0.5 + 0.5 * lattice.staggered[None]
    structure = ob.structure_factor(density - 0.5, lattice)[0]
    assert structure[4, 3] == pytest.approx(lattice.sites / 4)
    structure[4, 3] = 0
    np.testing.assert_allclose(structure, 0, atol=1e-12)
    assert ob.structure_factor_at(density - 0.5, lattice, np.array([np.pi, np.pi])) == pytest.approx(12.0)


def test_the_order_field_has_the_peak_of_the_charge_moved_to_the_origin():
    lattice = square(8, 6)
    charge = noise(lattice)
    moved = ob.structure_factor(charge * lattice.staggered, lattice)
    np.testing.assert_allclose(moved, np.roll(ob.structure_factor(charge, lattice), (4, 3), axis=(1, 2)), rtol=1e-10)


@given(extents, seeds)
@settings(deadline=None, max_examples=25)
def test_the_structure_factor_obeys_parsevals_sum_rule(shape, seed):
    lattice = square(*shape)
    phi = noise(lattice, seed)
    np.testing.assert_allclose(ob.structure_factor(phi, lattice).mean(axis=(1, 2)), (phi**2).mean(axis=1))


def test_the_fourier_transform_agrees_with_the_direct_sum_at_its_wave_vectors():
    lattice = square(5, 4)
    phi = noise(lattice)
    direct = ob.structure_factor_at(phi, lattice, ob.wave_vectors(lattice).reshape(-1, 2))
    np.testing.assert_allclose(ob.structure_factor(phi, lattice).reshape(2, -1), direct, atol=1e-12)


def test_on_a_skew_lattice_too_the_transform_agrees_with_the_direct_sum(triangular):
    phi = noise(triangular)
    direct = ob.structure_factor_at(phi, triangular, ob.wave_vectors(triangular).reshape(-1, 2))
    np.testing.assert_allclose(ob.structure_factor(phi, triangular).reshape(2, -1), direct, atol=1e-11)


def test_white_noise_has_a_flat_structure_factor_of_its_variance():
    lattice = square(32, 32)
    structure = ob.structure_factor(0.3 * noise(lattice, replicas=400), lattice)
    # |phi_q|^2 of Gaussian noise is exponentially distributed: one q has the relative spread 1, 400 replicas 1/20.
    assert np.abs(structure.mean(axis=0) / 0.09 - 1).max() < 6 * np.sqrt(2) / 20
    assert structure.mean() == pytest.approx(0.09, rel=0.01)


@pytest.mark.parametrize("shape", [(4, 4), (6, 4)])
def test_rotated_and_shifted_fields_have_the_same_order_and_a_rotated_structure_factor(shape):
    lattice = square(*shape)
    phi = noise(lattice)
    structure = ob.structure_factor(phi, lattice)
    _, c = ob.correlation(phi, lattice)
    for symmetry in lattice.symmetries():
        moved = np.empty_like(phi)
        moved[:, symmetry.permutation] = phi
        rotated = ob.structure_factor_at(moved, lattice, ob.wave_vectors(lattice).reshape(-1, 2) @ symmetry.rotation.T)
        np.testing.assert_allclose(rotated, structure.reshape(2, -1), atol=1e-11)
        np.testing.assert_allclose(ob.correlation(moved, lattice)[1], c, atol=1e-12)
        np.testing.assert_allclose(ob.wall_fraction(moved, lattice.bonds()), ob.wall_fraction(phi, lattice.bonds()))
        np.testing.assert_allclose(ob.order_parameter(moved), ob.order_parameter(phi))


def test_the_replicas_do_not_mix():
    lattice = square(6, 5)
    phi = noise(lattice, replicas=3)
    for measure in (ob.structure_factor, ob.correlation_length):
        alone = np.concatenate([measure(phi[r : r + 1], lattice) for r in range(3)])
        np.testing.assert_allclose(measure(phi, lattice), alone)


# correlations and lengths


@given(extents, seeds)
@settings(deadline=None, max_examples=25)
def test_the_correlation_starts_at_the_mean_square(shape, seed):
    lattice = square(*shape)
    phi = noise(lattice, seed)
    r, c = ob.correlation(phi, lattice)
    assert r[0] == 0
    assert r[-1] <= min(shape) / 2 * (1 + 1e-9)
    np.testing.assert_allclose(c[:, 0], (phi**2).mean(axis=1))


def test_the_correlation_is_the_average_over_pairs_at_a_distance():
    lattice = square(7, 7)
    phi = noise(lattice)
    apart = lattice.positions[:, None] - lattice.positions[None]
    apart -= 7 * np.rint(apart / 7)
    distance = np.linalg.norm(apart, axis=-1)
    r, c = ob.correlation(phi, lattice)
    for ring in range(len(r)):
        pairs = (np.rint(distance) == ring) & (distance <= 3.5)
        assert r[ring] == pytest.approx(distance[pairs].mean())
        np.testing.assert_allclose(c[:, ring], [np.outer(row, row)[pairs].mean() for row in phi], atol=1e-12)


def test_on_a_skew_lattice_the_first_ring_of_correlations_is_the_six_neighbours(triangular):
    phi = noise(triangular)
    bonds = triangular.bonds()
    r, c = ob.correlation(phi, triangular)
    assert len(bonds.i) == 3 * triangular.sites
    assert r[1] == pytest.approx(1.0)
    np.testing.assert_allclose(c[:, 1], (phi[:, bonds.i] * phi[:, bonds.j]).mean(axis=1))


@pytest.mark.parametrize("length", [3.0, 6.0, 12.0])
def test_an_exponentially_correlated_field_has_its_half_length(length):
    lattice = square(128, 128)
    phi = exponential_field(lattice, length)
    r, c = ob.correlation(phi, lattice)
    np.testing.assert_allclose(c[0, r < 3 * length], np.exp(-r / length)[r < 3 * length], atol=0.02)
    assert ob.correlation_length(phi, lattice) == pytest.approx([length * np.log(2)], rel=0.03)


def test_all_three_lengths_double_when_the_domains_do():
    fine, coarse = square(64, 64), square(128, 128)
    phi = np.sign(exponential_field(fine, 6.0, seed=3))
    doubled = np.kron(phi.reshape(fine.shape), np.ones((2, 2))).reshape(1, -1)
    for definition in ("half", "moment", "walls"):
        small = ob.correlation_length(phi, fine, definition)
        assert ob.correlation_length(doubled, coarse, definition) == pytest.approx(2 * small, rel=0.1), definition


def test_a_mosaic_of_squares_has_their_edge_as_wall_length():
    lattice = square(24, 24)
    mosaic = (1.0 - 2.0 * ((lattice.cells // 4).sum(axis=1) % 2))[None]
    assert ob.correlation_length(mosaic, lattice, "walls") == pytest.approx([4.0])


def test_a_plane_wave_has_its_wavelength_as_moment_length():
    lattice = square(32, 32)
    wave = np.cos(2 * np.pi * 4 * lattice.cells[:, 0] / 32)[None]
    # The ring of the peak is averaged over its width, at a mean |q| 2 % beyond the peak itself.
    assert ob.correlation_length(wave, lattice, "moment") == pytest.approx([8.0], rel=0.03)


def test_white_noise_is_correlated_over_about_a_site():
    lattice = square(64, 64)
    phi = noise(lattice, replicas=8)
    # C falls from its value at 0 to nothing in the first ring: four neighbours at 1 and four at sqrt 2.
    assert ob.correlation_length(phi, lattice, "half") == pytest.approx(np.full(8, (1 + np.sqrt(2)) / 4), abs=0.03)
    # A flat S between 0 and pi has the mean pi/2.
    assert ob.correlation_length(phi, lattice, "moment") == pytest.approx(np.full(8, 4.0), rel=0.1)
    assert ob.correlation_length(phi, lattice, "walls") == pytest.approx(np.full(8, 2.0), rel=0.1)


@pytest.mark.parametrize("definition", ["half", "moment", "walls"])
@pytest.mark.parametrize("value", [0.0, 0.447])
def test_a_single_domain_has_no_length(definition, value):
    lattice = square(12, 10)
    assert np.isnan(ob.correlation_length(np.full((2, lattice.sites), value), lattice, definition)).all()


# temperatures


def test_momenta_and_coordinates_of_a_harmonic_solid_tell_its_temperature():
    kt, mass, stiffness, sites = 0.1, 5.0, 1.7, 200_000
    rng = np.random.default_rng(5)
    x = rng.normal(scale=np.sqrt(kt / stiffness), size=(2, sites, 1))
    p = rng.normal(scale=np.sqrt(kt * mass), size=(2, sites, 1))
    spread = kt * np.sqrt(2 / sites)
    kinetic = (p**2).sum(axis=(1, 2)) / (2 * mass)
    assert ob.kinetic_temperature(kinetic, sites) == pytest.approx([kt, kt], abs=5 * spread)
    assert ob.virial_temperature(x, -stiffness * x) == pytest.approx([kt, kt], abs=5 * spread)


def test_the_virial_temperature_holds_in_an_anharmonic_well():
    # U = x^4 with two components per site: x^4/kT follows a Gamma distribution of shape 1/4.
    kt = 0.7
    rng = np.random.default_rng(6)
    shape = (1, 100_000, 2)
    x = (kt * rng.gamma(0.25, size=shape)) ** 0.25 * rng.choice([-1, 1], size=shape)
    assert ob.virial_temperature(x, -4 * x**3) == pytest.approx([kt], rel=0.03)


# what cannot be asked


def test_an_unknown_length_is_answered_with_the_known_ones():
    lattice = square(4, 4)
    with pytest.raises(InputError, match="half, moment, walls"):
        ob.correlation_length(noise(lattice), lattice, "quarter")


def test_a_field_of_the_wrong_size_is_refused_with_numbers():
    with pytest.raises(ValueError, match=r"\(R, 16\), got \(1, 15\)"):
        ob.structure_factor(np.zeros((1, 15)), square(4, 4))


def test_a_cell_with_two_sites_has_no_single_transform():
    lattice = Lattice("custom", (4, 4), vectors=[[1, 0], [0, 1]], basis=[[0, 0], [0.5, 0.5]])
    with pytest.raises(InputError, match="one site per cell"):
        ob.structure_factor(np.zeros((1, 32)), lattice)
    assert ob.structure_factor_at(np.ones((1, 32)), lattice, np.zeros(2)) == pytest.approx(32.0)
