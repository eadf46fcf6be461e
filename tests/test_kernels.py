"""Each compiled kernel against its NumPy specification."""

from __future__ import annotations

import numpy as np
import pytest

from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from latticemd import Lattice
from latticemd.backends import cpu, specification

NOISE = (5, 3, 11, 2)
# below one block, not a multiple of one, and large enough for the parallel version
SHAPES = [(2, 7, 3), (3, 2500, 1), (1, 70_001, 1)]


def arrays(shape, count):
    return [np.random.default_rng(seed).normal(size=shape) for seed in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_string_of_letters(shape):
    letters = np.array([KICK, DRIFT, ORNSTEIN_UHLENBECK, ROTATION, ORNSTEIN_UHLENBECK, KICK], dtype=np.int8)
    coefficients = np.array([[0.1, 0, 0], [0.2, 0, 0], [0.9, 0.3, 0], [0.8, 0.6, 0.5], [0.7, 0.2, 0], [0.1, 0.4, 0]])
    results = []
    for backend in (specification, cpu):
        x, p, f = arrays(shape, 3)
        heat = np.ones(len(x))
        backend.split(letters, coefficients, x, p, f, NOISE, 1, 0.5, heat)
        results.append((x, p, heat))
    for spec, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, spec, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("amplitudes", [(0.3, 0.0), (0.2, 0.1)])
def test_overdamped_move(shape, amplitudes):
    results = []
    for backend in (specification, cpu):
        x, f = arrays(shape, 2)
        moved = np.empty(shape)
        backend.overdamped(x, f, 0.5, amplitudes, NOISE, moved)
        results.append((x, moved))
    for spec, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, spec, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize(("kind", "shape"), [
    ("chain", (7,)), ("square", (5, 4)), ("honeycomb", (4, 3)), ("kagome", (3, 5)), ("cubic", (3, 4, 5)), ("square", (300, 250)),
])  # fmt: skip
def test_neighbour_sum_without_a_table(kind, shape, components):
    lattice = Lattice(kind, shape)
    x, base = arrays((2, lattice.sites, components), 2)
    by_table = base + 0.7 * x - 0.3 * x[:, lattice.neighbours()].sum(axis=2)
    for backend in (specification, cpu):
        out = np.full_like(x, np.nan)
        backend.neighbour_sum(lattice.stencil(), x, base, 0.7, -0.3, out)
        np.testing.assert_allclose(out, by_table, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("links", [1, 2, 5])
def test_nose_hoover_chains(links):
    results = []
    for backend in (specification, cpu):
        velocity, position = (array[:, :, 0] for array in arrays((3, links, 1), 2))
        velocity, position = velocity.copy(), position.copy()
        factor, gained = backend.nose_hoover(velocity, position, np.array([0.5, 1.0, 2.0]), 48, 0.7, 0.05)
        results.append((velocity, position, factor, gained))
    for spec, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, spec, rtol=1e-13, atol=1e-13)


def test_resampled_kinetic_energies():
    ratio = np.array([0.0, 1e-3, 0.05, 1.0])
    for step in range(20):
        noise = (5, 5, 1, step, 2)
        spec = specification.resampling(noise, 16, 0.9, ratio)
        np.testing.assert_allclose(cpu.resampling(noise, 16, 0.9, ratio), spec, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_reductions(shape):
    a, b = arrays(shape, 2)
    np.testing.assert_allclose(cpu.dot(a, b), specification.dot(a, b), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(cpu.kinetic_energy(a, 0.25), specification.kinetic_energy(a, 0.25), rtol=1e-12)
    for backend in (specification, cpu):
        for value in (np.nan, np.inf, -np.inf, 2.0**60, -1e300):
            assert backend.all_bounded(a)
            spoiled = a.copy()
            spoiled.flat[-1] = value
            assert not backend.all_bounded(spoiled)
        spoiled.flat[-1] = np.nextafter(2.0**60, 0.0)
        assert backend.all_bounded(spoiled)


def test_sums_do_not_depend_on_the_batch():
    a = arrays((4, 5000, 1), 1)[0]
    assert [cpu.dot(a[r : r + 1], a[r : r + 1])[0] for r in range(4)] == cpu.dot(a, a).tolist()
