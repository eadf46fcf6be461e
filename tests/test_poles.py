"""Forces by pole expansion: equal to exact diagonalisation, exact gradients, exact symmetries."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from conftest import random_positions
from electrons import electrons
from scipy.special import expit

from forcefields import ed, memory
from forcefields.dissection import dissect
from forcefields.ed import ExactDiagonalisation
from forcefields.fermi import fermi_poles
from forcefields.lanes import DEPTH, LANE_BYTES, subtract_products
from forcefields.poles import PoleExpansion
from forcefields.spectrum import spectral_reach
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.errors import InputError
from latticemd.forcefield import Electrons
from latticemd.integrators import load_integrator
from latticemd.models.hamiltonian import Hamiltonian, Hops

ENSEMBLES = [{"mu": 0.0}, {"mu": -0.7}, {"filling": 0.5}, {"filling": 0.3}]
SHAPES = [(6, 6), (3, 3), (5, 7), (4, 10)]


@dataclasses.dataclass(frozen=True)
class Flux(Holstein):
    """A magnetic flux through every plaquette: hops to the right carry a phase that grows with the row."""

    def hops(self) -> Hops:
        bonds = self.lattice.bonds()
        phase = np.where(bonds.vector[:, 0] != 0.0, 2.0 * np.pi * 0.2 * self.lattice.cells[bonds.i, 1], 0.0)
        return Hops(bonds.i, bonds.j, -self.hopping * np.exp(1j * phase))


@dataclasses.dataclass(frozen=True)
class ThirdNeighbours(Holstein):
    """Hops to first neighbours and straight to the next but one: not bipartite, and separators are two sites wide."""

    def hops(self) -> Hops:
        first, third = self.lattice.bonds(), self.lattice.bonds(shell=3)
        amplitude = np.concatenate([np.full(len(first.i), -self.hopping), np.full(len(third.i), 0.3)])
        return Hops(np.concatenate([first.i, third.i]), np.concatenate([first.j, third.j]), amplitude)


def density_matrix(model, x) -> np.ndarray:
    """rho (N, N) from all eigenstates."""
    hops = model.hops()
    h = np.diag(model.onsite(x)[0]).astype(complex)
    np.add.at(h, (hops.i, hops.j), hops.amplitude)
    np.add.at(h, (hops.j, hops.i), np.conj(hops.amplitude))
    energies, vectors = np.linalg.eigh(h)
    mu, kt = model.mu, model.electronic_temperature
    if model.filling is not None:
        mu = ed.chemical_potential(energies, model.filling, kt)
    return (vectors * expit((mu - energies) / kt)) @ vectors.conj().T


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize(
    ("family", "shape"),
    # Around a ring of three or four sites the third shell meets itself or the first.
    [
        (family, s)
        for family in (Holstein, Flux, ThirdNeighbours)
        for s in SHAPES
        if family is not ThirdNeighbours or min(s) > 4
    ],
)
def test_equal_to_exact_diagonalisation(family, shape, ensemble):
    model = family(Lattice("square", shape), **ensemble)
    x = random_positions(model, seed=1, replicas=2)
    exact, fast = electrons(ExactDiagonalisation(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(fast.density - exact.density).max() <= 1e-9
    assert np.abs(fast.force - exact.force).max() <= 1e-9 * model.coupling
    assert np.abs(fast.energy - exact.energy).max() <= 1e-9 * model.lattice.sites
    assert np.abs(fast.mu - exact.mu).max() <= 1e-8


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("family", [Holstein, Flux])
def test_bonds_are_entries_of_the_density_matrix(family, ensemble):
    model = family(Lattice("square", (5, 6)), **ensemble)
    x, hops = random_positions(model, seed=2), model.hops()
    fast = PoleExpansion()
    fast.prepare(model, 1)
    expected = density_matrix(model, x)[hops.i, hops.j]
    assert np.abs(fast.bonds(model, x)[0] - expected).max() <= 1e-9
    assert np.abs(expected.imag).max() > 1e-3 or family is Holstein


@pytest.mark.parametrize(("coupling", "temperature"), [(0.0, 0.1), (1.5, 0.02), (3.5, 0.1), (3.5, 0.02)])
def test_strong_coupling_low_temperature_and_free_electrons(coupling, temperature):
    model = Holstein(Lattice("square", (10, 10)), coupling=coupling, electronic_temperature=temperature)
    x = random_positions(model, seed=3, width=5.27)  # the published quench starts with this width, 126 t of spectrum
    exact, fast = electrons(ExactDiagonalisation(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(fast.density - exact.density).max() <= 1e-9
    assert np.abs(fast.energy - exact.energy).max() <= 1e-9 * model.lattice.sites


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("options", [{}, {"poles": 4}], ids=str)
def test_force_is_the_gradient_of_its_own_energy_however_coarse_the_expansion(options, ensemble):
    model = Holstein(Lattice("square", (6, 5)), **ensemble)
    x, direction = random_positions(model, seed=4), random_positions(model, seed=5)
    force = electrons(PoleExpansion(**options), model, x).force
    slope = [
        electrons(PoleExpansion(**options), model, x + h * direction).energy[0] for h in (2e-3, 1e-3, -1e-3, -2e-3)
    ]
    derivative = (-slope[0] + 8 * slope[1] - 8 * slope[2] + slope[3]) / 12e-3
    assert -np.vdot(force, direction) == pytest.approx(derivative, rel=1e-7)


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"mu": -0.7}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3)], ids=str)
def test_forces_follow_every_operation_of_the_space_group(ensemble, shape):
    model = Holstein(Lattice("square", shape), **ensemble)
    x = random_positions(model, seed=5)
    operations = list(model.lattice.symmetries())
    images = np.empty((1 + len(operations), *x.shape[1:]))
    images[0] = x[0]
    for r, operation in enumerate(operations, start=1):
        images[r, operation.permutation] = x[0]
    answer = electrons(PoleExpansion(), model, images)
    scale = np.abs(answer.force).max()
    for r, operation in enumerate(operations, start=1):
        error = np.abs(answer.force[r, operation.permutation] - answer.force[0]).max()
        assert error <= 1e-12 * scale, operation.name
    assert np.abs(answer.energy - answer.energy[0]).max() <= 1e-12 * abs(answer.energy[0])


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
@pytest.mark.parametrize("options", [{}, {"poles": 3}], ids=str)
def test_particle_hole_symmetry_does_not_depend_on_accuracy(options, ensemble):
    model = Holstein(Lattice("square", (6, 8)), **ensemble)
    x = random_positions(model, seed=6, width=2.0)
    answer = electrons(PoleExpansion(**options), model, np.concatenate([x, -x]))
    assert np.abs(answer.force[0] + answer.force[1]).max() <= 1e-12 * np.abs(answer.force).max()
    assert answer.energy[0] == pytest.approx(answer.energy[1], rel=1e-12)


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("options", [{}, {"precision": "mixed"}], ids=str)
def test_a_replica_gives_the_same_bytes_alone_in_a_batch_and_again(options, ensemble):
    model = Holstein(Lattice("square", (6, 4)), **ensemble)
    # Different widths need different intervals, so different poles.
    x = random_positions(model, seed=7, replicas=3) * np.array([0.5, 1.0, 3.0])[:, None, None]
    forcefield = PoleExpansion(**options)
    batch = electrons(forcefield, model, x)
    for r in (2, 0, 1):
        alone = electrons(forcefield, model, x[r : r + 1])
        assert alone.force[0].tobytes() == batch.force[r].tobytes()
        assert alone.energy[0].tobytes() == batch.energy[r].tobytes()
        assert alone.mu[0] == batch.mu[r]


def test_fixed_filling_holds_the_number_of_electrons():
    for filling in (1e-6, 0.02, 0.37, 0.5, 0.99):
        model = Holstein(Lattice("square", (4, 5)), filling=filling)
        answer = electrons(PoleExpansion(), model, random_positions(model, replicas=2))
        np.testing.assert_allclose(answer.density.mean(axis=1), filling, atol=2e-13)


def test_fixed_filling_in_a_gap_where_any_mu_will_do():
    # The number of electrons is flat to 1e-15 across this gap, far below the error of the fit.
    model = Holstein(Lattice("square", (6, 6)), coupling=3.5, filling=0.5)
    x = model.ordered(4.0)[None] + 0.1 * random_positions(model, seed=8)
    exact, fast = electrons(ExactDiagonalisation(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(fast.density - exact.density).max() <= 1e-9
    assert np.abs(fast.energy - exact.energy).max() <= 1e-9 * 36


def test_mixed_precision_is_good_to_a_millionth():
    for width in (1.0, 5.27):
        model = Holstein(Lattice("square", (12, 12)))
        x = random_positions(model, seed=9, width=width)
        fast = electrons(PoleExpansion(precision="mixed", tolerance=5e-7), model, x)
        assert np.abs(fast.density - electrons(ExactDiagonalisation(), model, x).density).max() <= 1e-6


def test_energy_drifts_no_more_than_with_exact_diagonalisation():
    model = Holstein(Lattice("square", (6, 6)))
    x = model.ordered(1.2)[None] + 0.3 * random_positions(model, seed=10)
    cls = load_integrator("verlet")
    totals = []
    for forcefield in (ExactDiagonalisation(), PoleExpansion()):
        integrator = cls(dt=0.05, temperature=Ramp.constant(0.0), friction=0.0)
        simulation = Simulation(System(model, forcefield, 1), integrator, State.at_rest(x.copy()))
        total = []
        for step in range(0, 301, 10):
            simulation.run(step)
            total.append(simulation.frame().conserved_energy[0])
        totals.append(np.array(total))
    exact, fast = totals
    # The same trajectory, so the same fluctuation of Verlet's own; what the poles add must not be seen beside it.
    assert np.abs((fast - fast[0]) - (exact - exact[0])).max() <= 1e-4 * np.abs(exact - exact[0]).max()


def test_the_model_may_change_from_step_to_step():
    small = Holstein(Lattice("square", (5, 6)))
    warm = dataclasses.replace(small, electronic_temperature=0.31, hopping=0.6, coupling=2.0, mu=0.2)
    x = random_positions(small, seed=11)
    forcefield, out = PoleExpansion(), Electrons.empty(1, small)
    forcefield.prepare(small, 1)
    forcefield.evaluate(small, x, 0, out)
    forcefield.evaluate(warm, x, 1, out)
    assert np.abs(out.density - electrons(ExactDiagonalisation(), warm, x).density).max() <= 1e-9


@pytest.mark.parametrize("width", [0.0, 1.0, 30.0])
def test_spectral_reach_is_a_bound_and_tighter_than_gershgorin(width):
    model = Holstein(Lattice("square", (8, 8)))
    x, hops = random_positions(model, seed=12, width=width, replicas=3), model.hops()
    for levels, reach in zip(model.onsite(x), spectral_reach(Hamiltonian.of(model, x), model.lattice), strict=True):
        h = np.diag(levels)
        h[hops.i, hops.j] = h[hops.j, hops.i] = hops.amplitude
        largest = np.abs(np.linalg.eigvalsh(h)).max()
        assert largest <= reach * (1 + 1e-12)
        assert reach <= (np.abs(levels).max() + 4.0) * (0.9 if width == 1.0 else 1.0)
        assert reach <= 1.2 * largest


def test_every_hop_lies_in_one_front_and_work_grows_as_three_halves():
    work = []
    for side in (32, 64):
        lattice = Lattice("square", (side, side))
        bonds = lattice.bonds()
        tree = dissect(lattice.cells, bonds.i, bonds.j)
        assert sorted(tree.order) == list(range(lattice.sites))
        assert sorted(np.where(tree.entry_hop < 0, -1 - tree.entry_hop, tree.entry_hop)) == list(range(len(bonds.i)))
        assert tree.size.max() == 3 * side  # two columns that cut the torus, or one half of it and its two edges
        work.append((np.diff(tree.first) * tree.size**2).sum())
    assert work[1] / work[0] == pytest.approx(8.0, rel=0.15)


@pytest.mark.parametrize("number", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("rows", "columns", "lower"), [(1, 1, False), (4, 5, False), (7, 2, False), (6, 6, True), (7, 7, True)]
)
def test_products_of_matrices_of_vectors_match_numpy(number, rows, columns, lower):
    lanes, rng = LANE_BYTES // np.dtype(number).itemsize, np.random.default_rng(16)
    c, a, b = (rng.normal(size=(n, m, 2, lanes)).astype(number) for n, m in ((9, 8), (rows, DEPTH), (columns, DEPTH)))
    before, z = c.copy(), [array[:, :, 0] + 1j * array[:, :, 1].astype(complex) for array in (c, a, b)]
    expected = z[0][1 : rows + 1, 1 : columns + 1] - np.einsum("ikl,jkl->ijl", z[1], z[2])
    subtract_products(c.ravel(), 9, 8, rows, columns, a.ravel(), b.ravel(), 2 * lanes, lower)
    done = c[1 : rows + 1, 1 : columns + 1, 0] + 1j * c[1 : rows + 1, 1 : columns + 1, 1]
    keep = np.tri(rows, columns, dtype=bool) if lower else np.ones((rows, columns), dtype=bool)
    assert np.abs(done - expected)[keep].max() <= 20 * np.finfo(number).eps
    c[1 : rows + 1, 1 : columns + 1] = before[1 : rows + 1, 1 : columns + 1]
    assert c.tobytes() == before.tobytes()  # nothing beside the tile was touched


def test_hops_between_any_sites_are_served():
    model = Holstein(Lattice("square", (4, 5)))
    pairs = np.array([(a, b) for a in range(20) for b in range(a)])
    chosen = pairs[np.random.default_rng(13).permutation(len(pairs))[:40]]

    @dataclasses.dataclass(frozen=True)
    class Tangle(Holstein):
        def hops(self) -> Hops:
            return Hops(chosen[:, 0], chosen[:, 1], np.linspace(-1.0, 1.0, len(chosen)))

    model = Tangle(Lattice("square", (4, 5)))
    x = random_positions(model, seed=14)
    exact, fast = electrons(ExactDiagonalisation(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(fast.density - exact.density).max() <= 1e-9


def test_density_error_stays_below_the_tolerance():
    model = Holstein(Lattice("square", (8, 8)))
    x = random_positions(model, seed=15)
    exact = electrons(ExactDiagonalisation(), model, x).density
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        error = np.abs(electrons(PoleExpansion(tolerance=tolerance), model, x).density - exact).max()
        assert 1e-5 * tolerance < error <= tolerance
    reach = float(spectral_reach(Hamiltonian.of(model, x), model.lattice)[0])
    five = electrons(PoleExpansion(poles=5), model, x).density
    assert np.abs(five - exact).max() <= fermi_poles(0.1, reach, count=5).error


def test_too_large_a_lattice_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1e6)
    model = Holstein(Lattice("square", (40, 40)))
    with pytest.raises(InputError, match=r"1600 sites and .* needs .* GiB, but only 0\.0 GiB are free"):
        PoleExpansion().prepare(model, 1)


def test_memory_is_what_was_promised():
    model = Holstein(Lattice("square", (24, 24)))
    promised = PoleExpansion().capabilities(model, 1).bytes_needed
    tracemalloc.start()
    forcefield = PoleExpansion()
    forcefield.prepare(model, 1)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    forcefield.close()
    assert taken <= promised <= 1.5 * taken
