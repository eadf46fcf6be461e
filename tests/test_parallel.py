"""Shares of a simulation, with ranks as threads: who has what, what is exchanged, and that nothing of it shows in the results."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_ranks

from forcefields.cavity import Cavity
from forcefields.ed import ExactDiagonalisation
from forcefields.kpm import KernelPolynomial
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd import Holstein, Lattice, Simulation, State, System
from latticemd.config import load_input
from latticemd.errors import Diverged, InputError
from latticemd.integrators import load_integrator
from latticemd.models.double_exchange import DoubleExchange
from latticemd.models.jahn_teller import JahnTeller
from latticemd.models.ssh import SSH
from latticemd.parallel.choosing import chosen_partition, rim_of
from latticemd.parallel.forecast import Measured, Network, counted, forecast, measure
from latticemd.parallel.partition import Partition, least_surface, spans
from latticemd.parallel.share import Share

# geometry


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 12))
def test_spans_cover_everything_once_and_differ_by_one_at_most(length, parts):
    found = spans(length, min(parts, length))
    assert [n for a, b in found for n in range(a, b)] == list(range(length))
    sizes = [b - a for a, b in found]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("shape", "ranks", "grid"),
    [((512, 512), 16, (4, 4)), ((512, 512), 2, (2, 1)), ((100, 800), 4, (1, 4)), ((64, 64, 64), 64, (4, 4, 4)), ((40,), 3, (3,)),
     ((512, 512), 3, (3, 1)), ((1000, 1000), 6, (3, 2))],
)  # fmt: skip
def test_the_grid_has_the_least_surface(shape, ranks, grid):
    assert least_surface(shape, ranks) == grid


partitions = st.builds(
    lambda shape, grid, halo, periodic: Partition(
        Lattice("square", shape, ["periodic" if one else "open" for one in periodic]),
        replicas=2,
        grid=tuple(min(n, k) for n, k in zip(shape, grid, strict=True)),
        halo=halo,
    ),
    st.tuples(st.integers(3, 12), st.integers(3, 12)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 5),
    st.tuples(st.booleans(), st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(partitions)
def test_blocks_cover_every_cell_once_and_their_rows_are_those_of_the_whole(partition):
    cells = np.arange(math.prod(partition.lattice.shape)).reshape(partition.lattice.shape)
    seen = []
    for rank in range(partition.ranks):
        block = cells[tuple(slice(*span) for span in partition.owned(rank))].ravel()
        rows = partition.row_blocks(rank)
        np.testing.assert_array_equal(np.concatenate([np.arange(*row) for row in rows]), block)
        seen.append(block)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), cells.ravel())


def of_blocks(partition, work):
    return on_ranks(partition.ranks, lambda comm: work(Share(partition, comm), comm))


@settings(max_examples=25, deadline=None)
@given(partitions)
def test_a_rim_holds_the_cells_around_a_block_and_costs_what_its_surface_says(partition):
    """Corners included, also where a rim is wider than the blocks next to it, or meets itself around the lattice."""
    lattice = partition.lattice
    field = np.random.default_rng(0).normal(size=(2, lattice.sites, 3))

    def rims(share, comm):
        found = share.extended(share.taken(field))
        expected = field[:, share.lattice.numbers]
        return np.array_equal(found, expected), share.halo.bytes_sent

    found = of_blocks(partition, rims)
    assert all(right for right, _ in found)
    if partition.blocks > 1:
        received = sum(partition.halo_cells(rank) for rank in range(partition.ranks))
        assert sum(sent for _, sent in found) == 8 * 2 * 3 * received


def test_the_halo_of_a_block_is_its_surface():
    """2 w (a + b + 2 w) cells around a x b."""
    partition = Partition(Lattice("square", (64, 96)), grid=(2, 2), halo=5)
    assert {partition.halo_cells(rank) for rank in range(4)} == {2 * 5 * (32 + 48 + 2 * 5)}


def test_a_block_knows_its_place():
    lattice = Lattice("honeycomb", (9, 8), ("antiperiodic", "periodic"))

    def look(share, comm):
        block = share.lattice
        assert block.whole is lattice
        np.testing.assert_array_equal(block.staggered, lattice.staggered[block.numbers])
        np.testing.assert_allclose(block.positions, lattice.positions[block.numbers])
        own = set(share.cropped(block.numbers[None])[0].tolist())
        here, there = block.bonds(), lattice.bonds()
        phases = {(int(i), int(j)): f for i, j, f in zip(there.i, there.j, there.phase, strict=True)}
        ends = zip(block.numbers[here.i], block.numbers[here.j], here.phase, strict=True)
        inside = [(int(i), int(j), f) for i, j, f in ends if int(i) in own]
        assert len(inside) == 3 * len(own) // 2
        assert all(phases[i, j] == f for i, j, f in inside)
        return len(own)

    assert sum(of_blocks(Partition(lattice, grid=(3, 2), halo=1), look)) == lattice.sites


def test_a_block_asks_for_its_own_sites_and_more_on_demand():
    """Also across its seam, beyond which the cells on its other side stand."""
    partition = Partition(Lattice("square", (24, 20)), grid=(3, 2), halo=4)

    def look(share, comm):
        block = share.lattice
        own = share.cropped(np.arange(block.sites)[None])[0]
        assert np.array_equal(block.sites_asked, own)
        for margin in (1, 3):
            near = set(block.numbers[block.asking(margin).sites_asked].tolist())
            rows, columns = (np.arange(a - margin, b + margin) % n for (a, b), n in zip(
                partition.owned(comm.rank), (24, 20), strict=True))  # fmt: skip
            assert near == {int(20 * i + j) for i in rows for j in columns}
        return True

    assert all(of_blocks(partition, look))
    assert Lattice("square", (4, 4)).sites_asked is None


@pytest.mark.parametrize("forcefield", [Window(width=5), Cavity(radius=1)])
def test_electrons_of_a_rim_are_not_solved(forcefield):
    model = Holstein(Lattice("square", (40, 16)))
    assert forcefield.capabilities(model, 1).free_rim
    x = np.random.default_rng(2).normal(size=(1, model.lattice.sites, 1))

    def density(share, comm):
        system = System(model, dataclasses.replace(forcefield), share=share)
        system.update_forces(State.at_rest(share.taken(x)), 0)
        solved = np.flatnonzero(system.electrons.density[0])
        return np.array_equal(solved, np.sort(share.lattice.sites_asked))

    assert all(of_blocks(Partition(model.lattice, grid=(2, 1), halo=6), density))


def test_fields_stream_to_the_first_rank_in_the_order_of_sites():
    lattice = Lattice("square", (7, 5))
    field = np.random.default_rng(1).normal(size=(3, lattice.sites, 2))

    def stream(share, comm):
        rows = [(replica, list(parts)) for replica, parts in share.streams(share.taken(field))]
        numbers = share.collected(share.replicas_taken(np.arange(3.0)))
        return rows, numbers

    rows, numbers = on_ranks(4, lambda comm: stream(Share(Partition(lattice, 3, 2, (2, 1), 1), comm), comm))[0]
    assert [replica for replica, _ in rows] == [0, 1, 2]
    np.testing.assert_array_equal(np.stack([np.concatenate(parts) for _, parts in rows]), field)
    np.testing.assert_array_equal(numbers, np.arange(3.0))


# choices


def test_replicas_are_shared_before_cells():
    model = Holstein(Lattice("square", (40, 40)))
    assert chosen_partition(model, Cavity(radius=1), "cavity", 4, 4).groups == 4
    both = chosen_partition(model, Cavity(radius=1), "cavity", 2, 4)
    assert (both.groups, both.grid, both.halo) == (2, (2, 1), 4)
    asked = chosen_partition(model, Cavity(radius=1), "cavity", 2, 4, grid=(2, 2))
    assert (asked.groups, asked.grid) == (1, (2, 2))
    assert chosen_partition(model, ExactDiagonalisation(), "ed", 5, 3).groups == 3


@pytest.mark.parametrize(("forcefield", "replicas", "ranks", "wish", "sentence"), [
    (ExactDiagonalisation(), 2, 3, {}, "at most 2 rank"),
    (Cavity(radius=1), 1, 4, {"grid": (3, 1)}, "4 rank"),
    (Cavity(radius=1), 1, 2, {"groups": 2}, "2 groups"),
    (Cavity(radius=1), 1, 64, {"grid": (64, 1)}, "too small"),
    (Cavity(radius=1), 1, 2, {"grid": (2,)}, "directions"),
    (Window(tolerance=1e-3), 1, 2, {}, "all sites"),
])  # fmt: skip
def test_ranks_without_work_that_fits_are_refused(forcefield, replicas, ranks, wish, sentence):
    model = Holstein(Lattice("square", (40, 40)))
    with pytest.raises(InputError, match=sentence):
        chosen_partition(model, forcefield, "this", replicas, ranks, **wish)


def test_the_rim_is_what_forces_need():
    square = Lattice("square", (1000, 1000))
    assert rim_of(Holstein(square), Cavity(radius=2, sweeps=3)) == 5
    assert rim_of(Holstein(square, mu=None, filling=0.4), Cavity(radius=2, sweeps=3)) == 5
    assert rim_of(Holstein(square), Window(width=9)) == 7
    assert rim_of(Holstein(square, mu=None, filling=0.4), Window(width=9)) == 7
    assert rim_of(Holstein(Lattice("triangular", (30, 30)), mu=None, filling=0.4), Window(width=9)) is None


# motion


def motion(partition, model, forcefield, integrator, steps, **settings):
    """Bytes of fields and numbers after some steps."""
    rng = np.random.default_rng(3)
    x = model.admissible(rng.normal(size=(partition.replicas, model.lattice.sites, model.components)))
    p = rng.normal(size=x.shape)

    def run(comm):
        share = Share(partition, comm)
        system = System(model, forcefield(), partition.replicas, share=share)
        state = State.at_rest(share.taken(x))
        state.p[...] = share.taken(p)
        method = load_integrator(integrator)(
            dt=0.05, temperature=0.1, friction=0.5, seed=7, first_replica=share.first_replica, **settings
        )
        simulation = Simulation(system, method, state)
        simulation.run(steps)
        frame = simulation.frame()
        fields = [share.gathered(values) for values in (state.x, state.p, state.f, frame.density, frame.order_field)]
        numbers = (frame.free_energy, frame.conserved_energy, frame.order_parameter, frame.wall_fraction)
        return fields, [share.collected(values) for values in numbers], frame.digest

    fields, numbers, digest = on_ranks(partition.ranks, run)[0]
    return [values.tobytes() for values in (*fields, *numbers)] + [digest]


def assert_same_bytes(model, forcefield, integrator, *grids, rim, steps=2, replicas=1, groups=1, **settings):
    alone = motion(Partition(model.lattice, replicas), model, forcefield, integrator, steps, **settings)
    for grid in grids:
        partition = Partition(model.lattice, replicas, groups, grid, rim)
        assert motion(partition, model, forcefield, integrator, steps, **settings) == alone, grid


@pytest.mark.parametrize("integrator", [
    "langevin", "langevin_obabo", "verlet", "ABOBA", "RBO", "overdamped", "overdamped_lm", "nose_hoover", "velocity_rescaling",
])  # fmt: skip
def test_every_integrator_moves_blocks_as_it_moves_the_whole(integrator):
    """With odd and uneven blocks, so that blocks begin within a pair of random numbers."""
    model = Holstein(Lattice("square", (13, 17)))
    assert_same_bytes(model, lambda: Cavity(radius=1), integrator, (2, 1), (1, 3), (2, 2), rim=4)


def test_blocks_larger_than_tiles_and_pieces():
    model = Holstein(Lattice("square", (150, 201)))
    for precision in ("float64", "float32"):
        assert_same_bytes(
            model, lambda p=precision: Cavity(radius=1, precision=p), "langevin", (2, 1), (1, 3), rim=4, steps=1
        )
    assert_same_bytes(model, lambda: Window(width=5), "langevin", (2, 2), rim=5, steps=1)


@pytest.mark.parametrize("lattice", [
    Lattice("chain", (40,)), Lattice("chain", (40,), "open"), Lattice("honeycomb", (12, 10)), Lattice("triangular", (12, 11)),
    Lattice("square", (14, 12), ("periodic", "antiperiodic")), Lattice("square", (14, 12), (0.3, "open")),
], ids=lambda lattice: f"{lattice.type}-{lattice.boundary}")  # fmt: skip
def test_every_lattice_and_boundary_can_be_cut(lattice):
    """The phase of a boundary stays where it is, and an open end stays an end."""
    grids = [(3,)] if lattice.directions == 1 else [(3, 1), (2, 2)]
    assert_same_bytes(Holstein(lattice), lambda: Cavity(radius=1), "langevin", *grids, rim=4)
    assert_same_bytes(Holstein(lattice), lambda: Window(width=5), "langevin", *grids, rim=5, steps=1)


@pytest.mark.parametrize(("model", "integrator", "rim"), [
    (JahnTeller(Lattice("square", (14, 12))), "langevin", 4),
    (DoubleExchange(Lattice("square", (14, 12)), superexchange=0.1, field=0.1), "llg", 4),
    (SSH(Lattice("square", (16, 14)), next_stiffness=0.2), "langevin", 5),
    (Holstein(Lattice("cubic", (8, 9, 10))), "langevin", 4),
    (Holstein(Lattice("square", (14, 13)), disorder=0.5, vacancies=0.1), "langevin", 4),
    (Holstein(Lattice("square", (14, 13)), mu=None, filling=0.4), "overdamped", 4),
], ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else str(value))  # fmt: skip
def test_every_model_can_be_cut(model, integrator, rim):
    """Sites keep their disorder, and what concerns all sites (poles, fillings, mean spins) is found together."""
    grids = [(2, 1, 1), (1, 2, 2)] if model.lattice.directions == 3 else [(2, 1), (2, 2)]
    assert_same_bytes(model, lambda: Cavity(radius=1), integrator, *grids, rim=rim)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_windows_of_all_blocks_are_filled_together(precision):
    """Their moments are added up as integers, and the intervals that they use on other blocks are known to all."""
    model = Holstein(Lattice("square", (20, 17)), mu=None, filling=0.43)
    assert_same_bytes(
        model, lambda: Window(width=5, precision=precision), "langevin", (2, 1), (1, 3), (2, 2), rim=5, steps=1
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_recursion_over_the_whole_lattice_can_be_cut(precision):
    """Rims are fetched anew every few steps, and colours and the interval of the spectrum are those of the whole."""
    model = Holstein(Lattice("square", (32, 27)))
    assert rim_of(model, KernelPolynomial(colours=4)) == 8
    assert rim_of(model, KernelPolynomial(tolerance=1e-2)) is None

    def forcefield():
        return KernelPolynomial(colours=4, moments=40, precision=precision)

    assert_same_bytes(model, forcefield, "langevin", (2, 1), (1, 3), (2, 2), rim=8, steps=1)


def test_replicas_and_blocks_together():
    model = Holstein(Lattice("square", (12, 13)))
    assert_same_bytes(model, lambda: Cavity(radius=1), "langevin", (2, 1), rim=4, replicas=3, groups=2)
    assert_same_bytes(
        Holstein(Lattice("square", (4, 4))), ExactDiagonalisation, "langevin", (1, 1), rim=0, replicas=3, groups=3
    )


@pytest.mark.parametrize("settings", [{}, {"mu": None, "filling": 0.4}])
def test_a_crew_shares_the_poles_of_a_lattice_that_all_of_it_have(settings):
    model = Holstein(Lattice("square", (6, 7)), **settings)
    alone = motion(Partition(model.lattice, 3), model, PoleExpansion, "langevin", 2)
    for groups, crew in ((1, 2), (3, 2), (1, 5)):
        assert motion(Partition(model.lattice, 3, groups, crew=crew), model, PoleExpansion, "langevin", 2) == alone


def test_everybody_of_a_crew_has_some_of_the_jobs():
    lattice = Lattice("square", (4, 4))

    def look(comm):
        share = Share(Partition(lattice, 2, 2, crew=3), comm)
        mine = share.lattice.jobs(7)
        filled = np.zeros((7, 2))
        filled[mine] = np.arange(7)[mine, None]
        return list(mine), share.lattice.merged(filled)

    found = on_ranks(6, look)
    for group in (found[:3], found[3:]):
        assert sorted(job for mine, _ in group for job in mine) == list(range(7))
        assert all(np.array_equal(merged[:, 0], np.arange(7)) for _, merged in group)


def test_more_ranks_than_replicas_make_crews_where_a_force_field_can_use_them():
    model = Holstein(Lattice("square", (6, 6)))
    chosen = chosen_partition(model, PoleExpansion(), "poles", 2, 6)
    assert (chosen.groups, chosen.blocks, chosen.crew) == (2, 1, 3)
    with pytest.raises(InputError, match="needs all sites"):
        chosen_partition(model, ExactDiagonalisation(), "ed", 2, 6)


def test_a_divergence_is_named_alike_on_all_ranks():
    model = Holstein(Lattice("square", (12, 10)))

    def run(comm):
        share = Share(Partition(model.lattice, grid=(2, 2), halo=4), comm)
        x = np.zeros((1, model.lattice.sites, 1))
        x[0, 87] = np.nan
        system = System(model, Cavity(radius=1), share=share)
        try:
            system.update_forces(State.at_rest(share.taken(x)), 3)
        except Diverged as error:
            return str(error)
        return ""

    found = set(on_ranks(4, run))
    assert len(found) == 1
    assert "step 3: position is not finite: replica 0, site 87 at (8, 7), component 0" in found.pop()


def test_networks_move_blocks_to_the_rounding_of_their_precision():
    from forcefields.networks.forcefield import NetworkForceField

    model = Holstein(Lattice("square", (40, 36)))
    rim = rim_of(model, NetworkForceField("holstein_demo"))
    x = np.random.default_rng(5).normal(size=(1, model.lattice.sites, 1))

    def force(comm, grid):
        share = Share(Partition(model.lattice, grid=grid, halo=rim), comm)
        system = System(model, NetworkForceField("holstein_demo"), share=share)
        state = State.at_rest(share.taken(x))
        system.update_forces(state, 0)
        return share.gathered(state.f)

    (whole,) = on_ranks(1, lambda comm: force(comm, (1, 1)))
    parts = on_ranks(2, lambda comm: force(comm, (2, 1)))[0]
    np.testing.assert_allclose(parts, whole, rtol=0, atol=3e-6)


# forecasts

COSTS = Measured(sites=100, force_seconds=1e-6, step_seconds=1e-8, bytes=200.0, forces=1.0)


def test_a_forecast_counts_cells_rims_and_messages():
    partition = Partition(Lattice("square", (400, 400)), grid=(2, 2), halo=5)
    found = counted(partition, 1, COSTS, Network(latency=1e-6, bandwidth=1e9))
    assert (found.block, found.sites, found.messages) == ((200, 200), 40_000, 3)
    assert found.halo_bytes == 8 * 2 * 5 * (200 + 200 + 10)
    assert found.bytes == 200.0 * 210**2
    working = 210**2 * 1e-6 + 200**2 * 1e-8
    waiting = (3 + 3 * 2 + 2 * 2) * 1e-6 + found.halo_bytes / 1e9
    assert found.waiting == pytest.approx(waiting)
    assert found.seconds == pytest.approx(working + waiting)
    useful = 200**2 * (1e-6 + 1e-8)
    assert found.efficiency == pytest.approx(useful / found.seconds)
    free = counted(partition, 1, dataclasses.replace(COSTS, free_rim=True), Network(latency=1e-6, bandwidth=1e9))
    assert free.seconds == pytest.approx(useful + waiting)


def test_memory_falls_with_the_number_of_ranks():
    lattice = Lattice("square", (4096, 4096))
    one = counted(Partition(lattice, halo=5), 1, COSTS, Network()).bytes
    for ranks in (4, 16, 64):
        grid = least_surface(lattice.shape, ranks)
        assert counted(Partition(lattice, grid=grid, halo=5), 1, COSTS, Network()).bytes < 1.1 * one / ranks


def test_a_plan_of_ten_thousand_million_sites_makes_no_table_of_them(tmp_path):
    path = tmp_path / "in.yaml"
    path.write_text("""
lattice: {type: square, shape: [100000, 100000]}
model: {name: holstein}
forcefield: {name: cavity, radius: 1}
dynamics: {integrator: langevin, dt: 0.05, steps: 10, temperature: 0.1}
""")
    tracemalloc.start()
    found = forecast(load_input(path), 512, measured=COSTS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.grid == (32, 16)
    assert found.sites == 3125 * 6250
    assert peak < 2**27


def test_what_is_measured_scales_to_a_rank(tmp_path):
    """Memory and forces per step on a small piece, against what a run of that size takes."""
    path = tmp_path / "in.yaml"
    path.write_text("""
lattice: {type: square, shape: [64, 64]}
model: {name: holstein}
forcefield: {name: cavity, radius: 1}
dynamics: {integrator: langevin, dt: 0.05, steps: 10, temperature: 0.1}
""")
    run = load_input(path)
    small, large = measure(run, 32 * 32), measure(run, 64 * 64)
    assert (small.sites, large.sites) == (1024, 4096)
    assert small.forces == large.forces == 1
    assert large.bytes == pytest.approx(small.bytes, rel=0.3)
