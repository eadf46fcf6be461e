"""Everything that computes on a GPU, against the specification and the CPU: run by test_cuda.py in numba's simulator, and by
test_gpu.py on a card.

Each is a process of its own, since the simulator must be chosen before numba is imported. It runs shared memory, atomics and
barriers and catches what is out of bounds; it has neither warps nor races.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from cuda_kernels import exact
from cuda_kernels import window as window_kernels
from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from cuda_kernels.window import windows
from forcefields.cavity import Cavity
from forcefields.ed import ExactDiagonalisation
from forcefields.hopping import Graph
from forcefields.kpm import KernelPolynomial
from forcefields.kpm.chebyshev import fermi_series
from forcefields.kpm.colouring import graph_colours, square_colours
from forcefields.kpm.device import AlongRows, Listed
from forcefields.kpm.device import OnDevice as KpmOnDevice
from forcefields.kpm.probing import Coloured, OnGraph
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from forcefields.window.expansion import expansion
from forcefields.window.square import OnSquare as WindowOnSquare
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.backends import cpu, cuda, gpu, kernels_for, on_device, on_host, specification, to_device
from latticemd.backends.cuda.arrays import launch, parts, traffic
from latticemd.config import load_input
from latticemd.errors import Diverged, InputError
from latticemd.forcefield import Capabilities, Electrons
from latticemd.integrators import load_integrator
from latticemd.minimization import Fire
from latticemd.minimization.runner import run_minimization
from latticemd.models.double_exchange import DoubleExchange
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.output.checkpoint import read_checkpoint, read_state, write_checkpoint
from latticemd.reporters.observables import ObservableReporter
from latticemd.schedules import When
from latticemd.verify import verify

# The simulator's threads wait for each other at barriers while its main thread looks on; it must let go soon.
sys.setswitchinterval(1e-5)

NOISE = (5, 3, 11, 2)
SHAPES = [(2, 7, 3), (1, 290, 1)]  # an odd number of components, and more than one block


def arrays(shape, count):
    return [np.random.default_rng(seed).normal(size=shape) for seed in range(count)]


def on_both(call, *values):
    """`call(backend, *copies)` with the specification and on the device: what both have left in the values, and returned."""
    found = []
    for backend, put in ((specification, np.copy), (cuda, to_device)):
        copies = [put(value) for value in values]
        returned = call(backend, *copies)
        returned = () if returned is None else returned if isinstance(returned, tuple) else (returned,)
        found.append([on_host(one) for one in (*copies, *returned)])
    return zip(*found, strict=True)


def agree(pairs, tolerance=1e-12):
    for spec, device in pairs:
        np.testing.assert_allclose(device, spec, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_string_of_letters(shape):
    letters = np.array([KICK, DRIFT, ORNSTEIN_UHLENBECK, ROTATION, ORNSTEIN_UHLENBECK, KICK], dtype=np.int8)
    numbers = np.array([[0.1, 0, 0], [0.2, 0, 0], [0.9, 0.3, 0], [0.8, 0.6, 0.5], [0.7, 0.2, 0], [0.1, 0.4, 0]])
    for some in ([0, 1, 2, 3, 4, 5], [0], [5], [2]):  # what a string does not touch stays as it is

        def split(backend, x, p, f, heat, some=some):
            backend.split(letters[some], numbers[some], x, p, f, NOISE, 1, 0.5, heat)

        agree(on_both(split, *arrays(shape, 3), np.ones(len(np.empty(shape)))))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amplitudes", [(0.3, 0.0), (0.2, 0.1)])
def test_overdamped_move(shape, amplitudes):
    agree(
        on_both(lambda backend, x, f, moved: backend.overdamped(x, f, 0.5, amplitudes, NOISE, moved), *arrays(shape, 3))
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_normals(shape):
    agree(on_both(lambda backend, out: backend.normals(2**63 + 5, 3, 1, 2**35, 7, out), np.empty(shape)))


def test_both_halves_of_a_step_of_spins():
    x, f, base, moved = arrays((2, 37, 3), 4)
    x /= np.linalg.norm(x, axis=2, keepdims=True)

    def step(backend, x, f, base, moved, heat):
        backend.spins_first_half(x, f, 0.05, 0.2, 0.3, NOISE, base, moved, heat)
        backend.spins_second_half(x, f, 0.05, 0.2, base, moved, heat)

    agree(on_both(step, x, f, base, moved, np.zeros(2)))


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize(("kind", "shape"), [
    ("chain", (7,)), ("square", (5, 4)), ("honeycomb", (4, 3)), ("kagome", (3, 5)), ("cubic", (3, 4, 5)),
])  # fmt: skip
def test_neighbour_sum(kind, shape, components):
    lattice = Lattice(kind, shape)
    x, base = arrays((2, lattice.sites, components), 2)
    agree(on_both(lambda b, x, base, out: b.neighbour_sum(lattice.stencil(), x, base, 0.7, -0.3, out), x, base, x))


@pytest.mark.parametrize("links", [1, 2, 5])
def test_nose_hoover_chains(links):
    velocity, position = (array[:, :, 0] for array in arrays((3, links, 1), 2))
    ratio = np.array([0.5, 1.0, 2.0])
    agree(on_both(lambda backend, v, x, r: backend.nose_hoover(v, x, r, 48, 0.7, 0.05), velocity, position, ratio))


def test_resampled_kinetic_energies():
    ratio = np.array([0.0, 1e-3, 0.05, 1.0])
    for step in range(5):
        agree(on_both(lambda backend, ratio, step=step: backend.resampling((5, 5, 1, step, 2), 16, 0.9, ratio), ratio))


@pytest.mark.parametrize("shape", [*SHAPES, (3, 290, 1)])
def test_reductions(shape):
    a, b = arrays(shape, 2)

    def sums(backend, a, b):
        return backend.dot(a, b), backend.kinetic_energy(a, 0.25), backend.total(a)

    agree(on_both(sums, a, b), 0.0)  # rounded once, here as there
    assert cuda.all_bounded(to_device(a))
    for value in (np.nan, np.inf, -np.inf, 2.0**60, -1e300):
        spoiled = a.copy()
        spoiled.flat[-1] = value
        assert not cuda.all_bounded(to_device(spoiled))


def test_sums_are_exact():
    """Orders of magnitude apart, cancelling, subnormal, halfway between two doubles: the double next to the sum, as on the CPU."""
    rng = np.random.default_rng(2)
    spread = rng.normal(size=70) * 10.0 ** rng.uniform(-30, 30, size=70)
    rows = np.zeros((6, 150))  # more than one block in the simulator
    rows[0, :70], rows[0, 70:140], rows[0, 145] = spread, -spread, 3.0
    rows[1, :70] = spread
    rows[2, :3] = 1.0, 2.0**-53, 2.0**-300
    rows[3, [1, 80, 149]] = 1.0, 2.0**-53, -(2.0**-300)
    rows[4, ::2] = 5e-324
    device = on_host(cuda.total(to_device(rows[:, :, None])))
    np.testing.assert_array_equal(device, specification.total(rows))
    np.testing.assert_array_equal(device, cpu.total(rows))
    rows[0, 7], rows[1, 149] = np.nan, np.inf
    bad = on_host(cuda.total(to_device(rows[:, :, None])))
    assert np.isnan(bad[:2]).all()
    np.testing.assert_array_equal(bad[2:], device[2:])  # and the tallies had been left empty


def test_sums_do_not_depend_on_the_batch_or_on_blocks(monkeypatch):
    a = arrays((3, 300, 1), 1)[0]
    alone = [on_host(cuda.dot(to_device(a[r : r + 1]), to_device(a[r : r + 1])))[0] for r in range(3)]
    assert alone == on_host(cuda.dot(to_device(a), to_device(a))).tolist()
    monkeypatch.setattr(exact, "MOST_BLOCKS", 2)  # which go round
    assert alone == on_host(cuda.dot(to_device(a), to_device(a))).tolist()


@pytest.mark.parametrize(("kind", "shape"), [("square", (7, 6)), ("honeycomb", (4, 9)), ("cubic", (3, 4, 5))])
def test_bonds_that_walls_cut(kind, shape):
    bonds = Lattice(kind, shape, boundary="open").bonds()
    field = arrays((3, Lattice(kind, shape).sites, 1), 1)[0][:, :, 0]
    field[1, ::3] = 0.0
    agree(on_both(lambda backend, f: backend.cut_bonds(f, bonds.i, bonds.j), field), 0.0)


def test_sums_over_groups():
    members, first = np.random.default_rng(0).permutation(50)[:43], np.array([0, 1, 20, 43])
    for table in (members, first):
        table.setflags(write=False)
    agree(on_both(lambda backend, v: backend.group_sums(v, members, first), arrays((2, 50, 1), 1)[0][:, :, 0]))


class Springs:
    """A force field that knows how to compute where x lives: F = -3x/10, and a density of whatever x says."""

    def __init__(self, density=lambda x: 0.5):
        self.density = density

    def capabilities(self, model, replicas):
        return Capabilities(True, True, True, True, 0, 0, cuda=True)

    def prepare(self, model, replicas): ...

    def evaluate(self, model, x, step, out):
        out.force[...] = -0.3 * x
        out.density[...] = self.density(x)
        out.mu[...] = 0.0
        out.energy[...] = 0.15 * kernels_for(x).dot(x, x)

    def close(self): ...


def made(integrator, device, precision=np.float64, dt=0.05):
    model, x = Holstein(Lattice("square", (4, 6))), arrays((2, 24, 1), 1)[0]
    state = State.at_rest(x)
    state.p[...] = 0.5 * x[:, ::-1]
    moves = load_integrator(integrator)(dt=dt, temperature=Ramp.constant(0.1), friction=0.2)
    return Simulation(System(model, Springs(), 2), moves, state.on_device(precision) if device else state)


INTEGRATORS = [
    "langevin",
    "langevin_obabo",
    "overdamped",
    "overdamped_lm",
    "verlet",
    "nose_hoover",
    "velocity_rescaling",
]


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_step_stays_on_the_device(integrator):
    host, device = made(integrator, False), made(integrator, True)
    device.integrator.step(device.state, device.system)
    host.integrator.step(host.state, host.system)
    before = traffic.crossings
    for _ in range(3):
        host.integrator.step(host.state, host.system)
        device.integrator.step(device.state, device.system)
    assert traffic.crossings == before
    frames = host.frame(), device.frame()
    for name in ("positions", "momenta", "force", "kinetic_energy", "conserved_energy"):
        np.testing.assert_allclose(getattr(frames[1], name), getattr(frames[0], name), rtol=1e-12, atol=1e-12)


def test_a_run_crosses_the_bus_when_a_reporter_asks():
    class Looking:
        when = When(every=4)

        def report(self, frame):
            seen.append((frame.step, frame.positions[0, 0, 0], frame.positions[0, 1, 0]))

    seen = []
    simulation = made("langevin", True)
    simulation.reporters.append(Looking())
    before = traffic.crossings
    simulation.run(8)
    assert [step for step, *_ in seen] == [0, 4, 8]
    assert traffic.crossings - before == 3  # positions, once for each frame


def made_with_all_observables(shape, device):
    """A run of three steps that reports every number at each, and the reporters."""
    model = Holstein(Lattice("square", shape))
    state = State.at_rest(arrays((2, model.lattice.sites, 1), 1)[0])
    moves = load_integrator("langevin")(dt=0.05, temperature=Ramp.constant(0.1), friction=0.2)
    forcefield = Springs(lambda x: 0.5 + 0.3 * x[..., 0] / (1.0 + x[..., 0] * x[..., 0]))
    names = {name: {} for name in ("energy", "temperature", "order_parameter", "wall_fraction", "correlation")}
    names["structure_factor"] = {"q": [[1.0, 1.0], [0.0, 0.5]]}
    reporters = [ObservableReporter(name, When(every=1), options=options) for name, options in names.items()]
    simulation = Simulation(System(model, forcefield, 2), moves, state.on_device() if device else state, reporters)
    return simulation, reporters


def test_numbers_cross_the_bus_and_not_the_fields_they_are_made_of():
    """Per report 8 numbers of each replica, the alarm and a correlation function, whatever the number of sites is."""
    sizes = []
    for shape, rings in (((6, 6), 4), ((12, 12), 7)):
        (host, seen), (device, found) = (made_with_all_observables(shape, where) for where in (False, True))
        host.run(1)
        device.run(1)
        before = dataclasses.replace(traffic)
        device.run(2)
        host.run(2)
        assert traffic.bytes_to_device == before.bytes_to_device
        sizes.append(traffic.bytes_to_host - before.bytes_to_host - 2 * 8 * rings)
        for here, there in zip(seen, found, strict=True):
            assert here.last.keys() == there.last.keys()
            for name, value in here.last.items():
                np.testing.assert_allclose(there.last[name], value, rtol=1e-11, atol=1e-12, err_msg=name)
    assert sizes == [2 * 8 * 8 + 4] * 2


def test_order_on_the_device_is_that_of_the_cpu_to_the_byte():
    """The same density makes the same numbers, as sums are exact and signs are signs."""
    (host, _), (device, _) = (made_with_all_observables((6, 6), where) for where in (False, True))
    frames = host.frame(), device.frame()
    for name in ("order_parameter", "local_order", "wall_fraction", "virial", "kinetic_energy"):
        np.testing.assert_array_equal(getattr(frames[1], name), getattr(frames[0], name), err_msg=name)
    np.testing.assert_array_equal(frames[1].order_field, frames[0].order_field)


def test_single_precision_follows_double():
    double, single = made("langevin", True), made("langevin", True, np.float32)
    for one in (double, single):
        one.run(4)
    assert single.state.x.dtype == np.float32
    np.testing.assert_allclose(single.frame().positions, double.frame().positions, atol=2e-6)
    np.testing.assert_allclose(single.frame().conserved_energy, double.frame().conserved_energy, rtol=2e-5)


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_a_restart_gives_the_same_bytes(precision, tmp_path):
    whole, part = made("langevin", True, precision), made("langevin", True, precision)
    whole.run(6)
    part.run(3)
    write_checkpoint(tmp_path / "checkpoint.h5", part.state, {})
    state = read_checkpoint(tmp_path / "checkpoint.h5")[0].on_device(precision)
    rest = Simulation(part.system, part.integrator, state, resumed=True)
    rest.run(6)
    assert on_device(rest.state.x)
    assert rest.state.digest() == whole.state.digest()


def test_what_leaves_the_finite_numbers_is_seen_when_somebody_looks():
    simulation = made("verlet", True, dt=50.0)
    simulation.run(40)
    with pytest.raises(Diverged, match=r"by step 40: position .*replica 0, site 0"):
        _ = simulation.frame().force


SQUARE = Holstein(Lattice("square", (6, 7)), electronic_temperature=0.5, mu=0.1)


def forces_on_both(forcefield, model=SQUARE, replicas=2, width=0.7):
    """The electrons of the CPU and those of the device at the same positions, and crossings of a second evaluation."""
    x = width * np.random.default_rng(3).normal(size=(replicas, model.lattice.sites, 1))
    assert forcefield.capabilities(model, replicas).cuda
    found = []
    for put in (np.copy, to_device):
        state = State.at_rest(x)
        state = state.on_device() if put is to_device else state
        system = System(model, forcefield, replicas)
        system.update_forces(state, 0)
        before = traffic.crossings
        system.update_forces(state, 0)
        crossed = traffic.crossings - before
        system.update_potential(state, 0)
        electrons = system.electrons
        arrays = state.f, electrons.density, electrons.energy, electrons.mu, state.potential
        found.append([on_host(one) for one in arrays])
    return zip(*found, strict=True), crossed


@pytest.fixture
def few_widths(monkeypatch):
    """Tables for spectra up to some 20 kT only, which is what these tests need."""
    import forcefields.cavity.device
    import forcefields.window.device

    monkeypatch.setattr(forcefields.cavity.device, "STEPS", 20)
    monkeypatch.setattr(forcefields.window.device, "WIDEST", 20.0)


@pytest.mark.parametrize(("radius", "precision", "tolerance"), [(1, "float64", 1e-12), (1, "float32", 1e-5)])
def test_cavity(radius, precision, tolerance, few_widths):
    pairs, crossed = forces_on_both(Cavity(radius=radius, poles=3, precision=precision))
    agree(pairs, tolerance)
    assert crossed == 0


def test_cavity_of_radius_two(few_widths):
    model = Holstein(Lattice("square", (8, 9)), electronic_temperature=0.5, mu=0.1)
    agree(forces_on_both(Cavity(radius=2, poles=2, sweeps=2), model, 1)[0], 1e-12)


@pytest.mark.parametrize(("width", "precision", "tolerance"), [(5, "float64", 1e-12), (5, "float32", 1e-5)])
def test_window(width, precision, tolerance, few_widths):
    pairs, crossed = forces_on_both(Window(width=width, tolerance=1e-2, precision=precision), replicas=1)
    agree(pairs, tolerance)
    assert crossed == 0


def test_a_window_shared_by_several_lanes():
    """Width 13 is for four or more lanes of a warp; one site stands for all."""
    lattice = Lattice("square", (14, 15))
    levels = np.random.default_rng(5).normal(size=(1, lattice.sites))
    rungs_needed = np.full(levels.shape, 48, dtype=np.int16)  # a = 8, which holds all levels
    made = {48: expansion(2.0, 8.0, 0.0, 6)}
    expected = WindowOnSquare(lattice.shape, -1.0, 13, np.float64).solve(levels, rungs_needed, made)[0]
    density, energy = to_device(np.zeros((1, 2))), to_device(np.zeros(1))
    series = np.stack([made[48].density, made[48].energy], axis=1)[None]
    launch(
        windows(13, np.float64), 1, to_device(levels.reshape(1, *lattice.shape)), 0.0, -1.0,
        to_device(rungs_needed, np.int32), 48, to_device(np.array([6]), np.int32), to_device(np.array([8.0])),
        to_device(series), 1, density, energy, *parts(1, 1), threads=window_kernels.THREADS,
    )  # fmt: skip
    np.testing.assert_allclose(on_host(density)[0], expected.onsite[0, :2], rtol=1e-13)


def kpm_against_its_specification(model, hopping, numbers):
    """Of coloured vectors on the device and of sparse matrices, with the same interval and series."""
    x = np.random.default_rng(0).normal(size=(2, model.lattice.sites, 1))
    x[1] *= 0.5  # so that replicas have different numbers of moments
    for precision, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        vectors = KpmOnDevice(hopping(precision), to_device(numbers, np.int32), int(numbers.max()) + 1, precision)
        levels = to_device(model.onsite(x))
        bounds = vectors.intervals(levels)
        series = [one.cut(one.enough(0.1)) for one in (fermi_series(each, 0.1, 0.5) for each in bounds)]
        seen = OnGraph(Coloured(numbers)).propagate(Hamiltonian.of(model, x), bounds, series)
        density = to_device(np.zeros(levels.shape))
        energy = vectors.solve(levels, bounds, series, density)
        np.testing.assert_allclose(on_host(density), seen.diagonal, atol=tolerance)
        expected = [(one.energy * trace).sum() for one, trace in zip(series, seen.traces, strict=True)]
        np.testing.assert_allclose(on_host(energy), expected, atol=100 * tolerance)


@pytest.mark.parametrize(("kind", "shape", "colours"), [("square", (4, 6), 4), ("honeycomb", (3, 4), 2)])
def test_kpm_along_rows(kind, shape, colours):
    model = Holstein(Lattice(kind, shape), electronic_temperature=0.5, mu=0.1)
    numbers = square_colours(shape, colours) if kind == "square" else graph_colours(Graph.of_model(model), colours)
    kpm_against_its_specification(model, lambda _: AlongRows(model.lattice, -1.0), numbers)


UNEQUAL = [
    Holstein(Lattice("square", (4, 5), boundary=["open", "antiperiodic"]), anisotropy=0.3),
    Holstein(Lattice("triangular", (4, 4)), next_hopping=0.2, disorder=1.0),
    Holstein(Lattice("kagome", (2, 3), boundary="open"), vacancies=0.2, disorder=0.5),
]


@pytest.mark.parametrize("model", UNEQUAL, ids=lambda model: model.lattice.type)
def test_kpm_with_hops_from_a_table(model):
    model = dataclasses.replace(model, electronic_temperature=2.0, mu=0.1)
    numbers = graph_colours(Graph.of_model(model), 2)
    kpm_against_its_specification(model, lambda precision: Listed(Graph.of_model(model), precision), numbers)


@pytest.mark.parametrize("model", UNEQUAL, ids=lambda model: model.lattice.type)
def test_sites_that_are_not_alike(model):
    """Forces, energies and the order field with disorder, vacancies, ends and phases; nothing crosses the bus for them."""
    model = dataclasses.replace(model, electronic_temperature=0.5)
    pairs, crossed = forces_on_both(ExactDiagonalisation(), model)
    agree(pairs, 1e-11)
    assert crossed == 0
    x, density = arrays((2, model.lattice.sites, 1), 2)
    order = model.order_field(to_device(x), to_device(density[:, :, 0]))
    np.testing.assert_array_equal(on_host(order), model.order_field(x, density[:, :, 0]))


SPINS = [
    DoubleExchange(Lattice("square", (3, 4)), electronic_temperature=0.3, superexchange=0.2, field=0.1),
    DoubleExchange(
        Lattice("honeycomb", (2, 3), boundary=["open", 0.3]), electronic_temperature=0.3, superexchange=0.2,
        order="antiferromagnet", coupling=2.0, mu=-1.0,
    ),
]  # fmt: skip


def spins_on_both(model, steps):
    """Runs of `llg` on the CPU and on the device, and what crossed the bus after the first step."""
    x = np.random.default_rng(1).normal(size=(2, model.lattice.sites, 3))
    runs, crossed = [], []
    for device in (False, True):
        state = State.at_rest(model.admissible(x))
        moves = load_integrator("llg")(dt=0.02, temperature=Ramp.constant(0.1), damping=0.2)
        system = System(model, ExactDiagonalisation(), 2)
        run = Simulation(system, moves, state.on_device() if device else state)
        moves.step(run.state, system)
        before = traffic.crossings
        for _ in range(steps - 1):
            moves.step(run.state, system)
        crossed.append(traffic.crossings - before)
        runs.append(run)
    return runs, crossed


@pytest.mark.parametrize("model", SPINS, ids=lambda model: model.order)
def test_spins_precess_in_the_field_of_electrons_on_the_device(model):
    (host, device), crossed = spins_on_both(model, 3)
    assert crossed == [0, 0]
    frames = host.frame(), device.frame()
    for name in (
        "positions", "force", "density", "free_energy", "conserved_energy", "order_field", "order_parameter", "local_order"
    ):  # fmt: skip
        np.testing.assert_allclose(getattr(frames[1], name), getattr(frames[0], name), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.linalg.norm(frames[1].positions, axis=2), 1.0, rtol=1e-14)


def test_hops_that_pick_up_a_phase():
    """A twisted boundary makes H complex; densities and energies stay real."""
    model = Holstein(Lattice("square", (4, 4), boundary=[0.3, "periodic"]), electronic_temperature=0.5)
    agree(forces_on_both(ExactDiagonalisation(), model)[0], 1e-11)
    agree(forces_on_both(PoleExpansion(tolerance=1e-9), model)[0], 1e-7)
    assert not KernelPolynomial(colours=2).capabilities(model, 1).cuda


@pytest.mark.parametrize("components", [1, 2])
def test_listed_sum(components):
    neighbours = Lattice("kagome", (3, 3), boundary=["open", "periodic"]).neighbours()
    assert neighbours.min() == -1
    x, base = arrays((2, len(neighbours), components), 2)
    agree(on_both(lambda b, x, base, out: b.listed_sum(neighbours, x, base, 0.7, -0.3, out), x, base, x))


@pytest.mark.parametrize("forcefield", [Cavity(radius=1, poles=3), Window(width=5, tolerance=1e-2)])
def test_disorder_is_a_matter_of_levels(forcefield, few_widths):
    model = dataclasses.replace(SQUARE, disorder=1.0)
    pairs, crossed = forces_on_both(forcefield, model, 1)
    agree(pairs, 1e-12)
    assert crossed == 0


def test_kpm_agrees_to_its_tolerance():
    """The interval on the device is Gershgorin's, a little wider than that of the CPU."""
    model = Holstein(Lattice("square", (4, 6)), electronic_temperature=2.0)
    pairs, crossed = forces_on_both(KernelPolynomial(colours=2, tolerance=1e-2), model, 1)
    agree(pairs, 0.05)
    assert crossed <= 7  # two numbers to the host; the series and the scales of that interval to the device


