"""The window force field: kernels against their specification, documented errors, symmetries, locality, energy."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest
from conftest import random_positions
from electrons import Flux, electrons

from forcefields.ed import ExactDiagonalisation
from forcefields.hopping import Graph, Patches, boxes
from forcefields.window import Window
from forcefields.window.expansion import expansion, half_width, order_for, rungs
from forcefields.window.graph import OnGraph, chebyshev_columns
from forcefields.window.square import OnSquare, working_bytes
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.errors import InputError
from latticemd.integrators import load_integrator
from latticemd.models.hamiltonian import Hops


def density_error(forcefield, model, x) -> float:
    """Root mean square of the error of the density."""
    exact = electrons(ExactDiagonalisation(), model, x).density
    return float(np.sqrt(((electrons(forcefield, model, x).density - exact) ** 2).mean()))


def ordered(model, seed, amplitude=1.5, noise=0.3) -> np.ndarray:
    """Charge order with some noise: gapped."""
    return model.ordered(amplitude)[None] + random_positions(model, seed=seed, width=noise)


@dataclasses.dataclass(frozen=True)
class Chain(Holstein):
    """The sites of a square lattice along one open chain."""

    def hops(self) -> Hops:
        left = np.arange(self.lattice.sites - 1)
        return Hops(left, left + 1, np.full(len(left), -self.hopping))


def on_graph(model, width) -> OnGraph:
    graph = Graph.of_model(model)
    return OnGraph(graph, Patches.around(graph, boxes(model.lattice, width // 2)))


# widths: one row after the fours, three rows, one that just fits, with wrapped windows; orders below and above the width
@pytest.mark.parametrize(("width", "shape"), [(5, (9, 14)), (7, (8, 12)), (9, (10, 11))])
@pytest.mark.parametrize("order", [2, 6, 60])
def test_compiled_kernels_agree_with_the_specification(width, shape, order):
    model = Holstein(Lattice("square", shape), hopping=0.8)
    levels = model.onsite(random_positions(model, seed=1, replicas=2))
    specification, compiled = on_graph(model, width), OnSquare(shape, -0.8, width, np.float64)
    np.testing.assert_allclose(compiled.reach(levels), specification.reach(levels), rtol=1e-13)
    rung = rungs(specification.reach(levels), 0.1)
    made = {name: expansion(0.1, half_width(name), 0.2, order) for name in np.unique(rung).tolist()}
    assert len(made) > 1
    expected, energies, sums = specification.solve(levels, rung, made)
    found, found_energies, found_sums = compiled.solve(levels, rung, made)
    np.testing.assert_allclose(found_energies, energies, rtol=0, atol=1e-12 * np.abs(energies).max())
    np.testing.assert_allclose(compiled.unit * found_sums, sums, rtol=0, atol=1e-12 * levels.size)
    np.testing.assert_allclose(found.onsite, expected.onsite, rtol=0, atol=1e-12)


def test_single_precision_costs_no_accuracy_that_matters():
    model = Holstein(Lattice("square", (12, 12)))
    for x in (random_positions(model, seed=2), ordered(model, seed=3)):
        double, single = (electrons(Window(width=9, precision=p), model, x) for p in ("float64", "float32"))
        np.testing.assert_allclose(single.density, double.density, rtol=0, atol=1e-5)
        np.testing.assert_allclose(single.energy, double.energy, rtol=0, atol=1e-5 * 144)


def test_columns_of_polynomials_are_those_of_the_eigenstates():
    h = np.random.default_rng(4).normal(size=(3, 7, 7))
    h = (h + h.transpose(0, 2, 1)) / 20
    energies, vectors = np.linalg.eigh(h)
    for k, found in enumerate(chebyshev_columns(h, 2, 5)):
        expected = np.einsum("pin,pn,pan->pia", vectors, np.cos(k * np.arccos(energies)), vectors[:, :2])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [random_positions, ordered])
@pytest.mark.parametrize("coupling", [0.3, 1.5, 3.5])
def test_the_interval_holds_the_spectrum_of_every_window(coupling, kind):
    model = Holstein(Lattice("square", (8, 9)), coupling=coupling)
    levels = model.onsite(kind(model, 5))
    bounds = OnSquare((8, 9), -1.0, 5, np.float64).reach(levels)[0]
    gershgorin = np.abs(levels[0])[boxes(model.lattice, 2)].max(axis=1) + 4.0
    h = np.diag(levels[0])
    h[model.hops().i, model.hops().j] = h[model.hops().j, model.hops().i] = -1.0
    for site, members in enumerate(boxes(model.lattice, 2)):
        extreme = np.abs(np.linalg.eigvalsh(h[np.ix_(members, members)])).max()
        assert extreme <= bounds[site]
    assert bounds.mean() < gershgorin.mean()
    ladder = np.array([half_width(int(rung)) for rung in rungs(bounds, 0.1)])
    assert (ladder >= 1.001 * bounds * (1 - 1e-12)).all()
    assert (ladder <= 1.001 * 2 ** (1 / 16) * bounds * (1 + 1e-12)).all()


@pytest.mark.parametrize(("temperature", "mu"), [(0.02, 0.0), (0.1, 0.0), (0.1, -1.3), (1.0, 2.0)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_expansion_gives_occupation_and_free_energy_of_a_level(temperature, mu, tolerance):
    made = expansion(temperature, 5.0, mu, order_for(temperature / 5.0, tolerance))
    e = np.linspace(-5.0, 5.0, 2001)
    polynomials = np.cos(np.arange(made.order + 1) * np.arccos(e / 5.0)[:, None])
    occupied = 0.5 * (1.0 - np.tanh(0.5 * (e - mu) / temperature))
    omega = -temperature * np.logaddexp(0.0, -(e - mu) / temperature)
    error = np.abs(polynomials @ made.density - occupied).max()
    assert error <= tolerance
    assert mu != 0.0 or error > tolerance / 300  # it doesn't take many more moments than it must
    np.testing.assert_allclose(polynomials @ made.energy, omega, rtol=0, atol=tolerance)


def test_tolerance_bounds_what_the_expansion_does_to_the_density():
    model = Holstein(Lattice("square", (10, 10)), mu=0.3)
    x = random_positions(model, seed=6)
    converged = electrons(Window(width=5, tolerance=1e-12), model, x).density
    errors = [
        np.abs(electrons(Window(width=5, tolerance=t), model, x).density - converged).max() for t in (1e-2, 1e-4, 1e-6)
    ]
    assert errors[0] < 1e-2
    assert errors[1] < 1e-4
    assert errors[2] < 1e-6
    few = electrons(Window(width=5, moments=19), model, x).density
    assert few.tobytes() == electrons(Window(width=5, moments=20), model, x).density.tobytes()
    assert np.abs(few - converged).max() > 1e-3


# Limits: twice the documented errors; a window that is wider must be better by the factor the table says, within two.
@pytest.mark.parametrize(
    ("kind", "temperature", "limits"),
    [
        ("ordered", 0.1, {5: 3e-4, 9: 1e-5, 13: 1e-7}),
        ("domains", 0.1, {5: 1e-2, 9: 1e-3, 13: 1.2e-4}),
        ("random", 0.1, {5: 4e-2, 9: 6e-3, 13: 2e-3}),
        ("random", 0.02, {5: 6e-2, 9: 2e-2, 13: 8e-3}),
        ("metal", 0.1, {5: 6e-2, 9: 2e-2, 13: 6e-3}),
        ("metal", 0.02, {5: 1.4e-1, 9: 6e-2, 13: 4e-2}),
    ],
)
def test_error_falls_with_the_width_as_documented(kind, temperature, limits):
    model = Holstein(Lattice("square", (18, 18)), electronic_temperature=temperature)
    x = {
        "ordered": ordered(model, seed=7),
        "domains": domains(model),
        "random": random_positions(model, seed=8),
        "metal": random_positions(model, seed=9, width=0.2),
    }[kind]
    for width, limit in limits.items():
        error = density_error(Window(width=width, tolerance=1e-9), model, x)
        assert limit / 20 < error < limit, f"{error:.1e} at width {width}"


def domains(model) -> np.ndarray:
    """Two domains of opposite charge order with walls between them."""
    column = model.lattice.cells[:, 0] - 4
    profile = np.tanh(0.5 * (np.abs((column + 0.5) % 18 - 9) - 4.5))
    return (1.6 * profile * model.lattice.staggered)[None, :, None] + random_positions(model, seed=10, width=0.2)


def test_error_at_strong_coupling():
    model = Holstein(Lattice("square", (12, 12)), coupling=3.5)
    x = random_positions(model, seed=11, replicas=2, width=5.27)
    assert density_error(Window(width=5, tolerance=1e-8), model, x) < 1e-3
    assert density_error(Window(width=9, tolerance=1e-8), model, x) < 3e-6


@pytest.mark.parametrize("shape", [(6, 6), (7, 8)])
def test_forces_follow_every_operation_of_the_space_group(shape):
    model = Holstein(Lattice("square", shape), mu=0.2)
    x = random_positions(model, seed=12)
    operations = list(model.lattice.symmetries())
    images = np.empty((len(operations), *x.shape[1:]))
    for r, operation in enumerate(operations):
        images[r, operation.permutation] = x[0]
    out = electrons(Window(width=5), model, np.concatenate([x, images]))
    scale = np.abs(out.force[0]).max()
    for r, operation in enumerate(operations):
        moved = out.force[r + 1, operation.permutation]
        assert np.abs(moved - out.force[0]).max() <= 1e-12 * scale, operation.name
    np.testing.assert_allclose(out.energy, out.energy[0], rtol=1e-12)


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize("coupling", [1.5, 3.5])
def test_particle_hole_symmetry(ensemble, coupling):
    model = Holstein(Lattice("square", (8, 10)), coupling=coupling, **ensemble)
    x = random_positions(model, seed=13)
    out = electrons(Window(width=5), model, np.concatenate([x, -x]))
    assert np.abs(out.force[0] + out.force[1]).max() <= 1e-12 * np.abs(out.force).max()
    assert out.mu[0] == pytest.approx(-out.mu[1], abs=1e-12)
    assert out.energy[0] == pytest.approx(out.energy[1], rel=1e-12)


def test_at_fixed_filling_every_electron_is_counted():
    model = Holstein(Lattice("square", (11, 10)), filling=0.3)
    x = (
        ordered(model, seed=14, amplitude=0.5)
        if min(model.lattice.shape) % 2 == 0
        else random_positions(model, seed=14)
    )
    out, exact = electrons(Window(width=9), model, x), electrons(ExactDiagonalisation(), model, x)
    assert out.density.sum() == pytest.approx(0.3 * 110, rel=1e-13)
    assert out.mu[0] == pytest.approx(exact.mu[0], abs=5e-2)
    assert out.energy[0] == pytest.approx(exact.energy[0], abs=110 * 2e-3)
    at_mu = electrons(Window(width=9), dataclasses.replace(model, filling=None, mu=float(out.mu[0])), x)
    np.testing.assert_allclose(at_mu.density, out.density, rtol=0, atol=2e-4)  # another interval: twice the tolerance
    assert at_mu.energy[0] + out.mu[0] * 33 == pytest.approx(out.energy[0], abs=110 * 2e-5)


def test_without_coupling_half_of_the_sites_are_filled():
    model = Holstein(Lattice("square", (10, 8)), coupling=0.0)
    x = random_positions(model, seed=15)
    np.testing.assert_allclose(electrons(Window(width=5), model, x).density, 0.5, rtol=0, atol=1e-14)


@pytest.mark.parametrize("hopping", [0.0, 1e-3])
def test_without_hopping_sites_are_independent(hopping):
    model = Holstein(Lattice("square", (6, 6)), hopping=hopping, mu=0.1)
    x = random_positions(model, seed=16)
    x[0, :3] = 0.0
    out = electrons(Window(width=5, tolerance=1e-6), model, x)
    e = -1.5 * x[..., 0] - 0.1
    np.testing.assert_allclose(out.density, 1.0 / (1.0 + np.exp(e / 0.1)), atol=1e-6 + 100 * hopping**2)
    omega = -0.1 * np.logaddexp(0.0, -e / 0.1).sum() + 0.75 * x.sum()
    assert out.energy[0] == pytest.approx(omega, abs=36 * (1e-6 + 100 * hopping**2))


def test_a_window_that_covers_the_graph_is_exact():
    model = Chain(Lattice("square", (3, 5)), filling=0.37)
    x = random_positions(model, seed=17, replicas=2)
    out = electrons(Window(width=29, tolerance=1e-11), model, x)
    exact = electrons(ExactDiagonalisation(), model, x)
    np.testing.assert_allclose(out.force, exact.force, rtol=0, atol=1e-10)
    np.testing.assert_allclose(out.energy, exact.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(out.mu, exact.mu, rtol=0, atol=1e-9)


def test_complex_hopping_is_served_by_the_generic_path():
    model = Flux(Lattice("square", (12, 12)))
    x = ordered(model, seed=18, amplitude=0.8)
    errors = [density_error(Window(width=width), model, x) for width in (5, 7, 9)]
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2
    without = Holstein(Lattice("square", (12, 12)))
    assert (
        np.abs(electrons(Window(width=5), model, x).force - electrons(Window(width=5), without, x).force).max() > 1e-2
    )


def test_the_force_is_close_to_the_derivative_of_the_energy():
    # Not a gradient, and said so: the difference is of the order of the error of the force.
    model = Holstein(Lattice("square", (12, 12)))
    x, direction = ordered(model, seed=19), random_positions(model, seed=20)
    for width, per_site, slope in ((5, 1e-4, 1e-3), (9, 1e-6, 1e-5)):
        forcefield = Window(width=width, tolerance=1e-9)
        assert not forcefield.capabilities(model, 1).conservative
        out, exact = electrons(forcefield, model, x), electrons(ExactDiagonalisation(), model, x)
        assert np.abs(out.energy - exact.energy).max() < per_site * 144
        h = 1e-3
        up, down = (electrons(forcefield, model, x + s * h * direction).energy[0] for s in (1, -1))
        derivative, work = (up - down) / (2 * h), float(np.vdot(out.force, direction))
        assert abs(derivative + work) < slope * np.linalg.norm(direction)


def test_energy_is_conserved_on_an_ordered_state():
    model = Holstein(Lattice("square", (12, 12)))
    verlet = load_integrator("verlet")(dt=0.05, temperature=Ramp.constant(0.0), friction=0.2)
    state = State.at_rest(ordered(model, seed=21, noise=0.2))
    system = System(model, Window(width=9, tolerance=1e-6))
    run = Simulation(system, verlet, state)
    energies = []
    for _ in range(10):
        run.run(20)
        system.update_potential(run.state, run.state.step)
        energies.append(float(run.state.potential[0] + 0.5 * (run.state.p**2).sum() / model.mass))
    kinetic = 0.5 * float((run.state.p**2).sum())
    assert np.ptp(energies) < 2e-3 * kinetic


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.4}], ids=str)
def test_a_replica_has_the_same_bytes_alone_and_in_a_batch(ensemble, precision):
    model = Holstein(Lattice("square", (40, 10)), **ensemble)
    x = random_positions(model, seed=22, replicas=3) * np.array([0.3, 1.0, 3.0])[:, None, None]  # other rungs for each
    batch = electrons(Window(width=9, precision=precision), model, x)
    for r in range(3):
        alone = electrons(Window(width=9, precision=precision), model, x[r : r + 1])
        assert alone.force[0].tobytes() == batch.force[r].tobytes()
        assert alone.energy[0] == batch.energy[r]
        assert alone.mu[0] == batch.mu[r]


def test_bytes_do_not_depend_on_the_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    model = Holstein(Lattice("square", (64, 70)))
    x = random_positions(model, seed=23)
    found = []
    for threads in (1, 2, 2):
        numba.set_num_threads(threads)
        found.append(electrons(Window(width=5, moments=40), model, x))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for other in found[1:]:
        assert found[0].force.tobytes() == other.force.tobytes()
        assert found[0].energy.tobytes() == other.energy.tobytes()


@pytest.mark.parametrize("width", [5, 9])
def test_the_force_sees_as_far_as_its_halo_and_no_farther(width):
    model = Holstein(Lattice("square", (24, 26)))
    forcefield = Window(width=width)
    halo = forcefield.capabilities(model, 1).halo
    assert halo == width // 2 + 3
    x = random_positions(model, seed=24)
    away = np.abs(model.lattice.cells - np.array([12, 13])).max(axis=1)
    before = electrons(forcefield, model, x).force[0]
    x[0, away == 0] += 20.0
    changed = (electrons(forcefield, model, x).force[0] != before).any(axis=1)
    assert not changed[away > halo].any()
    assert changed[away <= width // 2].all()
    assert electrons(forcefield, dataclasses.replace(model, mu=None, filling=0.5), x).mu[0] != 0.0
    assert forcefield.capabilities(dataclasses.replace(model, mu=None, filling=0.5), 1).halo is None


def test_models_it_cannot_serve_are_refused_with_numbers():
    with pytest.raises(InputError, match=r"width 9 needs at least 10 sites per direction, the lattice is 9x12"):
        System(Holstein(Lattice("square", (9, 12))), Window(width=9))
    with pytest.raises(InputError, match=r"width 8 has no site in the middle; use width: 9"):
        System(Holstein(Lattice("square", (8, 12))), Window(width=8))
    cold = Holstein(Lattice("square", (8, 8)), electronic_temperature=1e-6)
    with pytest.raises(InputError, match=r"at an electronic temperature of .*e-07 half widths.* 1.5e-05 are needed"):
        electrons(Window(width=5), cold, random_positions(cold))


def test_memory_stays_below_two_gigabytes_for_four_million_sites():
    small, large = (Holstein(Lattice("square", (side, side))) for side in (64, 512))
    needed = [Window(moments=9000).capabilities(model, 1).bytes_needed for model in (small, large)]
    assert needed[0] + (needed[1] - needed[0]) / (512**2 - 64**2) * 4e6 < 2 * 2**30
    assert working_bytes(63, 1700, 4_000_000) < 2**25
    assert working_bytes(63, 1700, 400_000_000) < 2**25
