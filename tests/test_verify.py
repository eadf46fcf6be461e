"""`latticemd verify` passes what is right and catches what is made wrong on purpose."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from test_run import QUENCH, latticemd
from test_testing import (
    BreaksParticleHole,
    CountsItsCalls,
    DropsAHalfKick,
    HasAnotherEnergy,
    HidesItsHeat,
    LooksAround,
    PrefersADirection,
    Remembers,
    ThereIsNoWayBack,
)

from forcefields.cavity import Cavity
from latticemd import Ramp
from latticemd.config import load_input
from latticemd.integrators import load_integrator
from latticemd.plugins import register
from latticemd.system import System
from latticemd.testing import DenseElectrons
from latticemd.verify import Check, verify, write_checks

GRADIENT, SPACE, INTERNAL, REPEAT, REPLICA, RANKS, RESTART, REVERSE, ORDER, DRIFT, BALANCE = range(11)


CULPRITS = {
    HasAnotherEnergy: {GRADIENT, ORDER},  # what is conserved is not what it calls the energy
    PrefersADirection: {SPACE},
    BreaksParticleHole: {INTERNAL},
    Remembers: {REPEAT, REPLICA, RESTART},
    LooksAround: {REPLICA},
    CountsItsCalls: {RESTART},
    DropsAHalfKick: {ORDER},
    HidesItsHeat: {BALANCE},
    ThereIsNoWayBack: {REVERSE},
}


@pytest.fixture
def load(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    return lambda *settings: load_input(tmp_path / "input.yaml", settings)


def test_disorder_leaves_the_symmetries_that_are_left(load):
    checks = list(verify(load("model.disorder=0.5", "model.vacancies=0.1")))
    assert checks[SPACE].verdict == "pass"
    assert checks[SPACE].note.startswith("1 generators; worst: none")
    assert {check.verdict for check in checks} == {"pass", "skip"}


@pytest.mark.parametrize(
    "integrator",
    [
        "langevin",
        "langevin_obabo",
        "verlet",
        "nose_hoover",
        "velocity_rescaling",
        "ABOBA",
        "BRORB",
        "overdamped",
        "overdamped_lm",
        "OBAB",
        "OBA",
    ],
)
def test_exact_forces_pass_every_check_that_applies(load, integrator):
    checks = list(verify(load(f"dynamics.integrator={integrator}", "dynamics.dt=0.02")))
    assert [check for check in checks if check.verdict == "fail"] == []
    passed = {k for k, check in enumerate(checks) if check.verdict == "pass"}
    expected = set(range(11)) - {RANKS}
    if integrator.startswith("overdamped"):
        expected -= {REVERSE, ORDER, DRIFT}
    if integrator == "OBA":  # symplectic Euler: first order, and no way back
        expected -= {REVERSE}
    assert passed == expected
    assert all(check.note for check in checks if check.verdict == "skip")


@pytest.mark.parametrize("culprit", CULPRITS, ids=lambda culprit: culprit.__name__)
def test_each_defect_is_caught_by_its_check_alone(load, culprit):
    kind = "forcefield" if issubclass(culprit, DenseElectrons) else "integrator"
    register(kind, culprit.__name__, culprit)
    settings = ["dynamics.integrator=verlet", "dynamics.dt=0.02", "dynamics.temperature=0.5", "lattice.shape=[4, 4]"]
    key = "forcefield.name" if kind == "forcefield" else "dynamics.integrator"
    checks = list(verify(load(*settings, f"{key}={culprit.__name__}")))
    assert {k for k, check in enumerate(checks) if check.verdict == "fail"} == CULPRITS[culprit]


def test_a_step_that_is_too_large_is_seen(load):
    checks = list(verify(load("dynamics.integrator=verlet", "dynamics.dt=1.2")))
    assert "fail" in {checks[k].verdict for k in (ORDER, DRIFT)}


@pytest.mark.parametrize("integrator", ["overdamped", "overdamped_lm"])
def test_overdamped_motion_beyond_its_stability_limit_is_seen_in_the_balance(load, integrator):
    """The stiffest mode has k + 4 kappa = 1.72 and grows when dt 1.72/gamma > 2, that is dt > 0.233."""
    verdicts = [
        list(verify(load(f"dynamics.integrator={integrator}", f"dynamics.dt={dt}")))[BALANCE].verdict
        for dt in (0.1, 0.26)
    ]
    assert verdicts == ["pass", "fail"]


def test_motion_that_diverges_fails_its_checks_and_leaves_the_others(load):
    checks = list(verify(load("dynamics.integrator=verlet", "dynamics.dt=1e6")))
    assert len(checks) == 11
    assert {checks[k].verdict for k in (GRADIENT, SPACE, INTERNAL, REPEAT, REPLICA)} == {"pass"}
    assert "beyond 1e+18" in checks[DRIFT].note
    assert checks[DRIFT].verdict == checks[BALANCE].verdict == "fail"
    json.dumps([dataclasses.asdict(check) for check in checks], allow_nan=False)


@pytest.mark.parametrize("start", ["{kind: uniform, value: 0.0}", "{kind: checkerboard, amplitude: 2.0, width: 0.0}"])
def test_a_perfectly_regular_start_is_checked_beside_it(load, start):
    """At x = 0 all forces vanish and every symmetry holds by itself."""
    checks = list(verify(load("dynamics.integrator=langevin", "dynamics.dt=0.05", f"initial={start}")))
    assert {checks[k].verdict for k in range(len(checks)) if k != RANKS} == {"pass"}
    assert checks[SPACE].value > 0.0


def test_the_energy_drift_is_told_as_a_slope_and_the_balance_as_energies(load):
    checks = list(verify(load("dynamics.integrator=langevin", "dynamics.dt=0.05")))
    assert "[energy/time]" in checks[DRIFT].note
    assert "heat" in checks[BALANCE].note
    ramped = "model.coupling={kind: linear, from: 1.0, to: 2.0, start: 2, end: 9}"
    checks = list(verify(load("dynamics.integrator=langevin", "dynamics.dt=0.05", ramped)))
    assert checks[BALANCE].verdict == "skip"
    assert "ramps" in checks[BALANCE].note


def test_the_stated_cost_is_not_exceeded(load, monkeypatch):
    calls, update = [], System.update_forces
    monkeypatch.setattr(System, "update_forces", lambda self, *args: calls.append(1) or update(self, *args))
    list(verify(load("dynamics.integrator=langevin", "dynamics.dt=0.05")))
    assert 200 < len(calls) <= 240


def test_the_command_prints_numbers_and_exits_with_the_verdict(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    settings = ["--set", "dynamics.integrator=verlet", "--set", "dynamics.dt=0.05"]
    good = latticemd("verify", "input.yaml", *settings, "--json", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    checks = json.loads(good.stdout)
    assert len(checks) == 11
    assert checks[GRADIENT]["value"] <= checks[GRADIENT]["limit"]
    assert [path.name for path in tmp_path.iterdir()] == ["input.yaml"]
    bad = latticemd(
        "verify", "input.yaml", *settings, "--set", "dynamics.dt=1.2", "-o", "kept/verify.json", cwd=tmp_path
    )
    assert bad.returncode == 1
    kept = json.loads((tmp_path / "kept/verify.json").read_text())
    assert [check["name"] for check in kept] == [check["name"] for check in checks]
    assert "fail" in {check["verdict"] for check in kept}
    assert "fail" in bad.stdout
    assert "[length]" in bad.stdout
    assert "Traceback" not in bad.stderr


def test_a_table_is_kept_in_the_format_of_its_name(tmp_path):
    checks = [
        Check("restart", "pass", 0.0, 0.0, "largest difference"),
        Check("energy drift", "fail", float("nan"), 0.1, "|slope| 2"),
        Check("ranks", "skip", note="one process"),
    ]
    write_checks(tmp_path / "new/verify.json", checks)
    kept = [Check(**one) for one in json.loads((tmp_path / "new/verify.json").read_text())]
    assert (kept[0], kept[1].value, kept[2]) == (checks[0], None, checks[2])
    write_checks(tmp_path / "verify.md", checks)
    assert (tmp_path / "verify.md").read_text().splitlines() == [
        "| check | value | limit | verdict | note |",
        "| --- | --- | --- | --- | --- |",
        "| restart | 0 | 0 | pass | largest difference |",
        "| energy drift | nan | 0.1 | fail | \\|slope\\| 2 |",
        "| ranks |  |  | skip | one process |",
    ]
    (tmp_path / "input.yaml").write_text(QUENCH)
    refused = latticemd("verify", "input.yaml", "--output", "verify.txt", cwd=tmp_path)
    assert refused.returncode == 2
    assert "verify.txt: expected a file name that ends in .json or .md" in refused.stderr


def test_a_changed_copy_of_an_integrator_has_its_own_coefficients(load):
    from conftest import simulation

    from latticemd import Holstein, Lattice

    model = Holstein(Lattice("square", (4, 4)))
    x = np.random.default_rng(0).normal(size=(1, 16, 1))
    first = simulation(model, "verlet", x, dt=0.1)
    first.run(steps=1)
    changed = simulation(model, "verlet", x, dt=0.1)
    changed.integrator = dataclasses.replace(first.integrator, dt=0.05)
    changed.run(steps=1)
    fresh = simulation(model, "verlet", x, dt=0.05)
    fresh.run(steps=1)
    assert changed.state.digest() == fresh.state.digest()
    cls = load_integrator("BAOAB")
    assert dataclasses.replace(cls(dt=0.1, temperature=Ramp.constant(1.0)), dt=0.2).dt == 0.2


class GivesNoEnergy(DenseElectrons):
    """A force field that knows forces and nothing else."""

    def capabilities(self, model, replicas):
        return dataclasses.replace(super().capabilities(model, replicas), energy=False, conservative=False)

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.energy[...] = np.nan


def test_what_a_force_field_does_not_promise_is_not_held_against_it(load):
    register("forcefield", "no_energy", GivesNoEnergy)
    checks = {check.name: check for check in verify(load("forcefield.name=no_energy", "dynamics.integrator=verlet"))}
    assert {check.verdict for check in checks.values()} == {"pass", "skip"}
    skipped = {name for name, check in checks.items() if check.verdict == "skip"}
    assert skipped == {
        "force = -d(free energy)/dx",
        "order of the energy error in dt",
        "energy drift / kinetic fluctuation",
        "energy balance with the bath",
        "one rank = many ranks",
    }


def test_two_blocks_are_moved_as_one_lattice(load):
    """Where a force field is as local as it says, to the byte; one that sees farther than it says is found out."""
    shape = "lattice.shape=[14, 12]"
    checks = {check.name: check for check in verify(load(shape, "forcefield.name=cavity", "forcefield.radius=1"))}
    found = checks["one rank = many ranks"]
    assert (found.verdict, found.value) == ("pass", 0.0)

    class Boasts(Cavity):
        def capabilities(self, model, replicas):
            return dataclasses.replace(super().capabilities(model, replicas), halo=1, rim=1)

    register("forcefield", "boasts", Boasts)
    found = {check.name: check for check in verify(load(shape, "forcefield.name=boasts"))}["one rank = many ranks"]
    assert found.verdict == "fail"
    assert found.value > 1e-6