def test_dense_matrices():
    pairs, crossed = forces_on_both(ExactDiagonalisation())
    agree(pairs, 1e-11)
    assert crossed == 0
    agree(forces_on_both(PoleExpansion(tolerance=1e-9))[0], 1e-7)


LAUNCHES = {  # kernels and array operations of a step; docs/gpu.md says what follows from them
    "cavity": (Cavity(radius=1, poles=3), 7, 6),
    "window": (Window(width=5, tolerance=1e-2), 9, 6),
    "kpm": (KernelPolynomial(colours=2, moments=10), 6 + 10, 20),
    "ed": (ExactDiagonalisation(), 5, 24),
    "poles": (PoleExpansion(tolerance=1e-4), 5, 39),
}


@pytest.mark.parametrize(("name", "replicas"), [*((name, 1) for name in LAUNCHES), ("cavity", 3), ("ed", 3)])
def test_launches_of_a_step(name, replicas, few_widths):
    """As many for several replicas as for one."""
    forcefield, kernels, operations = LAUNCHES[name]
    model = Holstein(Lattice("square", (6, 7)), electronic_temperature=0.5)
    moves = load_integrator("langevin")(dt=0.05, temperature=Ramp.constant(0.1), friction=0.2)
    state = State.at_rest(0.7 * np.random.default_rng(3).normal(size=(replicas, 42, 1))).on_device()
    run = Simulation(System(model, forcefield, replicas), moves, state)
    before = dataclasses.replace(traffic)
    run.integrator.step(run.state, run.system)
    assert traffic.kernels - before.kernels == kernels
    if gpu.simulated():  # CuPy counts nothing
        assert traffic.operations - before.operations == operations


