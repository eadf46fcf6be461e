"""`latticemd verify` passes what is right and catches what is made wrong on purpose."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from test_run import QUENCH, latticemd

from forcefields.ed import ExactDiagonalisation
from latticemd import Ramp
from latticemd.config import load_input
from latticemd.integrators import load_integrator
from latticemd.plugins import register
from latticemd.verify import verify

GRADIENT, SPACE, INTERNAL, REPEAT, REPLICA, RESTART, REVERSE, ORDER, DRIFT = range(9)


class NotAGradient(ExactDiagonalisation):
    """A force that keeps all symmetries but belongs to no energy."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force *= 1.001


class PrefersADirection(ExactDiagonalisation):
    """A force that takes one neighbour for more important than the others."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-6 * x[:, model.lattice.neighbours()[:, 0]]


class BreaksParticleHole(ExactDiagonalisation):
    """A force with an even part."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-6 * x**2


class Remembers(ExactDiagonalisation):
    """A force with a warm start."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-13 * self._buffers.get("last", 0.0)
        self._buffers["last"] = float(x[0, 0, 0])


class LooksAround(ExactDiagonalisation):
    """A force that depends on the other replicas."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-13 * len(x)


CULPRITS = {
    NotAGradient: GRADIENT,
    PrefersADirection: SPACE,
    BreaksParticleHole: INTERNAL,
    Remembers: REPEAT,
    LooksAround: REPLICA,
}


@pytest.fixture
def load(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    return lambda *settings: load_input(tmp_path / "input.yaml", settings)


@pytest.mark.parametrize(
    "integrator", ["langevin", "langevin_obabo", "verlet", "ABOBA", "BRORB", "overdamped", "OBAB", "OBA"]
)
def test_exact_forces_pass_every_check_that_applies(load, integrator):
    checks = list(verify(load(f"dynamics.integrator={integrator}", "dynamics.dt=0.02")))
    assert [check for check in checks if check.verdict == "fail"] == []
    passed = {k for k, check in enumerate(checks) if check.verdict == "pass"}
    expected = set(range(9))
    if integrator == "overdamped":
        expected -= {REVERSE, ORDER, DRIFT}
    if integrator == "OBA":  # symplectic Euler: first order, and no way back
        expected -= {REVERSE}
    assert passed == expected
    assert all(check.note for check in checks if check.verdict == "skip")


@pytest.mark.parametrize("culprit", CULPRITS, ids=lambda culprit: culprit.__name__)
def test_each_defect_is_caught_by_its_check(load, culprit):
    register("forcefield", culprit.__name__, culprit)
    checks = list(verify(load(f"forcefield.name={culprit.__name__}", "dynamics.integrator=verlet", "dynamics.dt=0.05")))
    assert checks[CULPRITS[culprit]].verdict == "fail"


def test_a_step_that_is_too_large_is_seen(load):
    checks = list(verify(load("dynamics.integrator=verlet", "dynamics.dt=1.2")))
    assert "fail" in {checks[k].verdict for k in (ORDER, DRIFT)}


def test_the_command_prints_numbers_and_exits_with_the_verdict(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    settings = ["--set", "dynamics.integrator=verlet", "--set", "dynamics.dt=0.05"]
    good = latticemd("verify", "input.yaml", *settings, "--json", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    checks = json.loads(good.stdout)
    assert len(checks) == 9
    assert checks[GRADIENT]["value"] <= checks[GRADIENT]["limit"]
    bad = latticemd("verify", "input.yaml", *settings, "--set", "dynamics.dt=1.2", cwd=tmp_path)
    assert bad.returncode == 1
    assert "fail" in bad.stdout
    assert "Traceback" not in bad.stderr


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
