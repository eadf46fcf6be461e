"""Densities of states against exact levels: their integrals, their shape, their places."""

import numpy as np
import pytest
from electrons import Flux

from forcefields.kpm import KernelPolynomial
from forcefields.kpm.chebyshev import Interval, intervals
from forcefields.kpm.states import moments_for
from latticemd import Holstein, Lattice
from latticemd.analysis.spectra import Window, level_bounds, sites_at_walls, spectral_forcefield
from latticemd.errors import InputError
from latticemd.forcefield import Spectral
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.models.jahn_teller import JahnTeller

WIDTH = 0.2


def exact_density(model, x, energies, orbital=None):
    """Gaussians of the Jackson width at the exact levels, weighted by |<orbital|n>|^2 or evenly, (E,)."""
    one = Hamiltonian.of(model, x).replica(0)
    h = np.zeros((one.size, one.size), dtype=one.amplitude.dtype)
    np.add.at(h, (one.i, one.j), one.amplitude)
    levels, states = np.linalg.eigh(h + h.conj().T + np.diag(one.levels[0]))
    weight = np.full(one.size, 1 / one.size) if orbital is None else np.abs(states[orbital]) ** 2
    (interval,) = intervals(Hamiltonian.of(model, x), model.lattice)
    # The kernel is a Gaussian that gets narrower towards the ends of the interval.
    width = WIDTH * np.sqrt(1 - ((levels - interval.centre) / interval.half_width) ** 2)
    return np.exp(-0.5 * ((energies[:, None] - levels) / width) ** 2) @ (weight / (width * np.sqrt(2 * np.pi)))


@pytest.fixture(params=["holstein", "two orbitals", "complex hops"])
def case(request):
    lattice = Lattice("square", (6, 8))
    model = {"holstein": Holstein, "two orbitals": JahnTeller, "complex hops": Flux}[request.param](lattice)
    x = np.random.default_rng(1).normal(size=(1, lattice.sites, model.components))
    low, high = level_bounds(model, x)
    return model, x, np.linspace(low - 2.0, high + 2.0, 400)


def test_the_density_of_states_is_that_of_the_exact_levels(case):
    model, x, energies = case
    found = KernelPolynomial(random_vectors=100).density_of_states(model, x, energies, WIDTH)[0]
    assert found.min() > -1e-12
    assert found.sum() * (energies[1] - energies[0]) == pytest.approx(1.0, abs=1e-3)
    expected = exact_density(model, x, energies)
    assert np.abs(found - expected).max() < 0.05 * expected.max()
    above = np.cumsum(found - expected) * (energies[1] - energies[0])
    assert np.abs(above).max() < 0.01  # the number of levels below any energy


def test_a_local_density_is_that_of_one_site(case):
    model, x, energies = case
    sites = np.zeros((1, model.lattice.sites), bool)
    sites[0, 7] = True
    found = KernelPolynomial().density_of_states(model, x, energies, WIDTH, sites)[0]
    o = model.orbitals
    expected = np.mean([exact_density(model, x, energies, 7 * o + a) for a in range(o)], axis=0)
    above = np.cumsum(found - expected) * (energies[1] - energies[0])
    assert np.abs(above).max() < 0.03


def test_parts_of_the_lattice_add_up_to_the_whole(case):
    model, x, energies = case
    part = np.random.default_rng(2).random((1, model.lattice.sites)) < 0.3
    forcefield = KernelPolynomial(random_vectors=100)
    whole, one, rest = (forcefield.density_of_states(model, x, energies, WIDTH, s) for s in (None, part, ~part))
    np.testing.assert_allclose(part.mean() * one + (~part).mean() * rest, whole, atol=1e-12)


def test_random_vectors_come_near_and_are_the_same_each_time():
    model = Holstein(Lattice("square", (24, 24)))
    x = np.random.default_rng(3).normal(size=(1, 576, 1))
    energies = np.linspace(-8, 8, 200)
    exact = KernelPolynomial(random_vectors=1000).density_of_states(model, x, energies, WIDTH)
    drawn = spectral_forcefield().density_of_states(model, x, energies, WIDTH)
    assert np.abs(drawn - exact).max() < 6 / np.sqrt(16 * 576) * exact.max() / np.sqrt(WIDTH)
    np.testing.assert_array_equal(spectral_forcefield().density_of_states(model, x, energies, WIDTH), drawn)


def test_a_checkerboard_has_a_gap_and_particle_hole_symmetry():
    model = Holstein(Lattice("square", (12, 12)))
    energies = np.linspace(-7, 7, 281)
    found = KernelPolynomial(random_vectors=200).density_of_states(model, model.ordered(2.4)[None], energies, 0.1)[0]
    np.testing.assert_allclose(found, found[::-1], atol=1e-9)
    gap = 1.5 * 2.4  # levels +- (e_k^2 + (g Q)^2)^(1/2)
    assert found[np.abs(energies) < gap - 0.4].max() < 1e-3
    assert found[np.abs(np.abs(energies) - gap) < 0.3].max() > 0.2


def test_sites_at_walls_and_inside_are_told_apart():
    lattice = Lattice("square", (12, 5))
    field = np.where(lattice.cells[:, 0] < 6, 0.4, -0.4)[None]
    walls, inside = sites_at_walls(field, lattice.bonds())
    assert sorted(set(lattice.cells[walls[0], 0])) == [0, 5, 6, 11]
    assert sorted(set(lattice.cells[inside[0], 0])) == [2, 3, 8, 9]


def test_the_bounds_hold_all_levels_and_windows_are_no_finer_than_asked(case):
    model, x, _ = case
    low, high = level_bounds(model, x)
    one = Hamiltonian.of(model, x)
    assert low <= one.levels.min()
    assert high >= one.levels.max()
    window = Window.holding([(low, high), (low - 1, high)], 0.1)
    assert window.width == pytest.approx(0.1)
    assert window.energies[0] < low - 1
    assert np.diff(window.energies).max() <= 0.05
    wide = Window.holding([(-60.0, 60.0)], 1e-3)
    assert wide.width == pytest.approx(0.12)
    assert len(wide.energies) < 2100


def test_what_knows_no_density_of_states_is_refused():
    assert isinstance(KernelPolynomial(), Spectral)
    assert moments_for(0.1, Interval(0.0, 10.0)) == 315
    with pytest.raises(InputError, match=r"need 314160 Chebyshev moments, at most 65536"):
        moments_for(1e-4, Interval(0.0, 10.0))