def test_a_network_shares_its_memory_with_torch():
    pytest.importorskip("torch")
    from forcefields.networks.forcefield import Enn

    model = Holstein(Lattice("square", (14, 14)), electronic_temperature=0.1)  # large enough for the network's base
    x = np.random.default_rng(3).normal(size=(2, 196, 1))
    forcefield = Enn(model="holstein_demo", precision="float64")
    assert forcefield.capabilities(model, 2).cuda
    forcefield.prepare(model, 2)
    out, device = Electrons.empty(2, model), Electrons.empty(2, model)
    forcefield.evaluate(model, x, 1, out)
    positions = to_device(x)
    device = device.beside(positions)
    before = traffic.crossings
    forcefield.evaluate(model, positions, 1, device)
    assert traffic.crossings == before
    agree([(out.force, on_host(device.force)), (out.density, on_host(device.density))], 1e-9)


SMALL = """
lattice: {type: chain, shape: [8]}
model: {name: holstein}
forcefield: {name: ed}
initial: {kind: normal, width: 0.5}
dynamics: {integrator: langevin, dt: 0.1, steps: 4, temperature: 0.2}
backend: cuda
"""


def small_input(tmp_path, *settings):
    path = tmp_path / "input.yaml"
    path.write_text(SMALL)
    return load_input(path, settings)


@pytest.mark.slow
def test_an_input_is_verified_where_it_computes(tmp_path):
    checks = {check.name: check for check in verify(small_input(tmp_path))}
    assert [name for name, check in checks.items() if check.verdict == "fail"] == []
    for name in ("force = -d(free energy)/dx", "restart = uninterrupted run", "order of the energy error in dt"):
        assert checks[name].verdict == "pass"
    with pytest.raises(InputError, match="positions of precision: fp32 have seven"):
        list(verify(small_input(tmp_path, "precision=fp32")))


def test_a_minimum_found_on_the_device_is_that_of_the_cpu(tmp_path):
    found = []
    for backend in ("cpu", "cuda"):
        run = small_input(tmp_path, f"backend={backend}", "replicas=2", "output.figures=false")
        summary = run_minimization(run, tmp_path / backend, fire=Fire(force_tolerance=1e-2))
        assert summary["converged"]
        assert summary["backend"] == backend
        found.append((summary, read_state(tmp_path / backend / "minimum.h5")))
    (host, seen), (device, there) = found
    assert host["steps"] == device["steps"]
    np.testing.assert_allclose(device["energy"], host["energy"], rtol=1e-12)
    np.testing.assert_allclose(there.x, seen.x, atol=1e-9)
