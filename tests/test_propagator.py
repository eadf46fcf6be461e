"""A Simulation steps by whatever propagates: a learned motion restarts, keeps symmetries and refuses what it cannot do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from forcefields.pairs import Coulomb
from forcefields.points.modelfile import load_motion, new_motion, save_motion
from forcefields.points.nbody import HORIZON, charged
from forcefields.points.plans import PLANS, EGNNPlan, FramesPlan, GraphPlan, SecondOrderPlan
from forcefields.points.propagator import PointMotion
from forcefields.points.training import Plan, mean_error, train_dynamics
from latticemd import Holstein, Lattice, Simulation, State, System, load_integrator
from latticemd.build import build_integrator, build_propagator, load_simulation
from latticemd.cli import app
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.integrators import Integrator
from latticemd.lattice import Points
from latticemd.learning.modelfile import load_network, read_card
from latticemd.measurements.motion import restarted
from latticemd.models.particles import Particles
from latticemd.propagator import Propagator
from latticemd.verify import verify

INPUT = """
system: particles
lattice: {{type: points, shape: [5]}}
model: {{name: particles}}
forcefield: {{name: coulomb, clip: 100}}
initial: {{kind: normal, width: 1.0, velocity: 0.3}}
dynamics: {{propagator: point_network, model: {model}, dt: 1.0, steps: 6}}
output: {{every: 2, checkpoint_every: 2, fields: [displacement, momentum, force], directory: {run}, figures: false}}
replicas: 2
"""


def saved(folder, name="egnn", plan=None, precision="float64", trained=0):
    """A file of a motion whose weights are the first ones, or have learned for some epochs."""
    plan, samples = plan or PLANS[name](), charged(0, 0, 200)
    motion = new_motion(plan, HORIZON).to(getattr(torch, precision))
    if trained:
        train_dynamics(motion, samples, charged(0, 3000, 50), Plan(trained, batch=50, rate=3e-3, keep=0.9))
    path = folder / f"{name}.safetensors"
    save_motion(path, name, plan, motion, Particles(Points([5])), samples, {}, {})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("motion"))


@pytest.fixture
def input_file(tmp_path, file):
    path = tmp_path / "input.yaml"
    path.write_text(INPUT.format(model=file, run=tmp_path / "run"))
    return path


def make(file, state, model=None):
    model = model or Particles(Points([5]))
    return Simulation(System(model, Coulomb(clip=100.0), state.replicas), PointMotion(str(file), dt=HORIZON), state)


def start(replicas=2):
    samples = charged(1, 0, replicas)
    state = State.at_rest(samples.x)
    state.p[...] = samples.v
    return state


def test_integrators_and_learned_motion_are_propagators(file):
    assert isinstance(load_integrator("verlet")(dt=0.1), Propagator)
    learned = PointMotion(str(file), dt=1.0)
    assert isinstance(learned, Propagator)
    assert not isinstance(learned, Integrator)


def test_a_step_is_the_answer_of_the_network(file):
    state = start()
    simulation = make(file, state.copy(), model := Particles(Points([5]), mass=2.0))
    simulation.run(1)
    motion = load_motion(file)[1]
    q = torch.from_numpy(model.q).expand(2, -1)
    x, v = motion(torch.from_numpy(state.x), torch.from_numpy(state.p / 2.0), q)
    np.testing.assert_allclose(simulation.state.x, x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(simulation.state.p, 2.0 * v, rtol=0, atol=1e-13)
    assert simulation.state.step == 1
    assert simulation.frame().time == HORIZON


@pytest.mark.parametrize("name", ["egnn", "second_order", "graph"])
def test_a_restarted_run_has_the_same_bytes_and_a_replica_too(tmp_path, name):
    file = saved(tmp_path, name, precision="float32")
    whole, parts = restarted(lambda state: make(file, state), start(), 2, 4)
    assert whole.digest() == parts.digest()
    alone = start()
    alone = State(alone.x[1:], alone.p[1:], alone.f[1:], alone.potential[1:])
    simulation = make(file, alone)
    simulation.run(4)
    assert simulation.state.x.tobytes() == whole.x[1:].tobytes()


def test_frames_show_forces_and_energies_and_looking_changes_nothing(file):
    watched, alone = make(file, start()), make(file, start())
    for _ in range(3):
        watched.run(watched.state.step + 1)
        frame = watched.frame()
        expected = State.at_rest(watched.state.x)
        System(watched.system.model, Coulomb(clip=100.0), 2).update_forces(expected, 0)
        np.testing.assert_array_equal(frame.force, expected.f)
        kinetic = 0.5 * (watched.state.p**2).sum(axis=(1, 2))
        np.testing.assert_allclose(frame.conserved_energy, frame.free_energy + kinetic, rtol=1e-14)
    alone.run(3)
    assert alone.state.digest() == watched.state.digest()


def test_run_and_resume_from_the_command_line(input_file, tmp_path):
    runner, run = CliRunner(), tmp_path / "run"
    assert runner.invoke(app, ["run", str(input_file)]).exit_code == 0
    short = tmp_path / "short"
    assert runner.invoke(app, ["run", str(input_file), "-o", str(short), "--set", "dynamics.steps=3"]).exit_code == 0
    done = runner.invoke(app, ["resume", str(short), "--set", "dynamics.steps=6"])
    assert done.exit_code == 0, done.output
    digests = [load_simulation(folder / "input.yaml").state.digest() for folder in (run, short)]
    assert digests[0] == digests[1]
    from latticemd.output.checkpoint import read_checkpoint

    assert read_checkpoint(run / "checkpoint.h5")[0].digest() == read_checkpoint(short / "checkpoint.h5")[0].digest()
    assert json.loads((run / "summary.json").read_text())["ended"] == "finished"


def test_a_resolved_input_loads_to_an_equal_one(input_file, tmp_path):
    resolved = load_input(input_file)
    again = tmp_path / "again.yaml"
    again.write_text(resolved.to_yaml())
    assert load_input(again) == resolved
    assert resolved.dynamics.mover == "point_network"
    with pytest.raises(InputError, match=r"about integrators, but dynamics\.propagator is point_network"):
        build_integrator(resolved)


def test_verify_says_what_applies(input_file, tmp_path):
    checks = {check.name: check for check in verify(load_input(input_file))}
    assert checks["restart = uninterrupted run"].verdict == "pass"
    assert checks["symmetries of a learned step"].verdict == "pass"
    assert checks["symmetries of a learned step"].value < 1e-11
    assert checks["energy balance with the bath"].verdict == "skip"
    assert checks["reversibility without bath"].verdict == "skip"
    assert checks["learned step = many small ones"].verdict == "fail"  # its weights are the first ones
    plain = saved(tmp_path, "graph", GraphPlan(hidden=8, depth=1))
    checks = {c.name: c for c in verify(load_input(input_file, [f"dynamics.model={plain}"]))}
    assert checks["symmetries of a learned step"].verdict == "fail"
    forces = "dynamics={integrator: verlet, dt: 0.01, steps: 3, temperature: 0}"
    checks = {c.name: c for c in verify(load_input(input_file, [forces]))}
    assert not [name for name in checks if "learned" in name]


def test_motions_learn_positions_and_velocities(tmp_path):
    plan = SecondOrderPlan(hidden=16, steps=4)
    samples = charged(0, 3000, 50)
    before = mean_error(new_motion(plan, HORIZON).float(), samples)
    after = mean_error(load_motion(saved(tmp_path, "second_order", plan, "float32", trained=40))[1], samples)
    assert after < 0.5 * before


def test_a_training_is_the_same_training_again():
    samples, held_out = charged(0, 0, 60), charged(0, 3000, 20)
    plan = FramesPlan(hidden=8, depth=1, drawn=1)
    weights = []
    for _ in range(2):
        motion = new_motion(plan, HORIZON).float()
        train_dynamics(motion, samples, held_out, Plan(3, batch=20, look=1))
        weights.append(torch.cat([one.detach().flatten() for one in motion.parameters()]))
    assert torch.equal(*weights)


def test_what_does_not_fit_is_refused_with_a_sentence(file, input_file, tmp_path):
    def answer(setting):
        with pytest.raises(InputError) as refusal:
            build_propagator(load_input(input_file, [setting]))
        return str(refusal.value)

    assert "moves particles by 1 at a time" in answer("dynamics.dt=0.5")
    assert "unknown propagator 'point_networks'; did you mean 'point_network'?" in answer(
        "dynamics.propagator=point_networks"
    )
    assert "either an integrator or a propagator" in answer("dynamics.integrator=verlet")
    assert "no such file" in answer("dynamics.model=nothing.safetensors")
    assert "dynamics.friction: unknown key" in answer("dynamics.friction=1")
    with pytest.raises(InputError, match="says where particles are after 1, and knows no force"):
        load_network(file)
    card = read_card(file)
    assert (card.horizon, card.network["name"]) == (1.0, "egnn")
    assert card.parameters == sum(one.numel() for one in load_motion(file)[1].parameters())
    weights = load_file(file)
    broken = tmp_path / "broken.safetensors"
    save_file(dict(list(weights.items())[1:]), broken, {"latticemd": json.dumps(vars(card))})
    with pytest.raises(InputError, match="its weights do not fit the network egnn"):
        load_motion(broken)
    with pytest.raises(InputError, match="made for a time of 1, and asked for one of 2"):
        SecondOrderPlan().motion(2.0)
    with pytest.raises(InputError, match="network of particles in space"):
        EGNNPlan().build(Holstein(Lattice("chain", (4,))))
