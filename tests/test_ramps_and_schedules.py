"""Ramps and schedules are pure functions of the step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import forces_and_energy
from hypothesis import given
from hypothesis import strategies as st

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System, When, load_integrator
from latticemd.errors import InputError


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


@pytest.mark.parametrize(("name", "first", "last"), [
    ("mass", 1.0, 3.0), ("anisotropy", 0.0, 0.5), ("hopping", 1.0, 0.5), ("coupling", 1.0, 2.0), ("filling", 0.3, 0.6),
    ("stiffness", 1.0, 2.0), ("intersite", 0.0, 0.2), ("electronic_temperature", 0.1, 1.0), ("mu", 0.0, 0.5),
])  # fmt: skip
def test_every_number_of_a_model_can_ramp_and_is_followed(name, first, last):
    """A run whose ramp has ended moves as one without a ramp does: nothing of the earlier values is kept anywhere."""
    lattice, x = Lattice("square", (4, 4)), np.random.default_rng(0).normal(size=(1, 16, 1))
    settings = {} if name == "mu" else {name: first}
    ramped = System(Holstein(lattice, **settings), ExactDiagonalisation(), ramps={name: Ramp.linear(first, last, 0, 5)})
    steady = System(Holstein(lattice, **{name: last}), ExactDiagonalisation())
    langevin = load_integrator("langevin")(dt=0.1, temperature=0.2)
    one = Simulation(ramped, langevin, State.at_rest(x))
    one.run(steps=5)
    other = Simulation(steady, langevin, one.state.copy())
    # The ramp was felt on the way, ...
    never = Simulation(steady, langevin, State.at_rest(x))
    never.run(steps=5)
    assert never.state.digest() != one.state.digest()
    # ... and is over now.
    for run in (one, other):
        run.run(steps=10)
    assert one.state.digest() == other.state.digest()
    assert one.frame().kinetic_energy[0] == pytest.approx(
        (one.state.p**2).sum() / (2 * (last if name == "mass" else 1.0)), rel=1e-14
    )


def test_anisotropic_hopping_keeps_the_symmetries_it_has():
    """t (1 + a) along x, t (1 - a) along y: the fourfold rotations and diagonal reflections go, the rest stays."""
    lattice = Lattice("square", (4, 4))
    model = Holstein(lattice, anisotropy=0.3)
    hops = model.hops()
    along_x = np.abs(lattice.bonds().vector[:, 0]) == 1
    assert np.allclose(hops.amplitude[along_x], -1.3)
    assert np.allclose(hops.amplitude[~along_x], -0.7)
    operations = list(model.symmetries(translations=False))
    assert len(operations) == 4
    assert len(list(Holstein(lattice).symmetries(translations=False))) == 8
    assert len(list(model.symmetries())) == 4 * 16
    x = np.random.default_rng(1).normal(size=(1, 16, 1))
    forces, _ = forces_and_energy(model, x)
    broken = 0
    for operation in lattice.symmetries(translations=False):
        image = np.empty_like(x)
        image[:, operation.permutation] = x
        error = np.abs(forces_and_energy(model, image)[0][:, operation.permutation] - forces).max()
        if any(np.array_equal(operation.rotation, kept.rotation) for kept in operations):
            assert error <= 1e-12
        else:
            assert error > 1e-3
            broken += 1
    assert broken == 4
