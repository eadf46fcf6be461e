"""Loops through the rim of a patch of `cavity`: what joining outer sites gains, and that it is done for all kinds of hops."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_positions
from electrons import electrons

from forcefields.cavity import Cavity, rim
from forcefields.cavity.expansion import expansion
from forcefields.cavity.graph import OnGraph
from forcefields.hopping import Graph, Patches, boxes
from latticemd import Holstein, Lattice, load_plugin
from latticemd.models.hamiltonian import Hops
from latticemd.testing import DenseElectrons


@pytest.fixture
def tree_rim(monkeypatch):
    """A function that leaves out the loops through the rim from now on."""
    return lambda: monkeypatch.setattr(rim, "CAUTION", np.inf)


def patches_of(graph: Graph, lattice: Lattice, radius: int) -> Patches:
    """Those of the force field."""
    return Patches.around(graph, boxes(lattice, radius) if lattice.type == "square" else graph.balls(radius))


def error_of_green(lattice: Lattice, radius: int, hopping: float) -> float:
    """The rms error of G_ii(z) over all sites, at a z well above the levels, where powers of t tell orders apart."""
    model = Holstein(lattice, hopping=hopping)
    levels, z = model.onsite(random_positions(model, seed=1))[0], 0.3 + 1.0j
    h, hops, graph = np.diag(levels), model.hops(), Graph.of_model(model)
    h[hops.i, hops.j] = h[hops.j, hops.i] = hops.amplitude
    exact = np.linalg.inv(h - z * np.eye(len(h))).diagonal()
    found = OnGraph(graph, patches_of(graph, lattice, radius), sweeps=8).green(levels, np.array([z]))[0][0]
    return float(np.sqrt(np.mean(np.abs(found - exact) ** 2)))


def order_of_green(lattice: Lattice, radius: int) -> float:
    """The n of an error that is proportional to t^n."""
    return float(np.log2(error_of_green(lattice, radius, 0.06) / error_of_green(lattice, radius, 0.03)))


@pytest.mark.parametrize(("radius", "order"), [(1, 6), (2, 8)])
def test_a_joined_rim_gains_two_orders_in_the_hopping_on_the_square_lattice(radius, order, tree_rim):
    # The shortest loop that is missed runs straight to the rim, out, one site along it, in and back: 2 radius + 4 hops. With
    # that one known, the next goes two sites along it.
    lattice = Lattice("square", (10, 10))
    joined, error = order_of_green(lattice, radius), error_of_green(lattice, radius, 0.06)
    assert joined == pytest.approx(order + 2, abs=0.4)
    tree_rim()
    assert order_of_green(lattice, radius) == pytest.approx(order, abs=0.4)
    assert error < 0.03 * error_of_green(lattice, radius, 0.06)


@pytest.mark.parametrize(("radius", "order"), [(1, 6), (2, 8), (3, 10)])
def test_hexagons_close_at_the_outer_site_that_two_rim_sites_share(radius, order):
    # At radius 2 the site opposite to the centre is outside and next to both ends of the hexagon: t^6 is exact.
    assert order_of_green(Lattice("honeycomb", (7, 7)), radius) == pytest.approx(order, abs=0.4)


def test_every_radius_counts_on_a_honeycomb():
    model = Holstein(Lattice("honeycomb", (8, 8)))
    x = random_positions(model, seed=2, replicas=2)
    exact = electrons(DenseElectrons(), model, x).density
    errors = [np.sqrt(np.mean((electrons(Cavity(radius=r), model, x).density - exact) ** 2)) for r in (1, 2, 3)]
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.9 * errors[1]


def ring(sites: int, orbitals: int, weak: float) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A ring with random complex hops and levels, blocks of `orbitals`; its dense H. Each hop but one has strength 1,
    the last one, between sites n/2 and n/2 + 1 far from site 0, `weak`.
    """
    random = np.random.default_rng(sites + orbitals)
    shape = (sites, orbitals, orbitals)
    onsite, amplitude = (random.normal(size=shape) + 1j * random.normal(size=shape) for _ in range(2))
    onsite = onsite + np.conj(onsite.swapaxes(1, 2))
    amplitude[sites // 2] *= weak
    i, o = np.arange(sites), orbitals
    h = np.zeros((sites, o, sites, o), dtype=complex)
    h[i, :, i] = onsite
    for site, block in enumerate(amplitude):
        h[site, :, (site + 1) % sites] = block
        h[(site + 1) % sites, :, site] = block.conj().T
    hops = Hops(i, (i + 1) % sites, amplitude if o > 1 else amplitude[:, 0, 0])
    return Graph.of(hops, sites, o), onsite if o > 1 else onsite[:, 0, 0].real, h.reshape(sites * o, sites * o)


def green_of_site_0(graph: Graph, onsite: np.ndarray, z: complex) -> np.ndarray:
    """From its patch of radius 1, as a matrix."""
    patches = Patches.around(graph, graph.balls(1))
    found = OnGraph(graph, patches, sweeps=8).green(onsite, np.array([z]))[0][0, 0]
    return found.reshape(graph.orbitals, graph.orbitals)


@pytest.mark.parametrize("orbitals", [1, 2, 3])
def test_a_loop_through_one_outer_site_is_exact(orbitals):
    graph, onsite, h = ring(4, orbitals, weak=1.0)
    exact = np.linalg.inv(h - 0.7j * np.eye(len(h)))[:orbitals, :orbitals]
    np.testing.assert_allclose(green_of_site_0(graph, onsite, 0.7j), exact, rtol=0, atol=1e-13)


@pytest.mark.parametrize("orbitals", [1, 2, 3])
def test_a_loop_through_two_outer_sites_is_exact_to_first_order_in_the_hop_between_them(orbitals, tree_rim):
    # A ring of five, whose far side is outside. A block transposed or conjugated on the way would be an error of first order.
    def error(weak: float) -> float:
        graph, onsite, h = ring(5, orbitals, weak)
        exact = np.linalg.inv(h - 0.7j * np.eye(len(h)))[:orbitals, :orbitals]
        return float(np.abs(green_of_site_0(graph, onsite, 0.7j) - exact).max())

    assert error(0.0) < 1e-13
    joined = error(0.004)
    assert error(0.002) / joined == pytest.approx(0.25, abs=0.03)
    tree_rim()
    assert error(0.002) / error(0.004) == pytest.approx(0.5, abs=0.03)
    assert joined < 0.05 * error(0.004)


@pytest.mark.parametrize(("radius", "limit"), [(1, 1.1), (2, 1.0), (3, 1.0)])
def test_in_a_metal_a_joined_rim_does_no_harm(radius, limit, tree_rim):
    # s is 1/3 there, where a series in loops does not converge; undamped the term makes errors 3 to 13 times larger.
    model = Holstein(Lattice("square", (12, 12)))
    x = random_positions(model, seed=3, width=0.2)
    levels, exact = model.onsite(x), electrons(DenseElectrons(), model, x).density
    graph = Graph.of_model(model)
    electron = OnGraph(graph, patches_of(graph, model.lattice, radius), sweeps=3)
    made = [expansion(model.electronic_temperature, float(np.abs(levels).max()) + 4.0, 1e-4, None)]

    def error() -> float:
        return float(np.sqrt(np.mean((electron.solve(levels, made)[0].density - exact) ** 2)))

    joined = error()
    tree_rim()
    assert joined < limit * error()


@pytest.mark.parametrize("name", ["jahn_teller", "ssh", "double_exchange"])
def test_a_joined_rim_helps_where_blocks_and_hops_follow_x(name, tree_rim):
    model = load_plugin("model", name)(Lattice("square", (6, 6)), mu=-0.3)
    x = random_positions(model, seed=4)
    exact = electrons(DenseElectrons(), model, x).force

    def error() -> float:
        return float(np.sqrt(np.mean((electrons(Cavity(radius=1), model, x).force - exact) ** 2)))

    joined = error()
    tree_rim()
    assert joined < error()
