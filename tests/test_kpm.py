"""The kernel polynomial force field: kernels against their specification, rates of convergence, symmetries, noise."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re

import numba
import numpy as np
import pytest
from conftest import random_positions
from electrons import Flux, electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.hopping import Graph
from forcefields.kpm import KernelPolynomial
from forcefields.kpm.chebyshev import Interval, Series, fermi_series, intervals
from forcefields.kpm.colouring import colours_along, graph_colours, square_colours
from forcefields.kpm.probing import Coloured, OnGraph, Random
from forcefields.kpm.square import OnSquare
from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice, State, System
from latticemd.errors import Diverged, InputError
from latticemd.forcefield import Electrons
from latticemd.models.hamiltonian import Hamiltonian, Hops


def error(forcefield, model, x) -> float:
    """Rms error of the density."""
    exact = electrons(ExactDiagonalisation(), model, x).density
    return float(np.sqrt(((electrons(forcefield, model, x).density - exact) ** 2).mean()))


def density_matrix(model: Holstein, x: np.ndarray, mu: float) -> np.ndarray:
    """f(H) by exact diagonalisation, (N, N)."""
    hops = model.hops()
    h = np.zeros((len(x), len(x)), dtype=hops.amplitude.dtype)
    np.add.at(h, (hops.i, hops.j), hops.amplitude)
    energies, vectors = np.linalg.eigh(h + h.conj().T + np.diag(model.onsite(x[None])[0]))
    return vectors / (1.0 + np.exp((energies - mu) / model.electronic_temperature)) @ vectors.conj().T


def charge_ordered(model: Holstein, seed: int = 0) -> np.ndarray:
    """A checkerboard with noise: a gap of about 2 t at g = 1.5."""
    return model.ordered(1.5)[None] + random_positions(model, seed=seed, width=0.3)


@dataclasses.dataclass(frozen=True)
class Diagonals(Holstein):
    """A square lattice with one diagonal of each plaquette: the bonds of a triangular lattice."""

    def hops(self) -> Hops:
        first, second = self.lattice.bonds(), self.lattice.bonds(shell=2)
        kept = second.vector[:, 0] * second.vector[:, 1] > 0
        i, j = np.concatenate([first.i, second.i[kept]]), np.concatenate([first.j, second.j[kept]])
        return Hops(i, j, np.full(len(i), -self.hopping))


def signs(model: Holstein, count: int) -> Random:
    return Random(np.random.default_rng(5).choice(np.array([-1, 1], np.int8), (count, model.lattice.sites)))


# shapes: odd; two groups of rows; eight groups with a ragged last one, which all waves pass
@pytest.mark.parametrize("shape", [(3, 3), (7, 9), (65, 69), (123, 260)])
@pytest.mark.parametrize("kind", ["coloured", "some, with signs", "random"])
def test_compiled_kernels_agree_with_the_specification(shape, kind):
    model = Holstein(Lattice("square", shape), hopping=0.8)
    hamiltonian = Hamiltonian.of(model, random_positions(model, seed=1, replicas=2))
    bounds = intervals(hamiltonian, model.lattice)
    # other numbers of moments for each replica
    c = [Series(np.cos(np.arange(count)), np.sin(np.arange(count))) for count in (31, 19)]
    vectors, chosen = (signs(model, 3), {}) if kind == "random" else (None, {})
    if kind == "some, with signs":
        chosen = {"signs": signs(model, 1).signs[0], "asked": np.array([2, 0, 3])}
    probes = vectors or Coloured(square_colours(shape, 2), **chosen)
    density, energy, _, traces = OnGraph(probes).propagate(hamiltonian, bounds, c)
    for precision, limit in ((np.float64, 1e-12), (np.float32, 2e-4)):
        compiled = OnSquare(shape, -0.8, 2, vectors, precision, **chosen)
        found, stored, _, found_traces = compiled.propagate(hamiltonian, bounds, c)
        np.testing.assert_allclose(found, density, rtol=0, atol=limit)
        np.testing.assert_allclose(stored, energy, rtol=0, atol=limit)
        for r in range(2):
            np.testing.assert_allclose(found_traces[r], traces[r], rtol=0, atol=limit * model.lattice.sites)


@pytest.mark.parametrize(("extent", "distance"), [(n, d) for n in range(3, 41) for d in (2, 4, 6, 8)])
def test_equal_colours_of_a_ring_are_far_apart_and_on_one_sublattice(extent, distance):
    colours = colours_along(extent, distance)
    for colour in range(colours.max() + 1):
        places = np.flatnonzero(colours == colour)
        gaps = np.diff(np.append(places, places[0] + extent))
        assert gaps.min() >= min(distance, extent)
        assert extent % 2 or not np.any(gaps % 2)
    if extent % distance == 0:
        assert colours.max() == distance - 1


@pytest.mark.parametrize("kind", [Flux, Diagonals])
@pytest.mark.parametrize("distance", [2, 4])
def test_equal_colours_of_a_graph_are_far_apart(kind, distance):
    model = kind(Lattice("square", (12, 14)))
    graph = Graph.of(model.hops(), model.lattice.sites)
    colours = graph_colours(graph, distance)
    for site, ball in enumerate(graph.balls(distance - 1)):
        others = ball[(ball >= 0) & (ball != site)]
        assert not np.any(colours[others] == colours[site])
    assert set(colours) == set(range(colours.max() + 1))
    assert colours.max() < 3 * distance**2
    if kind is Flux:  # bipartite
        assert all(len(set(model.lattice.staggered[colours == c])) == 1 for c in range(colours.max() + 1))


@pytest.mark.parametrize(("mu", "temperature"), [(0.0, 0.1), (2.5, 0.1), (0.0, 0.02), (9.0, 1.0)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-10])
def test_the_series_meets_its_tolerance_everywhere(mu, temperature, tolerance):
    interval = Interval(0.7, 6.0)
    whole = fermi_series(interval, mu, temperature)
    series = whole.cut(whole.enough(tolerance))
    s = np.cos(np.linspace(0.0, np.pi, 5001))
    x = (interval.centre + interval.half_width * s - mu) / temperature
    chebyshev = np.polynomial.chebyshev.chebval
    missed = chebyshev(s, series.density) - 1.0 / (1.0 + np.exp(x))
    assert np.abs(missed).max() <= tolerance
    assert np.abs(missed).max() >= 0.02 * tolerance or series.moments == 2
    missed = chebyshev(s, series.energy) + temperature * np.logaddexp(0.0, -x)
    assert np.abs(missed).max() <= tolerance * temperature


@pytest.mark.parametrize("mu", [0.0, -3.0])
def test_with_a_colour_for_each_site_errors_fall_at_the_rate_of_the_nearest_pole(mu):
    # f has a pole at mu + i pi kT. Terms of its series fall as |z + sqrt(z^2 - 1)|^-k, z the pole on the scale of the interval.
    model = Holstein(Lattice("square", (6, 6)), mu=mu, electronic_temperature=0.3)
    x = random_positions(model, seed=2)
    (interval,) = intervals(Hamiltonian.of(model, x), model.lattice)
    z = (mu + 1j * np.pi * model.electronic_temperature - interval.centre) / interval.half_width
    rate = abs(np.log(abs(z + np.sqrt(z * z - 1.0))))
    moments = np.arange(60, 180, 5)
    errors = [error(KernelPolynomial(colours=6, moments=int(count)), model, x) for count in moments]
    assert np.polyfit(moments, np.log(errors), 1)[0] == pytest.approx(-rate, rel=0.06)
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("ensemble", [{"mu": 0.4}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("kind", [Holstein, Flux, Diagonals], ids=lambda kind: kind.__name__)
def test_with_a_colour_for_each_site_it_is_exact(kind, ensemble):
    model = kind(Lattice("square", (6, 5)), **ensemble)
    x = random_positions(model, seed=3, replicas=2)
    exact = electrons(ExactDiagonalisation(), model, x)
    found = electrons(KernelPolynomial(colours=12, tolerance=1e-11), model, x)
    np.testing.assert_allclose(found.density, exact.density, atol=1e-10)
    np.testing.assert_allclose(found.force, exact.force, atol=2e-10)
    np.testing.assert_allclose(found.energy, exact.energy, atol=1e-9)
    np.testing.assert_allclose(found.mu, exact.mu, atol=1e-9)


def test_uneven_hops_are_served_by_the_generic_path():
    model = Holstein(Lattice("square", (6, 6)), anisotropy=0.3)
    assert error(KernelPolynomial(colours=6, tolerance=1e-9), model, random_positions(model, seed=4)) < 1e-9


def test_the_error_of_a_gapped_state_falls_with_the_distance_of_equal_colours():
    model = Holstein(Lattice("square", (24, 24)))
    x = charge_ordered(model)
    errors = [error(KernelPolynomial(colours=c), model, x) for c in (2, 4, 6, 8, 12)]
    assert all(later < earlier / 3 for earlier, later in itertools.pairwise(errors))
    assert errors[3] < 4e-4
    assert errors[4] < 3e-5


def test_the_error_of_a_gapless_state_stays_large():
    # Said in the documentation, so that nobody takes the tolerance for a bound on the error of the density.
    model = Holstein(Lattice("square", (24, 24)), coupling=0.3)
    assert 1e-3 < error(KernelPolynomial(colours=12), model, random_positions(model, seed=5)) < 2e-2


STATES = {
    "charge order": (1.5, lambda model: charge_ordered(model)),
    "small gap": (1.5, lambda model: model.ordered(0.67)[None] + random_positions(model, width=0.3)),
    "random": (1.5, random_positions),
    "random, g = 3.5": (3.5, lambda model: random_positions(model, width=5.27)),
    "nearly free": (0.15, random_positions),
    "free": (0.0, random_positions),
}


@pytest.mark.parametrize("ensemble", [{"mu": 0.2}, {"filling": 0.45}], ids=str)
@pytest.mark.parametrize("state", STATES)
def test_a_tolerance_finds_the_colours_it_needs_by_an_honest_estimate(state, ensemble, caplog):
    coupling, positions = STATES[state]
    model = Holstein(Lattice("square", (36, 36)), coupling=coupling, **ensemble)
    x, taken = positions(model), []
    exact = electrons(PoleExpansion(), model, x).density
    for tolerance in (3e-2, 1e-3, 1e-4):
        caplog.clear()
        with caplog.at_level(logging.INFO, "latticemd.run"):
            found = electrons(KernelPolynomial(tolerance=tolerance), model, x)
        (record,) = caplog.records
        colours, estimate = re.search(r"takes (\d+) colours: .* density ([\d.e+-]+),", record.message).groups()
        true = float(np.sqrt(((found.density - exact) ** 2).mean()))
        assert true <= 1.05 * float(estimate)  # printed to two digits
        assert float(estimate) <= tolerance * 1.01
        taken.append(int(colours))
    assert taken == sorted(taken)
    assert taken[0] < 36  # it does not hide behind a colour for each site


def test_free_electrons_have_the_occupation_of_plane_waves():
    model = Holstein(Lattice("square", (10, 8)), coupling=0.0, mu=0.3)
    x = random_positions(model, seed=6)
    bands = [-2.0 * np.cos(2.0 * np.pi * np.arange(extent) / extent) for extent in (10, 8)]
    levels = np.add.outer(*bands).ravel() - 0.3
    out = electrons(KernelPolynomial(colours=10, tolerance=1e-11), model, x)
    np.testing.assert_allclose(out.density, (1.0 / (1.0 + np.exp(levels / 0.1))).mean(), rtol=0, atol=1e-11)
    assert out.energy[0] == pytest.approx(-0.1 * np.logaddexp(0.0, -levels / 0.1).sum(), abs=1e-10)


@pytest.mark.parametrize("width", [0.0, 1.0])
def test_without_hopping_sites_are_independent(width):
    model = Holstein(Lattice("square", (6, 6)), hopping=0.0, mu=-1.4)
    x = 1.0 + random_positions(model, seed=18, width=width)
    levels = -1.5 * x[..., 0] + 1.4
    out = electrons(KernelPolynomial(colours=2, tolerance=1e-10), model, x)
    np.testing.assert_allclose(out.density, 1.0 / (1.0 + np.exp(levels / 0.1)), rtol=0, atol=1e-10)
    assert out.energy[0] == pytest.approx((-0.1 * np.logaddexp(0.0, -levels / 0.1) + 0.75 * x[..., 0]).sum(), abs=1e-9)


@pytest.mark.parametrize("colours", [2, 6])
def test_free_electrons_at_half_filling_need_no_distance(colours):
    # f - 1/2 is odd in H and joins different sublattices only, and a colour has one.
    model = Holstein(Lattice("square", (20, 16)), coupling=0.0)
    out = electrons(KernelPolynomial(colours=colours), model, random_positions(model, seed=6))
    np.testing.assert_allclose(out.density, 0.5, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "forcefield", [KernelPolynomial(colours=4), KernelPolynomial(vectors="random")], ids=["coloured", "random"]
)
def test_densities_add_up_to_the_filling(forcefield):
    model = Holstein(Lattice("square", (12, 10)), filling=0.3)
    out = electrons(forcefield, model, random_positions(model, seed=7, replicas=2))
    np.testing.assert_allclose(out.density.sum(axis=1), 36.0, rtol=1e-12)


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(12, 8), (20, 16)])  # stretches of equal and of unequal lengths
def test_particle_hole_symmetry(ensemble, precision, shape):
    model = Holstein(Lattice("square", shape), **ensemble)
    x = random_positions(model, seed=8)
    out = electrons(KernelPolynomial(colours=6, precision=precision), model, np.concatenate([x, -x]))
    assert np.abs(out.force[0] + out.force[1]).max() <= 1e-12 * np.abs(out.force).max()
    assert out.mu[0] == pytest.approx(-out.mu[1], abs=1e-12)
    assert out.energy[0] == pytest.approx(out.energy[1], rel=1e-12 if precision == "float64" else 1e-8)


def broken(model: Holstein, x: np.ndarray, forcefield: KernelPolynomial) -> float:
    """How much the density fails to follow the operations of the space group, at most."""
    operations = list(model.lattice.symmetries())[:: model.lattice.sites // 8 + 1]
    images = np.empty((len(operations), *x.shape[1:]))
    for r, operation in enumerate(operations):
        images[r, operation.permutation] = x[0]
    out = electrons(forcefield, model, np.concatenate([x, images])).density
    return max(float(np.abs(out[r + 1, o.permutation] - out[0]).max()) for r, o in enumerate(operations))


def test_the_space_group_is_kept_where_the_colours_repeat_evenly():
    model = Holstein(Lattice("square", (12, 12)))
    x = charge_ordered(model)
    assert broken(model, x, KernelPolynomial(colours=4)) < 1e-12
    assert broken(model, x, KernelPolynomial(colours=12)) < 1e-12
    model = Holstein(Lattice("square", (14, 14)))  # stretches of 4, 4 and 6 sites
    x = charge_ordered(model)
    size = np.abs(
        electrons(KernelPolynomial(colours=4), model, x).density - electrons(ExactDiagonalisation(), model, x).density
    ).max()
    assert 0.1 * size < broken(model, x, KernelPolynomial(colours=4)) < 3.0 * size


def test_single_precision_costs_little():
    model = Holstein(Lattice("square", (24, 24)))
    x = charge_ordered(model)
    double = electrons(KernelPolynomial(), model, x)
    single = electrons(KernelPolynomial(precision="float32"), model, x)
    np.testing.assert_allclose(single.density, double.density, rtol=0, atol=2e-6)
    np.testing.assert_allclose(single.energy, double.energy, rtol=0, atol=1e-6 * 576)


def test_the_force_is_a_gradient_only_to_the_error_of_the_colouring():
    model = Holstein(Lattice("square", (16, 16)))
    x, direction, h = charge_ordered(model), random_positions(model, seed=9), 1e-3
    mismatch = []
    for colours in (4, 8, 16):
        forcefield = KernelPolynomial(colours=colours, tolerance=1e-9)
        assert not forcefield.capabilities(model, 1).conservative
        up, down = (electrons(forcefield, model, x + s * h * direction).energy[0] for s in (1, -1))
        work = float(np.vdot(electrons(forcefield, model, x).force, direction))
        mismatch.append(abs((up - down) / (2 * h) + work) / abs(work))
    assert mismatch[0] > 10 * mismatch[1] > 100 * mismatch[2]
    assert mismatch[2] < 1e-5


def test_random_vectors_are_unbiased():
    model = Holstein(Lattice("square", (8, 8)))
    x = random_positions(model, seed=10)
    exact = electrons(ExactDiagonalisation(), model, x)
    forcefield = KernelPolynomial(vectors="random", random_vectors=8, tolerance=1e-6)
    samples = [electrons(forcefield, model, x, step) for step in range(300)]
    for name in ("density", "energy"):
        values = np.array([getattr(sample, name)[0] for sample in samples])
        deviation = (values.mean(axis=0) - getattr(exact, name)[0]) / (values.std(axis=0) / np.sqrt(len(values)))
        assert np.abs(deviation).max() < 5.0


def test_noise_of_random_vectors_falls_as_the_square_root_of_their_number():
    # The variance of f_ii is that of the other entries of its row, sum_j f_ij^2 / R.
    model = Holstein(Lattice("square", (12, 12)))
    x = random_positions(model, seed=11)
    every = KernelPolynomial(colours=12, tolerance=1e-9)
    exact, rho = electrons(every, model, x).density, density_matrix(model, x[0], 0.0)
    size = np.sqrt((np.abs(rho) ** 2).sum(axis=1).mean() - (exact**2).mean())
    for count in (16, 64, 256):
        forcefield = KernelPolynomial(vectors="random", random_vectors=count)
        noise = [electrons(forcefield, model, x, step).density - exact for step in range(6)]
        assert np.sqrt(np.mean(np.square(noise)) * count) == pytest.approx(size, rel=0.1)
    assert size < 0.5


def test_random_vectors_depend_on_seed_and_step_and_on_nothing_else(caplog):
    model = Holstein(Lattice("square", (8, 8)))
    x = random_positions(model, seed=12)
    first, again = (KernelPolynomial(vectors="random", random_vectors=4, seed=3) for _ in range(2))
    force = electrons(first, model, x, step=2).force
    assert "forces are noisy" in caplog.text
    electrons(first, model, -x, step=7)
    assert electrons(first, model, x, step=2).force.tobytes() == force.tobytes()
    assert electrons(again, model, x, step=2).force.tobytes() == force.tobytes()
    assert np.abs(electrons(first, model, x, step=3).force - force).max() > 1e-3
    other = dataclasses.replace(first, seed=4)
    assert np.abs(electrons(other, model, x, step=2).force - force).max() > 1e-3


def test_damping_keeps_occupations_physical_and_converges_slowly():
    model = Holstein(Lattice("square", (8, 8)), hopping=0.1, electronic_temperature=0.02)
    x = random_positions(model, seed=13)
    plain = electrons(KernelPolynomial(colours=8, moments=60), model, x).density
    damped = electrons(KernelPolynomial(colours=8, moments=60, damping="jackson"), model, x).density
    assert plain.min() < 0.0 or plain.max() > 1.0
    assert damped.min() > 0.0
    assert damped.max() < 1.0
    few, many = (
        error(KernelPolynomial(colours=8, moments=m, damping="jackson"), model, x)
        / error(KernelPolynomial(colours=8, moments=m), model, x)
        for m in (60, 240)
    )
    assert many > 5 * few


@pytest.mark.parametrize("kind", [Holstein, Flux, Diagonals], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("ensemble", [{"mu": 0.4}, {"filling": 0.3}], ids=str)
def test_bonds_are_entries_of_the_density_matrix(kind, ensemble):
    model = kind(Lattice("square", (6, 6)), **ensemble)
    x = random_positions(model, seed=14, replicas=2)
    hops, mu = model.hops(), electrons(ExactDiagonalisation(), model, x).mu
    found = KernelPolynomial(colours=12, tolerance=1e-11).bonds(model, x)
    for r in range(2):
        rho = density_matrix(model, x[r], mu[r])
        np.testing.assert_allclose(found[r], rho[hops.i, hops.j], rtol=0, atol=1e-10)


@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.4}], ids=str)
@pytest.mark.parametrize("vectors", ["coloured", "random"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_replica_has_the_same_bytes_alone_and_in_a_batch(vectors, precision, ensemble):
    model = Holstein(Lattice("square", (20, 9)), **ensemble)
    x = (
        random_positions(model, seed=15, replicas=3) * np.array([0.3, 1.0, 3.0])[:, None, None]
    )  # other moments for each
    forcefield = KernelPolynomial(colours=4, vectors=vectors, random_vectors=5, precision=precision)
    batch = electrons(forcefield, model, x)
    for r in range(3):
        alone = electrons(forcefield, model, x[r : r + 1])
        assert alone.force[0].tobytes() == batch.force[r].tobytes()
        assert alone.energy[0] == batch.energy[r]


def test_a_choice_of_colours_is_a_function_of_the_positions_alone():
    model = Holstein(Lattice("square", (32, 24)))
    x = np.concatenate([charge_ordered(model), random_positions(model), 0.1 * random_positions(model, seed=1)])
    batch, chosen = electrons(KernelPolynomial(tolerance=1e-2), model, x), []
    for r in range(3):
        forcefield, out = KernelPolynomial(tolerance=1e-2), Electrons.empty(1, model)
        forcefield.prepare(model, 1)
        chosen.append(forcefield.serve(model, x[r : r + 1], out)[0])
        assert out.force[0].tobytes() == batch.force[r].tobytes()
        assert out.energy[0] == batch.energy[r]
    assert chosen[0] < chosen[1]
    assert chosen[0] < chosen[2]


@pytest.mark.parametrize("vectors", ["coloured", "random"])
def test_bytes_do_not_depend_on_the_number_of_threads(vectors):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    model = Holstein(Lattice("square", (64, 70)))
    x = random_positions(model, seed=16)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(electrons(KernelPolynomial(vectors=vectors, moments=150), model, x))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[0].force.tobytes() == found[1].force.tobytes()
    assert found[0].energy.tobytes() == found[1].energy.tobytes()


def test_what_it_cannot_serve_is_refused_with_numbers():
    model = Holstein(Lattice("square", (8, 8)))
    with pytest.raises(InputError, match="colours: expected an even number, got 7; use 8"):
        System(model, KernelPolynomial(colours=7))
    with pytest.raises(InputError, match="damping jackson needs moments"):
        System(model, KernelPolynomial(damping="jackson"))
    with pytest.raises(InputError, match=r"forcefield kpm with 64 sites and 1000000000 replica\(s\) needs .* GiB"):
        KernelPolynomial().prepare(model, 10**9)
    with pytest.raises(InputError, match="tolerance sets colours and moments"):
        System(model, KernelPolynomial(tolerance=1e-3, moments=100))
    cold = System(dataclasses.replace(model, electronic_temperature=5e-4), KernelPolynomial(colours=8, tolerance=1e-9))
    with pytest.raises(Diverged, match=r"tolerance 1e-09 needs [0-9]+ Chebyshev moments, at most 65536 are taken"):
        cold.update_forces(State.at_rest(random_positions(model)), 0)
    far = System(dataclasses.replace(model, electronic_temperature=1e-6), KernelPolynomial())
    with pytest.raises(Diverged, match="kT wide needs more than 65536 Chebyshev moments"):
        far.update_forces(State.at_rest(random_positions(model)), 0)


def test_a_system_moves_on_its_forces():
    model = Holstein(Lattice("square", (8, 8)))
    state = State.at_rest(random_positions(model, seed=17))
    system = System(model, KernelPolynomial())
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    assert np.isfinite(state.potential).all()
