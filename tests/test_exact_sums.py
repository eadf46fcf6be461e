"""Sums that are rounded once: equal to `math.fsum`, in any order, in any company."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd.backends import cpu
from latticemd.backends.cpu import exact
from latticemd.backends.place import Place, cut

addends = st.lists(st.floats(-(2.0**900), 2.0**900, allow_nan=False), min_size=1, max_size=40)


@settings(max_examples=300, deadline=None)
@given(addends)
def test_a_sum_is_the_double_next_to_it(values):
    assert cpu.total(np.array([values]))[0] == math.fsum(values)


@settings(max_examples=100, deadline=None)
@given(addends, st.integers(0, 2**31))
def test_cancellation_and_order_cost_nothing(values, seed):
    mixed = np.random.default_rng(seed).permutation(np.concatenate([values, np.negative(values), [3.0, 2.0**-70]]))
    assert cpu.total(mixed[None])[0] == 3.0
    assert cpu.total(np.concatenate([values, np.negative(values), [2.0**-70]])[None])[0] == 2.0**-70


def test_halfway_cases_are_decided_by_the_last_bit_of_any_addend():
    for tail, rounded in ((0.0, 1.0), (2.0**-300, 1.0 + 2.0**-52), (-(2.0**-300), 1.0)):
        assert cpu.total(np.array([[1.0, 2.0**-53, tail]]))[0] == rounded


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_makes_the_sum_unknown(bad):
    values = np.ones((2, 5000))
    values[1, 4321] = bad
    assert cpu.total(values)[0] == 5000.0
    assert np.isnan(cpu.total(values)[1])


class Half(Place):
    """The even or the odd blocks of 100 degrees of freedom, whose sums are brought together by the test."""

    divided = True

    def __init__(self, which, tallies):
        self.which, self.tallies = which, tallies

    def pieces(self, sites, components, most):
        starts = range(0, sites * components, 100)
        return np.concatenate([cut(100 * k, 100 * (2 * k + self.which), 100, most) for k, _ in enumerate(starts)])

    def added_up(self, tally):
        self.tallies.append(tally.copy())
        return tally


def halves(values):
    blocks = values.reshape(1, -1, 100)
    return [np.ascontiguousarray(blocks[:, which::2]).reshape(1, -1, 1) for which in (0, 1)]


def test_tallies_of_parts_make_the_sum_of_the_whole():
    values = np.random.default_rng(0).normal(size=(1, 20_000, 1)) * 10.0 ** np.arange(20_000)[:, None] ** 0.1
    tallies = []
    for which, half in enumerate(halves(values)):
        cpu.dot(half, half, Half(which, tallies))
    assert exact.rounded(sum(tallies)) == cpu.dot(values, values)


@pytest.mark.parametrize("first", [0, 1, 7])
def test_noise_of_a_part_is_that_of_the_whole(first):
    """Also where a part begins at the second number of a pair."""
    whole = np.empty((2, 3000, 1))
    cpu.normals(3, 1, 2, 9, 5, whole)

    class Later(Place):
        def pieces(self, sites, components, most):
            return cut(0, first, sites * components, most)

    part = np.empty((2, 3000 - first, 1))
    cpu.normals(3, 1, 2, 9, 5, part, Later())
    np.testing.assert_array_equal(part, whole[:, first:])
