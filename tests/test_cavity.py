"""The cavity force field: kernels against their specification, exactness on trees, documented errors on lattices, symmetries."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest
from conftest import random_positions
from electrons import Flux, electrons

from forcefields.cavity import Cavity
from forcefields.cavity.elimination import (
    EAST,
    FACTOR,
    FILL,
    HOP,
    NORTH,
    PIVOT,
    SITE,
    SOUTH,
    UPDATE,
    WEST,
    elimination,
)
from forcefields.cavity.expansion import Expansion, expansion
from forcefields.cavity.graph import OnGraph, messages
from forcefields.cavity.square import OnSquare
from forcefields.ed import ExactDiagonalisation
from forcefields.filling import chemical_potential
from forcefields.hopping import Graph, Patches, boxes
from latticemd import Holstein, Lattice, State, System
from latticemd.errors import InputError
from latticemd.models.hamiltonian import Hops

HOT = 5.27  # width of the initial positions of the published g = 3.5 runs


def squared_error(forcefield, model, x) -> float:
    """Mean square of the error of the electronic force."""
    exact = electrons(ExactDiagonalisation(), model, x)
    return float(((electrons(forcefield, model, x).force - exact.force) ** 2).mean())


@dataclasses.dataclass(frozen=True)
class Chain(Holstein):
    """The sites of a square lattice along one open chain, with hops of two strengths in turn."""

    def hops(self) -> Hops:
        left = np.arange(self.lattice.sites - 1)
        return Hops(left, left + 1, -self.hopping * np.where(left % 2, 0.6, 1.0))


@dataclasses.dataclass(frozen=True)
class Bethe(Holstein):
    """A cluster of the Bethe lattice with three neighbours: site i has the children 2 i + 2 and 2 i + 3 (0 and 1 are joined)."""

    def hops(self) -> Hops:
        child = np.arange(1, self.lattice.sites)
        return Hops(np.maximum(child - 2, 0) // 2, child, np.full(len(child), -self.hopping))


@dataclasses.dataclass(frozen=True)
class Dimer(Holstein):
    """Sites 0 and 1 joined by two hops that add up, all others isolated."""

    def hops(self) -> Hops:
        return Hops(np.array([0, 1]), np.array([1, 0]), np.array([-0.4j, -0.6j]))


# shapes: odd, one tile; several tiles across, with a ragged edge; several tiles down
@pytest.mark.parametrize("shape", [(11, 13), (10, 135), (40, 11)])
@pytest.mark.parametrize(("radius", "sweeps"), [(1, 1), (1, 4), (2, 3), (3, 2)])
def test_compiled_kernels_agree_with_the_specification(shape, radius, sweeps):
    model = Holstein(Lattice("square", shape), hopping=0.8)
    levels = model.onsite(random_positions(model, seed=1, replicas=2, width=2.0))
    made = [
        Expansion(np.array([0.3, 2.0]), np.array([[0.2, 1.0], [1.5, -0.4]]), 0.01),
        Expansion(np.array([0.7]), np.array([[0.3, 0.1]]), 0.0),
    ]
    graph = Graph.of_model(model)
    specification = OnGraph(graph, Patches.around(graph, boxes(model.lattice, radius)), sweeps)
    spec, spec_energy = specification.solve(levels, made)
    double, double_energy = OnSquare(shape, -0.8, radius, sweeps, np.float64).solve(levels, made)
    single, single_energy = OnSquare(shape, -0.8, radius, sweeps, np.float32).solve(levels, made)
    np.testing.assert_allclose(double.onsite, spec.onsite, rtol=0, atol=1e-12)
    np.testing.assert_allclose(double_energy, spec_energy, rtol=0, atol=1e-11)
    np.testing.assert_allclose(single.onsite, spec.onsite, rtol=0, atol=2e-6)
    np.testing.assert_allclose(single_energy, spec_energy, rtol=0, atol=1e-4)
    compiled = OnSquare(shape, -0.8, radius, sweeps, np.float64)
    assert specification.reach(model.lattice) == compiled.reach(model.lattice) == pytest.approx(3.2)


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_the_elimination_program_inverts_a_patch(radius):
    model = Holstein(Lattice("square", (2 * radius + 3,) * 2))
    levels = model.onsite(random_positions(model, seed=2))[0]
    patch = boxes(model.lattice, radius)[:1]
    h = np.diag(levels) + 0j
    hops = model.hops()
    h[hops.i, hops.j] = h[hops.j, hops.i] = -1.0
    offset = (model.lattice.cells + radius) % (2 * radius + 3) - radius
    rim = (np.abs(offset[hops.i]) == radius) & (offset[hops.i] == offset[hops.j])
    i, j = hops.i[rim.any(axis=1)], hops.j[rim.any(axis=1)]  # along the rim, where bonds differ
    h[i, j] = h[j, i] = np.random.default_rng(3).normal(size=(len(i), 2)) @ np.array([1.0, 1.0j])
    inside = h[np.ix_(patch[0], patch[0])] - 0.4j * np.eye(patch.size)
    program, places, factors = elimination(radius)
    assert np.isin(program[:, 0], (UPDATE, FILL)).sum() <= {1: 28, 2: 175, 4: 1533}[radius]
    assert program[:, 1].max() < max(places, factors)
    green = run_program(program, places, factors, inside, patch[0], model.lattice)
    assert green == pytest.approx(np.linalg.inv(inside)[0, 0], rel=1e-12)


def run_program(program, places, factors, matrix, members, lattice) -> complex:
    """What the compiled kernel does, on one patch in plain numbers."""
    a, g, inverse = np.full(places, np.nan, complex), np.full(factors, np.nan, complex), np.nan
    place = {int(site): n for n, site in enumerate(members)}

    def at(offset) -> int:
        return place[int(lattice.site(lattice.cells[members[0]] + np.array(offset)))]

    for operation, p, q, r in program:
        if operation == SITE:
            a[p] = matrix[at((q, r)), at((q, r))]
        elif operation == HOP:
            a[p] = -1.0
        elif operation in (NORTH, SOUTH):
            a[p] = matrix[at((q, r)), at((q, r + 1))]
        elif operation in (WEST, EAST):
            a[p] = matrix[at((q, r)), at((q + 1, r))]
        elif operation == PIVOT:
            inverse = 1.0 / a[p]
        elif operation == FACTOR:
            g[q] = a[p] * inverse
        elif operation == UPDATE:
            a[p] -= g[q] * a[r]
        elif operation == FILL:
            a[p] = -g[q] * a[r]
    return 1.0 / a[program[-1, 1]]


def green(graph, levels, z, sweeps, radius) -> np.ndarray:
    """G_ii(z) from patches of all sites within `radius` hops, (N,)."""
    patches = Patches.around(graph, graph.balls(radius))
    return OnGraph(graph, patches, sweeps).green(levels, np.array([z]))[0][0]


@pytest.mark.parametrize("model_class", [Chain, Bethe])
def test_on_a_tree_the_green_function_is_exact(model_class):
    # A sweep carries a message one bond further: 14 reach from end to end of 15 sites, whatever the patch.
    model = model_class(Lattice("square", (3, 5)))
    levels = model.onsite(random_positions(model, seed=3))[0]
    graph = Graph.of(model.hops(), 15)
    h = np.diag(levels)
    h[model.hops().i, model.hops().j] = h[model.hops().j, model.hops().i] = model.hops().amplitude
    for z in (0.05j, 0.3 + 2.0j):
        exact = np.linalg.inv(h - z * np.eye(15)).diagonal()
        for radius in (0, 1, 3):
            np.testing.assert_allclose(green(graph, levels, z, 14, radius), exact, rtol=1e-12)
        assert np.abs(green(graph, levels, z, 2, 1) - exact).max() > 1e-5


@pytest.mark.parametrize("model_class", [Chain, Bethe])
@pytest.mark.parametrize("ensemble", [{"mu": -0.7}, {"filling": 0.37}], ids=str)
def test_on_a_tree_density_energy_and_mu_are_exact(model_class, ensemble):
    model = model_class(Lattice("square", (3, 5)), **ensemble)
    x = random_positions(model, seed=4, replicas=2)
    exact = electrons(ExactDiagonalisation(), model, x)
    cavity = electrons(Cavity(radius=2, sweeps=12, tolerance=1e-12), model, x)
    np.testing.assert_allclose(cavity.density, exact.density, atol=1e-11)
    np.testing.assert_allclose(cavity.force, exact.force, atol=1e-11)
    np.testing.assert_allclose(cavity.mu, exact.mu, atol=1e-10)
    np.testing.assert_allclose(cavity.energy, exact.energy, atol=15 * 1e-4 * 0.1)  # 1e-4 kT for each level


def test_isolated_sites_and_hops_that_add_up():
    # H_01 = -0.4i + conj(-0.6i) = 0.2i.
    model = Dimer(Lattice("square", (3, 3)))
    x = random_positions(model, seed=23)
    levels = model.onsite(x)[0]
    found = green(Graph.of_model(model), levels, 0.3j, 3, 1)
    np.testing.assert_allclose(found[2:], 1.0 / (levels[2:] - 0.3j), rtol=1e-13)
    pair = np.array([[levels[0], 0.2j], [-0.2j, levels[1]]]) - 0.3j * np.eye(2)
    np.testing.assert_allclose(found[:2], np.linalg.inv(pair).diagonal(), rtol=1e-13)


def test_messages_of_a_long_chain_are_those_of_the_half_infinite_one():
    # M = 1/(-z - t^2 M) at the end of a half-infinite chain without disorder: M = (-z - sqrt(z^2 - 4 t^2))/(2 t^2).
    graph = Graph.of(Hops(np.arange(60), np.arange(1, 61), np.full(60, -1.0)), 61)
    z = 0.2 + 1.5j
    last = messages(graph, np.zeros(61), z, 60)[-1]  # sorted by the site it leads to: the one into the last site
    root = np.sqrt(z**2 - 4 + 0j)
    root = root if root.imag * z.imag > 0 else -root
    assert last == pytest.approx(0.5 * (-z + root), rel=1e-12)


# Limits: three times the mean over hundreds of states, see tools/bench/cavity.py.
@pytest.mark.parametrize(("radius", "limit"), [(1, 1.5e-5), (2, 4.5e-7), (3, 1e-8), (4, 6e-11)])
def test_error_at_strong_coupling(radius, limit):
    model = Holstein(Lattice("square", (12, 12)), coupling=3.5)
    x = random_positions(model, seed=5, replicas=20, width=HOT)
    assert squared_error(Cavity(radius=radius, tolerance=1e-7), model, x) < limit


@pytest.mark.parametrize(("radius", "limit"), [(1, 1.2e-3), (2, 2.7e-4), (3, 6e-5), (4, 1.5e-5)])
def test_error_at_weak_coupling(radius, limit):
    model = Holstein(Lattice("square", (12, 12)), coupling=1.5)
    x = random_positions(model, seed=6, replicas=4)
    error = squared_error(Cavity(radius=radius), model, x)
    assert limit / 30 < error < limit


def test_ordered_states_are_far_better():
    model = Holstein(Lattice("square", (12, 12)), coupling=3.5)
    x = model.ordered(3.0)[None] + random_positions(model, seed=7, width=0.3)
    assert squared_error(Cavity(radius=1), model, x) < 1e-11
    model = dataclasses.replace(model, coupling=1.5)
    x = model.ordered(2.0)[None] + random_positions(model, seed=8, width=0.3)
    assert squared_error(Cavity(radius=1), model, x) < 5e-7
    assert squared_error(Cavity(radius=3), model, x) < 2e-11


def test_single_precision_costs_no_accuracy_that_matters():
    model = Holstein(Lattice("square", (12, 12)), coupling=3.5)
    x = random_positions(model, seed=9, replicas=4, width=HOT)
    for radius in (1, 2):
        double = electrons(Cavity(radius=radius), model, x)
        single = electrons(Cavity(radius=radius, precision="float32"), model, x)
        np.testing.assert_allclose(single.density, double.density, atol=1e-6)
        np.testing.assert_allclose(single.energy, double.energy, atol=2e-5 * 144)


@pytest.mark.parametrize("forcefield", [Cavity(radius=1), Cavity(radius=2)], ids=str)
@pytest.mark.parametrize("shape", [(6, 6), (7, 8)])
def test_forces_follow_every_operation_of_the_space_group(forcefield, shape):
    model = Holstein(Lattice("square", shape), mu=0.2)
    x = random_positions(model, seed=10)
    operations = list(model.lattice.symmetries())
    images = np.empty((len(operations), *x.shape[1:]))
    for r, operation in enumerate(operations):
        images[r, operation.permutation] = x[0]
    out = electrons(forcefield, model, np.concatenate([x, images]))
    scale = np.abs(out.force[0]).max()
    for r, operation in enumerate(operations):
        moved = out.force[r + 1, operation.permutation]
        assert np.abs(moved - out.force[0]).max() <= 1e-12 * scale, operation.name
    np.testing.assert_allclose(out.energy, out.energy[0], rtol=1e-12)


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize("radius", [1, 3])
def test_particle_hole_symmetry(ensemble, radius):
    model = Holstein(Lattice("square", (8, 10)), coupling=3.5, **ensemble)
    x = random_positions(model, seed=11, width=2.0)
    out = electrons(Cavity(radius=radius), model, np.concatenate([x, -x]))
    assert np.abs(out.force[0] + out.force[1]).max() <= 1e-12 * np.abs(out.force).max()
    assert out.mu[0] == pytest.approx(-out.mu[1], abs=1e-13)
    assert out.energy[0] == pytest.approx(out.energy[1], rel=1e-12)


def test_sum_rules():
    model = Holstein(Lattice("square", (10, 8)), coupling=0.0)
    x = random_positions(model, seed=12)
    np.testing.assert_allclose(electrons(Cavity(), model, x).density, 0.5, rtol=1e-14)
    model = Holstein(Lattice("square", (10, 8)), coupling=3.5, filling=0.3)
    x = random_positions(model, seed=13, replicas=2, width=HOT)
    density = electrons(Cavity(), model, x).density
    np.testing.assert_allclose(density.sum(axis=1), 0.3 * 80, rtol=1e-13)
    assert density.min() > -1e-6  # the tolerance of the Fermi function
    assert density.max() < 1 + 1e-6


@pytest.mark.parametrize("hopping", [0.0, 1e-3])
def test_without_hopping_sites_are_independent(hopping):
    model = Holstein(Lattice("square", (6, 6)), hopping=hopping, mu=0.1)
    x = random_positions(model, seed=14)
    out = electrons(Cavity(), model, x)
    occupied = 1.0 / (1.0 + np.exp((-1.5 * x[..., 0] - 0.1) / 0.1))
    np.testing.assert_allclose(out.density, occupied, atol=1e-6 + 100 * hopping**2)


@pytest.mark.parametrize("coupling", [1.5, 3.5])
def test_the_energy_is_close_to_the_one_the_force_would_conserve(coupling):
    # Not a gradient, and said so: the difference is of the order of the error of the force.
    model = Holstein(Lattice("square", (12, 12)), coupling=coupling)
    x = random_positions(model, seed=15, width=1.0)
    exact = electrons(ExactDiagonalisation(), model, x)
    direction = random_positions(model, seed=16)
    for radius, per_site, slope in ((1, 1.5e-2, 0.1), (3, 2e-4, 0.02)):
        forcefield = Cavity(radius=radius)
        assert not forcefield.capabilities(model, 1).conservative
        out = electrons(forcefield, model, x)
        assert np.abs(out.energy - exact.energy).max() < per_site * 144
        h = 1e-3
        up, down = (electrons(forcefield, model, x + s * h * direction).energy[0] for s in (1, -1))
        derivative, work = (up - down) / (2 * h), float(np.vdot(out.force, direction))
        assert abs(derivative + work) < slope * np.linalg.norm(out.force)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("radius", [1, 2])
def test_a_replica_has_the_same_bytes_alone_and_in_a_batch(radius, precision):
    model = Holstein(Lattice("square", (40, 9)), mu=0.3)
    x = random_positions(model, seed=17, replicas=3) * np.array([1.0, 3.0, 9.0])[:, None, None]  # other poles for each
    batch = electrons(Cavity(radius=radius, precision=precision), model, x)
    for r in range(3):
        alone = electrons(Cavity(radius=radius, precision=precision), model, x[r : r + 1])
        assert alone.force[0].tobytes() == batch.force[r].tobytes()
        assert alone.energy[0] == batch.energy[r]


def test_bytes_do_not_depend_on_the_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    model = Holstein(Lattice("square", (64, 70)))
    x = random_positions(model, seed=18)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(electrons(Cavity(radius=2, sweeps=2, poles=3), model, x))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[0].force.tobytes() == found[1].force.tobytes()
    assert found[0].energy.tobytes() == found[1].energy.tobytes()


@pytest.mark.parametrize(("radius", "sweeps"), [(1, 3), (2, 2)])
def test_the_force_sees_as_far_as_its_halo_and_no_farther(radius, sweeps):
    model = Holstein(Lattice("square", (24, 26)))
    forcefield = Cavity(radius=radius, sweeps=sweeps)
    halo = forcefield.capabilities(model, 1).halo
    assert halo == radius + sweeps
    x = random_positions(model, seed=19)
    x[0, 0, 0] = 9.0  # the widest level, so that the poles stay the same
    away = np.abs(model.lattice.cells - np.array([12, 13])).max(axis=1)
    before = electrons(forcefield, model, x).force[0]
    x[0, (away == 0)] += 0.5
    changed = (electrons(forcefield, model, x).force[0] != before).any(axis=1)
    assert not changed[away > halo].any()
    assert changed[away == halo].any()
    assert changed[away < radius + 1].all()


def test_complex_hopping_is_served_by_the_generic_path():
    model = Flux(Lattice("square", (8, 8)))
    x = random_positions(model, seed=20, replicas=2)
    errors = [squared_error(Cavity(radius=radius), model, x) for radius in (1, 2, 3)]
    assert errors[0] < 2.1e-3
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2
    without = Holstein(Lattice("square", (8, 8)))
    assert np.abs(electrons(Cavity(), model, x).force - electrons(Cavity(), without, x).force).max() > 1e-2


def test_both_paths_agree_where_both_apply():
    class Written(Holstein):
        """The same Hamiltonian, written so that it is not recognised."""

        def hops(self):
            hops = super().hops()
            return Hops(hops.i, hops.j, hops.amplitude.astype(complex))

    lattice = Lattice("square", (7, 9))
    x = random_positions(Holstein(lattice), seed=21, replicas=2)
    compiled = electrons(Cavity(radius=2), Holstein(lattice, filling=0.4), x)
    generic = electrons(Cavity(radius=2), Written(lattice, filling=0.4), x)
    np.testing.assert_allclose(generic.density, compiled.density, atol=1e-11)
    np.testing.assert_allclose(generic.energy, compiled.energy, rtol=1e-11)


@pytest.mark.parametrize(("temperature", "limit"), [(0.02, 1.2e-4), (0.1, 1.2e-4), (1.0, 6e-4)])
def test_the_expansion_gives_occupation_and_free_energy_of_a_level(temperature, limit):
    made = expansion(temperature, 5.0, 1e-8, None)
    e = np.linspace(-5.0, 5.0, 401)
    green = 1.0 / (e[:, None] - 1j * made.poles)
    c, b = made.weights.T
    occupied = 1.0 / (1.0 + np.exp(e / temperature))
    omega = -temperature * np.logaddexp(0.0, -e / temperature)
    np.testing.assert_allclose(0.5 - made.slope * e - green.real @ c, occupied, rtol=0, atol=1.01e-8)
    approximated = 0.5 * e - made.slope * e**2 - c.sum() + green.imag @ b
    np.testing.assert_allclose(approximated, omega, rtol=0, atol=limit * temperature + 5e-8)


def test_the_chemical_potential_is_found_to_the_last_bits():
    calls = []

    def count(mu: float) -> float:
        calls.append(mu)
        return float(10.0 / (1.0 + np.exp(-mu)))

    assert chemical_potential(count, 3.0, -50.0, 40.0) == pytest.approx(np.log(3.0 / 7.0), rel=1e-14)
    assert len(calls) < 25
    with pytest.raises(InputError, match="11 electrons are out of reach"):
        chemical_potential(count, 11.0, -50.0, 40.0)


def test_models_it_cannot_serve_are_refused_with_numbers():
    with pytest.raises(InputError, match=r"radius 3 needs at least 8 sites per direction, the lattice is 7x12"):
        System(Holstein(Lattice("square", (7, 12))), Cavity(radius=3))


def test_memory_stays_below_two_gigabytes_for_four_million_sites():
    small, large = (Holstein(Lattice("square", (side, side))) for side in (64, 512))
    needed = [Cavity(radius=3).capabilities(model, 1).bytes_needed for model in (small, large)]
    assert needed[0] + (needed[1] - needed[0]) / (512**2 - 64**2) * 4e6 < 2 * 2**30


def test_a_system_moves_on_cavity_forces():
    model = Holstein(Lattice("square", (8, 8)))
    state = State.at_rest(random_positions(model, seed=22))
    system = System(model, Cavity())
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    assert np.isfinite(state.potential).all()
