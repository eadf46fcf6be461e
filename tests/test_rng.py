"""Random numbers: the published generator, the same on every backend, never the same twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cuda_kernels import philox
from latticemd.backends import cpu, specification
from latticemd.rng import Stream

# Known-answer vectors distributed with the Random123 reference implementation (Salmon et al., SC'11).
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = [np.uint64(int(word, 16)) for word in (counter + " " + key).split()]
    assert [f"{int(word):08x}" for word in philox.philox4x32(*words)] == answer.split()


WHO = st.tuples(*(st.integers(0, 2**bits - 1) for bits in (8, 8, 40, 24, 48)))


@given(WHO, WHO)
def test_counters_differ_whenever_who_asks_differs(one, other):
    packed = [tuple(int(word) for word in philox.counter(*(np.uint64(n) for n in who))) for who in (one, other)]
    assert all(0 <= word < 2**32 for words in packed for word in words)
    assert (packed[0] == packed[1]) == (one == other)


def test_logarithm_and_sines_are_accurate_to_rounding():
    u = np.random.default_rng(0).random(100_000)
    u = np.concatenate([u, 2.0 ** -np.arange(1.0, 55.0), 1.0 - 2.0 ** -np.arange(2.0, 54.0)])
    np.testing.assert_allclose(philox.log(u), np.log(u), rtol=5e-16, atol=0.0)
    sine, cosine = philox.sincos_turn(u)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * u), atol=1e-15)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * u), atol=1e-15)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (3, 2047, 1), (1, 70_001, 1)])
def test_compiled_normals_equal_the_specification_to_the_last_bit(shape):
    drawn = []
    for backend in (specification, cpu):
        out = np.empty(shape)
        backend.normals(2**63 + 17, int(Stream.THERMOSTAT), 2, 2**33 + 5, 70_000, out)
        drawn.append(out)
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_a_replica_has_the_same_noise_alone_and_in_a_batch():
    batch, alone = np.empty((5, 333, 1)), np.empty((1, 333, 1))
    cpu.normals(3, 1, 0, 9, 10, batch)
    for r in range(5):
        cpu.normals(3, 1, 0, 9, 10 + r, alone)
        assert batch[r].tobytes() == alone[0].tobytes()


def test_normals_are_standard_and_uncorrelated_between_steps_streams_and_replicas():
    # A Kolmogorov-Smirnov test at p = 1e-4 and correlations within 4.5 sigma; the seed is fixed, so no false alarms later.
    samples = []
    for stream, step, replica in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)):
        out = np.empty((1, 200_000, 1))
        cpu.normals(42, stream, 0, step, replica, out)
        samples.append(out.ravel())
    for sample in samples:
        assert stats.kstest(sample, "norm").pvalue > 1e-4
    correlations = np.corrcoef([*samples, np.roll(samples[0], 1)])[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(200_000)


def test_streams_never_share_a_number():
    assert len({int(stream) for stream in Stream}) == len(list(Stream))
    assert len(Stream.__members__) == len(list(Stream))  # an alias would be a purpose that shares another's noise
