"""Ramps and schedules are pure functions of the step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticemd import Holstein, Lattice, Ramp, System
from latticemd.errors import InputError
from latticemd.schedules import When


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 3000))
def test_linear_ramps_hold_their_ends_and_go_straight_between(first, last, start, length, step):
    ramp = Ramp.linear(first, last, start, start + length)
    share = min(max((step - start) / length, 0.0), 1.0)
    assert ramp(step) == pytest.approx(first + share * (last - first), abs=1e-12)


def test_exponential_ramp():
    ramp = Ramp(exponential=(2.0, 0.5, 10, 20.0))
    assert ramp(0) == ramp(10) == 2.0
    assert ramp(30) == pytest.approx(0.5 + 1.5 * math.exp(-1.0))
    assert ramp(10_000) == pytest.approx(0.5)


def test_piecewise_and_constant_ramps():
    ramp = Ramp(((0, 1.0), (10, 3.0), (20, 0.0)))
    assert [ramp(s) for s in (-1, 0, 5, 10, 15, 20, 99)] == [1.0, 1.0, 2.0, 3.0, 1.5, 0.0, 0.0]
    assert Ramp.constant(2.0).is_constant
    assert not ramp.is_constant


def test_a_ramped_parameter_changes_the_model_at_its_step():
    from forcefields.ed import ExactDiagonalisation

    system = System(
        Holstein(Lattice("square", (3, 3))), ExactDiagonalisation(), 1, {"coupling": Ramp.linear(1.0, 2.0, 0, 10)}
    )
    assert [system.model_at(step).coupling for step in (0, 5, 10, 20)] == [1.0, 1.5, 2.0, 2.0]
    with pytest.raises(InputError, match="cupling"):
        System(Holstein(Lattice("square", (3, 3))), ExactDiagonalisation(), 1, {"cupling": Ramp.constant(1.0)})


def test_log_spaced_steps():
    due = [step for step in range(1001) if When(log=4).due(step)]
    assert due == [0, 1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000]


@given(st.integers(1, 50), st.integers(0, 100), st.integers(0, 100))
def test_windows_and_multiples(every, after, length):
    when = When(every=every, after=after, before=after + length)
    assert [s for s in range(300) if when.due(s)] == [s for s in range(after, after + length + 1) if s % every == 0]


def test_a_schedule_needs_exactly_one_rhythm():
    for arguments in ({}, {"every": 2, "log": 3}):
        with pytest.raises(ValueError, match="either"):
            When(**arguments)
