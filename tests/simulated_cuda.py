"""Every kernel for GPUs in numba's simulator: run by tests/test_cuda.py in a process of its own.

The simulator must be chosen before numba is imported. It runs shared memory, atomics and barriers and catches what is out of
bounds; it has neither warps nor races.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.backends import cuda, kernels_for, on_device, on_host, specification, to_device
from latticemd.backends.cuda.arrays import traffic
from latticemd.errors import Diverged
from latticemd.forcefield import Capabilities
from latticemd.integrators import load_integrator
from latticemd.output.checkpoint import read_checkpoint, write_checkpoint

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
    agree(on_both(lambda backend, a, b: (backend.dot(a, b), backend.kinetic_energy(a, 0.25)), a, b), 1e-11)
    assert cuda.all_bounded(to_device(a))
    for value in (np.nan, np.inf, -np.inf, 2.0**60, -1e300):
        spoiled = a.copy()
        spoiled.flat[-1] = value
        assert not cuda.all_bounded(to_device(spoiled))


def test_sums_do_not_depend_on_the_batch():
    a = arrays((3, 300, 1), 1)[0]
    alone = [on_host(cuda.dot(to_device(a[r : r + 1]), to_device(a[r : r + 1])))[0] for r in range(3)]
    assert alone == on_host(cuda.dot(to_device(a), to_device(a))).tolist()


class Springs:
    """A force field that knows how to compute where x lives: F = -3x/10."""

    def capabilities(self, model, replicas):
        return Capabilities(True, True, True, True, 0, 0, cuda=True)

    def prepare(self, model, replicas): ...

    def evaluate(self, model, x, step, out):
        out.force[...] = -0.3 * x
        out.density[...] = 0.5
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
    for name in ("x", "p", "force", "kinetic_energy", "conserved_energy"):
        np.testing.assert_allclose(getattr(frames[1], name), getattr(frames[0], name), rtol=1e-12, atol=1e-12)


def test_single_precision_follows_double():
    double, single = made("langevin", True), made("langevin", True, np.float32)
    for one in (double, single):
        one.run(4)
    assert single.state.x.dtype == np.float32
    np.testing.assert_allclose(single.frame().x, double.frame().x, atol=2e-6)
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
