"""`auto` chooses by an error it has measured, never by one it hopes for; the choice is a function of the positions."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from conftest import random_positions, simulation
from electrons import electrons

import forcefields.auto as auto_module
from forcefields.auto import Auto
from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice, State, System


def rms(error):
    return float(np.sqrt(np.mean(np.square(error))))


@pytest.fixture
def eager(monkeypatch):
    """`auto` considers local force fields on small lattices too."""
    monkeypatch.setattr(auto_module, "EXACT_SITES", 0)


def domains(model):
    """What overdamped motion makes of random positions in 100 steps."""
    run = simulation(model, "overdamped", random_positions(model, seed=1), dt=0.1, temperature=0.1, seed=1,
                     forcefield=PoleExpansion())  # fmt: skip
    run.run(steps=100)
    return run.state.x


STATES = {
    "random, g = 3.5": (3.5, lambda model: 5.27 * random_positions(model)),
    "random, g = 1.5": (1.5, random_positions),
    "domains, g = 1.5": (1.5, domains),
    "nearly free": (1.5, lambda model: 0.1 * random_positions(model)),
}


@pytest.mark.parametrize("tolerance", [3e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("state", STATES)
def test_the_estimate_is_not_optimistic(eager, state, tolerance):
    coupling, positions = STATES[state]
    model = Holstein(Lattice("square", (60, 48)), coupling=coupling)
    x = positions(model)
    candidate, estimate = Auto(tolerance).choice(model, x[0])
    error = rms(electrons(Auto(tolerance), model, x).density - electrons(PoleExpansion(), model, x).density)
    assert estimate <= tolerance
    assert error <= max(estimate, 1e-9), candidate.title
    cheap = (state, tolerance) in {("random, g = 3.5", 3e-2), ("domains, g = 1.5", 3e-2), ("domains, g = 1.5", 1e-3)}
    assert not (cheap and candidate.title.startswith("poles"))  # it does not hide behind the exact method


def test_small_lattices_are_solved_exactly():
    model = Holstein(Lattice("square", (8, 6)))
    x = random_positions(model, replicas=2)
    found, exact = electrons(Auto(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(found.density - exact.density).max() < 1e-6
    assert Auto().capabilities(model, 2).conservative


def test_every_replica_has_its_own_choice_in_any_company(eager):
    model = Holstein(Lattice("square", (40, 40)), coupling=3.5)
    x = np.concatenate([0.1 * random_positions(model), 5.27 * random_positions(model, seed=2)])
    titles = [Auto(1e-2).choice(model, one)[0].title for one in x]
    assert titles[0] != titles[1]
    batch = electrons(Auto(1e-2), model, x)
    for r in range(2):
        alone = electrons(Auto(1e-2), model, x[r : r + 1])
        assert alone.force[0].tobytes() == batch.force[r].tobytes()
        assert alone.energy[0] == batch.energy[r]


def test_the_log_says_what_was_chosen_and_how_good_it_is(eager, caplog):
    model = Holstein(Lattice("square", (40, 40)), coupling=3.5)
    system = System(model, Auto(1e-2))
    with caplog.at_level(logging.INFO, "latticemd.run"):
        for _ in range(2):
            system.update_forces(State.at_rest(5.27 * random_positions(model)), 0)
    assert len(caplog.messages) == 1
    assert "force field auto takes cavity, radius" in caplog.text
    assert "estimated rms error of the density" in caplog.text
