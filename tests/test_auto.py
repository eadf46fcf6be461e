"""`auto` chooses by an error it has measured, never by one it hopes for; the choice is a function of the positions."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from conftest import random_positions, simulation
from electrons import electrons

import forcefields.auto as auto_module
from forcefields.auto import Auto
from forcefields.cavity import Cavity
from forcefields.choice import Chooser, alike_everywhere, response
from forcefields.kpm import KernelPolynomial
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd import Holstein, Lattice, State, System, load_plugin
from latticemd.errors import InputError
from latticemd.forcefield import Electrons
from latticemd.lattice import UNIT_CELLS
from latticemd.testing.probes import positions


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
    coupling, state_of = STATES[state]
    model = Holstein(Lattice("square", (60, 48)), coupling=coupling)
    x = state_of(model)
    exact = electrons(PoleExpansion(), model, x).density
    out = Electrons.empty(1, model)
    chosen, estimate = Chooser("auto", tolerance, Auto(tolerance).candidates).serve(model, x, 0, out)
    assert estimate <= tolerance
    assert rms(out.density - exact) <= max(estimate, 1e-9), chosen.title
    cheap = (state, tolerance) in {("random, g = 3.5", 3e-2), ("domains, g = 1.5", 3e-2), ("domains, g = 1.5", 1e-3)}
    assert not (cheap and chosen.exact)  # it does not hide behind the exact method


@pytest.mark.parametrize("local", [Cavity, Window])
@pytest.mark.parametrize("state", STATES)
def test_a_local_force_field_finds_its_own_size_for_a_tolerance_or_says_that_it_does_not(local, state, caplog):
    coupling, state_of = STATES[state]
    model = Holstein(Lattice("square", (60, 48)), coupling=coupling)
    x = state_of(model)
    exact, met = electrons(PoleExpansion(), model, x).density, []
    for tolerance in (5e-2, 2e-3, 1e-6):
        caplog.clear()
        with caplog.at_level(logging.INFO, "latticemd.run"):
            error = rms(electrons(local(tolerance=tolerance), model, x).density - exact)
        (record,) = caplog.records
        estimate = float(re.search(r"density ([\d.e+-]+),", record.message)[1])
        assert error <= 1.05 * estimate  # printed to two digits
        assert (record.levelno == logging.INFO) == ("within" in record.message) == (estimate <= tolerance)
        met.append(estimate <= tolerance)
    assert met[0]
    assert not met[-1] or state == "random, g = 3.5"
    if state in ("random, g = 3.5", "domains, g = 1.5"):
        assert met[1]


@pytest.mark.parametrize("local", [Cavity, Window, KernelPolynomial])
@pytest.mark.parametrize(
    ("name", "lattice"),
    [
        ("ssh", Lattice("square", (24, 24))),  # at half filling every density is 1/2, and says nothing about bonds
        ("ssh", Lattice("chain", (240,), 0.3)),
        pytest.param("double_exchange", Lattice("square", (22, 22)), marks=pytest.mark.slow),
        ("jahn_teller", Lattice("square", (22, 22))),
        ("holstein", Lattice("honeycomb", (22, 22))),
    ],
    ids=lambda value: value if isinstance(value, str) else value.type,
)
def test_the_estimate_is_about_all_that_forces_need(local, name, lattice, caplog):
    model = load_plugin("model", name)(lattice)
    x = positions(model)
    exact, scale = electrons(PoleExpansion(), model, x), response(model, x)
    with caplog.at_level(logging.INFO, "latticemd.run"):
        found = electrons(local(tolerance=2e-2), model, x)
    estimate = float(re.search(r"density ([\d.e+-]+),", caplog.messages[-1])[1])
    assert rms(found.density - exact.density) <= 1.05 * estimate
    if scale:
        assert rms(found.force - exact.force) <= 1.05 * estimate * scale


LATTICE = Lattice("square", (70, 60))


@pytest.mark.parametrize(
    "model",
    [
        Holstein(Lattice("square", (70, 60), "open")),
        Holstein(LATTICE, disorder=0.5),
        Holstein(LATTICE, vacancies=0.1),
        load_plugin("model", "ssh")(Lattice("square", (70, 60), ("periodic", "open"))),
    ],
    ids=["open", "disorder", "vacancies", "ssh"],
)
def test_a_lattice_that_is_not_alike_everywhere_has_no_samples(model):
    assert not alike_everywhere(model)
    assert [each.title for each in Auto().candidates(model)] == ["poles"]
    for local in (Cavity, Window):
        with pytest.raises(InputError, match="samples of the lattice, which must be alike everywhere"):
            local(tolerance=1e-3).prepare(model, 1)


@pytest.mark.parametrize("kind", ["chain", "ladder", "square", "triangular", "honeycomb", "kagome", "cubic"])
@pytest.mark.parametrize("name", ["holstein", "ssh", "double_exchange", "falicov_kimball"])
def test_periodic_and_twisted_lattices_are_alike_everywhere(name, kind):
    shape = (4,) * len(UNIT_CELLS[kind].vectors)
    assert all(alike_everywhere(load_plugin("model", name)(Lattice(kind, shape, ends))) for ends in ("periodic", 0.3))


def test_small_lattices_are_solved_exactly():
    model = Holstein(Lattice("square", (8, 6)))
    x = random_positions(model, replicas=2)
    found, exact = electrons(Auto(), model, x), electrons(PoleExpansion(), model, x)
    assert np.abs(found.density - exact.density).max() < 1e-6
    assert Auto().capabilities(model, 2).conservative


def test_every_replica_has_its_own_choice_in_any_company(eager):
    model = Holstein(Lattice("square", (40, 40)), coupling=3.5)
    x = np.concatenate([0.1 * random_positions(model), 5.27 * random_positions(model, seed=2)])
    chooser = Chooser("auto", 1e-2, Auto(1e-2).candidates)
    titles = [chooser.serve(model, one[None], 0, Electrons.empty(1, model))[0].title for one in x]
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
    assert "within the tolerance 0.01" in caplog.text
