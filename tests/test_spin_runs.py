"""Inputs with spins: starts, commands that know them, and commands that say that they are for displacements."""

from __future__ import annotations

import numpy as np
import pytest
from test_run import latticemd

from latticemd.build import build_model, build_state
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.output.checkpoint import read_checkpoint
from latticemd.output.trajectory import read_trajectory
from latticemd.runner import run
from latticemd.timestep import suggest_dt
from latticemd.verify import verify

INPUT = """\
lattice:    {type: square, shape: [4, 4]}
model:      {name: double_exchange, coupling: 8.0, superexchange: 0.1, filling: 0.3, electronic_temperature: 0.1}
initial:    {kind: normal, seed: 2}
dynamics:   {integrator: llg, dt: 0.2, steps: 6, temperature: 0.05, damping: 0.3}
output:     {every: 2, checkpoint_every: 3, figures: false}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.yaml").write_text(INPUT)
    return lambda *settings: load_input(tmp_path / "input.yaml", settings)


def start(run_input):
    return build_state(run_input, build_model(run_input)[0])


def test_normal_starts_are_uniform_on_the_sphere(load):
    state = start(load("lattice.shape=[150, 150]"))
    np.testing.assert_allclose(np.linalg.norm(state.x, axis=2), 1.0, rtol=1e-15)
    moments = np.einsum("rni,rnj->ij", state.x, state.x) / 22_500
    np.testing.assert_allclose(moments, np.eye(3) / 3, atol=4.5 * np.sqrt(4 / 45 / 22_500))
    assert not state.p.any()


@pytest.mark.parametrize(("initial", "first", "second"), [
    ("{kind: ordered}", [0, 0, 1], [0, 0, 1]),
    ("{kind: ordered, amplitude: -2.5}", [0, 0, -1], [0, 0, -1]),
    ("{kind: uniform, value: 0.7}", [3**-0.5] * 3, [3**-0.5] * 3),
])  # fmt: skip
def test_other_starts_become_unit_vectors_along_them(load, initial, first, second):
    x = start(load(f"initial={initial}")).x
    np.testing.assert_allclose(x[0, :2], [first, second], rtol=1e-14)


def test_ordered_starts_follow_the_order_of_the_model(load):
    x = start(load("initial={kind: ordered}", "model.order=antiferromagnet")).x
    np.testing.assert_array_equal(x[0, :5, 2], [1, -1, 1, -1, -1])


def test_a_start_without_direction_is_refused(load):
    with pytest.raises(InputError, match="length 0 and so no direction"):
        start(load("initial={kind: uniform, value: 0}"))


@pytest.mark.parametrize("integrator", ["langevin", "overdamped", "BAOAB"])
def test_integrators_of_displacements_are_refused_with_the_one_for_spins(load, integrator):
    with pytest.raises(InputError, match=r"the variables of model double_exchange are spins; expected one of .*llg"):
        load(
            f"dynamics={{integrator: {integrator}, dt: 0.1, steps: 1, temperature: 0.1}}",
        )


def test_a_run_writes_directions_without_a_unit_and_resumes_to_the_same_bytes(load, tmp_path):
    run(load("output.directory=whole"))
    run(load("output.directory=parts", "dynamics.steps=3"))
    run(load("output.directory=parts"), resume=True)
    whole, parts = (read_checkpoint(tmp_path / name / "checkpoint.h5")[0] for name in ("whole", "parts"))
    assert whole.digest() == parts.digest()
    assert not whole.p.any()
    with read_trajectory(tmp_path / "whole/trajectory.h5") as trajectory:
        spins = trajectory.value("particles/lattice/displacement")
        assert spins.shape == (4, 16, 3)
        assert spins.attrs["unit"] == "1"
        assert not {"temperature", "virial_temperature"} & {name.split("/")[-1] for name in trajectory.elements()}


def test_verify_passes_double_exchange(load):
    checks = {check.name: check for check in verify(load())}
    assert {check.verdict for check in checks.values()} == {"pass", "skip"}
    skipped = {name for name, check in checks.items() if check.verdict == "skip"}
    assert skipped == {"one rank = many ranks", "reversibility without bath"}


def test_the_fastest_precession_is_that_of_the_shortest_spin_wave(load):
    """Ferromagnetic neighbours in a field h have spin waves of frequency h + |J| (z - sum_j cos q.r_j), h + 8 |J| at the most."""
    advice = suggest_dt(
        load("initial={kind: ordered}", "model={name: double_exchange, coupling: 0, superexchange: -0.3, field: 0.2}")
    )
    found = {quantity.name: quantity.value for quantity in advice.quantities}
    assert found["fastest precession, start"] == pytest.approx(0.2 + 8 * 0.3, rel=1e-3)
    assert found["stability limit of dt"] < 1.01 / 2.6


def test_the_time_step_is_not_limited_by_how_strongly_electrons_are_tied(load):
    for coupling in (8.0, 80.0):
        advice = suggest_dt(load(f"model.coupling={coupling}"))
        # Springs as stiff as these electrons are would allow no more than 2/J.
        assert advice.suggested > 0.5
    checks = {check.name: check.verdict for check in verify(load("model.coupling=80", "dynamics.dt=0.5"))}
    for name in (
        "order of the energy error in dt",
        "energy drift / kinetic fluctuation",
        "energy balance with the bath",
    ):
        assert checks[name] == "pass", name


def test_minimize_says_that_it_is_for_displacements(load, tmp_path):
    done = latticemd("minimize", "input.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "minimisation is for displacements, but the variables of DoubleExchange are spins" in done.stderr
    assert not list((tmp_path).glob("runs/*"))
