"""Forces that networks of points have learned: by the usual commands, in the engine and on the atoms of ASE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import simulation

pytest.importorskip("ase")

import ase.calculators.calculator as ase_calculators
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.optimize import BFGS

from forcefields.pairs import LennardJones
from forcefields.points.forcefield import PointNetwork
from forcefields.points.plans import PLANS
from latticemd import Holstein, Lattice, State, System
from latticemd.ase import PointCalculator
from latticemd.config import load_input, load_training
from latticemd.errors import InputError
from latticemd.lattice import Points
from latticemd.learning.checkpoint import read_training
from latticemd.learning.labelling import label, plan_labels
from latticemd.learning.modelfile import Card, save_network
from latticemd.learning.networks import build_network
from latticemd.learning.records import record_of
from latticemd.learning.report import evaluate
from latticemd.learning.runner import train
from latticemd.measurements.forces import gradient_error
from latticemd.models.particles import Particles
from latticemd.verify import verify

FRAMED = ("sets", "frames", "frame_graph")
NAMES = ("egnn", "graph", "pair_energy", *FRAMED)
SMALL = {"hidden": 16, "depth": 2}


def saved(path, name, precision="float64", particles=5, **parameters):
    """A network with its first weights as `latticemd train` would write it."""
    model = Particles(Points([particles]))
    module = build_network(name, parameters, model).to(getattr(torch, precision))
    module.scale.fill_(20.0)
    ranges = {"x": {"min": -3.0, "max": 3.0, "rms": [0.5, 2.0]}, "temperature": None, "model": {}}
    network = {"name": name, "parameters": parameters}
    card = Card(network, record_of("particles", model), 3, precision, 0, {}, ranges, {}, {}, {})
    save_network(path, card, module.state_dict())
    return path


def cluster(n=6, seed=0):
    rng = np.random.default_rng(seed)
    atoms = Atoms(["Na", "Cl"] * (n // 2), positions=1.5 * rng.normal(size=(n, 3)))
    atoms.set_initial_charges([1.0, -1.0] * (n // 2))
    return atoms


@pytest.mark.parametrize("name", NAMES)
def test_force_fields_and_calculators_give_the_answer_of_the_module(tmp_path, name):
    path = saved(tmp_path / "model.safetensors", name)
    model = Particles(Points([6]), charges="alternating")
    atoms = cluster()
    system, state = System(model, PointNetwork(str(path))), State.at_rest(atoms.positions[None])
    system.update_forces(state, 0)
    atoms.calc = PointCalculator(path)
    np.testing.assert_allclose(atoms.get_forces(), state.f[0], rtol=0, atol=1e-11)
    assert np.abs(state.f).max() > 1e-3
    assert system.capabilities.energy is (name == "pair_energy")
    if name == "pair_energy":
        assert atoms.get_potential_energy() == pytest.approx(float(system.electrons.energy[0]), abs=1e-11)
    else:
        assert np.isnan(system.electrons.energy).all()
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_potential_energy()


def test_charges_and_masses_that_are_listed_are_those_of_the_network_too(tmp_path):
    path = saved(tmp_path / "model.safetensors", "egnn", **SMALL)  # of five particles
    x = cluster().positions[None]
    answers = []
    for charges in ("alternating", (1, -1, 1, -1, 1, -1), (1, 1, 1, 1, 1, 1)):
        model = Particles(Points([6]), charges=charges, masses=(1, 2, 3, 4, 5, 6))
        system, state = System(model, PointNetwork(str(path))), State.at_rest(x)
        system.update_forces(state, 0)
        answers.append(state.f)
    assert answers[0].tobytes() == answers[1].tobytes() != answers[2].tobytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "graph"])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("float64", 1e-11)])
def test_turned_atoms_feel_turned_forces(tmp_path, name, precision, limit):
    atoms, turned = cluster(), cluster()
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned.positions = atoms.positions @ matrix.T + 0.7
    for one in (atoms, turned):
        one.calc = PointCalculator(saved(tmp_path / "model.safetensors", name, precision))
    error = np.abs(turned.get_forces() - atoms.get_forces() @ matrix.T).max()
    assert error < limit * np.abs(atoms.get_forces()).max()


@pytest.mark.parametrize("cell", ["none", "large", "small", "slab"])
def test_forces_of_an_energy_are_the_differences_that_ase_takes(tmp_path, cell):
    if cell == "none":
        atoms = cluster()
    else:
        atoms = bulk("NaCl", "rocksalt", a=7.2 if cell == "large" else 4.1, cubic=True)
        atoms.set_initial_charges([1.0 if s == "Na" else -1.0 for s in atoms.get_chemical_symbols()])
        atoms.pbc = [True, True, cell != "slab"]
        atoms.rattle(0.1, seed=0)
    atoms.calc = PointCalculator(saved(tmp_path / "model.safetensors", "pair_energy", cutoff=4.5, **SMALL))
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-4), rtol=0, atol=1e-6)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-11)
    if cell in ("large", "small"):
        numerical = calculate_numerical_stress(atoms, eps=1e-5)
        np.testing.assert_allclose(atoms.get_stress(), numerical, rtol=0, atol=1e-6)
        np.testing.assert_allclose(atoms.get_potential_energies().sum(), atoms.get_potential_energy(), atol=1e-12)


def test_a_cell_and_twice_the_cell_have_the_same_energy_per_atom(tmp_path):
    path = saved(tmp_path / "model.safetensors", "pair_energy", cutoff=4.5, **SMALL)
    one = bulk("Ar", "fcc", a=5.2)
    one.calc = PointCalculator(path, charges={"Ar": 1.0})
    eight = one.repeat(2)
    eight.calc = PointCalculator(path, charges={"Ar": 1.0})
    assert eight.get_potential_energy() == pytest.approx(8 * one.get_potential_energy(), abs=1e-11)


def test_energies_and_forces_are_smooth_where_neighbours_leave(tmp_path):
    atoms = Atoms("Ar2", positions=[[0.0, 0, 0], [3.0, 0, 0]])
    atoms.calc = PointCalculator(
        saved(tmp_path / "model.safetensors", "pair_energy", cutoff=3.0, **SMALL), charges={"Ar": 1.0}
    )
    forces = []
    for r in (3.001, 3.0, 2.999, 2.998):
        atoms.positions[1, 0] = r
        forces.append(abs(atoms.get_forces()[0, 0]))
    assert forces[0] == forces[1] == 0.0
    assert forces[3] / forces[2] == pytest.approx(4.0, rel=0.05)  # the envelope goes to zero as (c - r)^3


LABELS = """
system: particles
lattice: {type: points, shape: [4]}
model: {name: particles, charges: positive}
forcefield: {name: lennard_jones}
initial: {kind: ordered, amplitude: 1.12, width: 0.03, velocity: thermal}
dynamics: {integrator: langevin, dt: 0.01, steps: 200, temperature: 0.05, friction: 1}
label: {every: 10, vary: {seed: [0, 1, 2]}, output: data.h5}
"""

TRAINING = """
data: {train: data.h5, validation: {fraction: 0.34}}
network: {name: NAME, hidden: 24, depth: 2}
epochs: 40
batch: 8
ema: 0.9
optimiser: {learning_rate: 0.005}
output: {directory: model, figures: false}
"""


@pytest.mark.parametrize("name", ["egnn", "pair_energy"])
def test_the_usual_commands_train_and_run_networks_of_points(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(LABELS)
    (tmp_path / "train.yaml").write_text(TRAINING.replace("NAME", name))
    label(plan_labels(tmp_path / "run.yaml", []))
    summary = train(load_training(tmp_path / "train.yaml"))
    assert summary["errors"]["train"]["relative"] < 0.7
    report = evaluate(tmp_path / "model" / "model.safetensors", [tmp_path / "data.h5"], [])
    assert report is not None
    chosen = "forcefield={name: point_network, model: model/model.safetensors, precision: float64}"
    checks = {check.name: check for check in verify(load_input(tmp_path / "run.yaml", [chosen]))}
    gradient = "pass" if name == "pair_energy" else "skip"
    assert checks["force = -d(free energy)/dx"].verdict == gradient
    assert not [check for check in checks.values() if check.verdict == "fail"]


@pytest.mark.parametrize("name", ["pair_energy", *(name for name in PLANS if name not in ("straight", "second_order"))])
def test_a_training_of_every_network_resumes_to_the_same_bytes(tmp_path, monkeypatch, name):
    if name == "tensor_products":
        pytest.importorskip("e3nn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(LABELS)
    label(plan_labels(tmp_path / "run.yaml", ["dynamics.steps=40"]))
    drawn = ", drawn: 2" if name in FRAMED else ""  # from torch's generator, which resumes as well
    (tmp_path / "train.yaml").write_text(
        f"data: {{train: data.h5, validation: {{fraction: 0.34}}}}\nnetwork: {{name: {name}{drawn}}}\nbatch: 4\n"
        "optimiser: {schedule: constant}\nvalidate_every: 2\noutput: {directory: out, figures: false}\n"
    )
    train(load_training(tmp_path / "train.yaml", ["steps=4"]))
    for steps in (2, 4):
        train(load_training(tmp_path / "train.yaml", [f"steps={steps}", "output.directory=again"]), resume=steps == 4)
    whole, parts = (read_training(tmp_path / folder / "checkpoint.safetensors")[0] for folder in ("out", "again"))
    assert not [key for key in whole if not torch.equal(whole[key], parts[key])]


def test_a_conservative_network_keeps_its_energy_and_minimisers_descend(tmp_path):
    path = saved(tmp_path / "model.safetensors", "pair_energy", **SMALL)
    model, forcefield = Particles(Points([6]), charges="alternating"), PointNetwork(str(path))
    run = simulation(model, "verlet", cluster().positions[None], dt=0.02, forcefield=forcefield)
    start = run.frame().conserved_energy[0]
    run.run(100)
    assert np.abs(run.state.p).max() > 1e-2
    assert run.frame().conserved_energy[0] == pytest.approx(start, abs=1e-5)

    def forces(x):
        state = State.at_rest(x)
        run.system.update_forces(state, 0)
        run.system.update_potential(state, 0)
        return state.f, state.potential

    x = cluster(seed=2).positions[None]
    assert gradient_error(forces, x, np.random.default_rng(0).normal(size=x.shape)) < 1e-8
    atoms = cluster()
    atoms.calc = PointCalculator(path)
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=30)
    assert atoms.get_potential_energy() < before - 1e-4


def test_ase_knows_the_calculator_by_its_name():
    assert ase_calculators.get_calculator_class("latticemd_points") is PointCalculator
    plugins = pytest.importorskip("ase._4.plugins.plugin")
    from latticemd.ase.plugins import __ase_plugins__

    assert {plugin.name for plugin in __ase_plugins__ if isinstance(plugin, plugins.CalculatorPlugin)} == {
        "latticemd",
        "latticemd_points",
    }


def test_what_does_not_fit_is_refused_with_a_sentence(tmp_path):
    egnn = saved(tmp_path / "egnn.safetensors", "egnn", **SMALL)
    atoms = cluster()
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    atoms.calc = PointCalculator(egnn)
    with pytest.raises(InputError, match="egnn sees all points at once and knows no periodic cell"):
        atoms.get_forces()
    atoms.pbc = False
    atoms.calc = PointCalculator(egnn, charges={"Na": 1.0})
    with pytest.raises(InputError, match="charges has none for Cl; it has Na"):
        atoms.get_forces()
    with pytest.raises(InputError, match="LatticeCalculator"):
        PointCalculator(_of_a_lattice(tmp_path))
    with pytest.raises(InputError, match="a network cnn of lattices"):
        System(Particles(Points([3])), PointNetwork(str(_of_a_lattice(tmp_path))))
    with pytest.raises(InputError, match="is the force between particles"):
        System(Holstein(Lattice("chain", (4,))), PointNetwork(str(egnn)))
    with pytest.raises(InputError, match="no such file"):
        System(Particles(Points([3])), PointNetwork("nothing.safetensors"))
    assert LennardJones().capabilities(Particles(Points([2])), 1).conservative


def _of_a_lattice(folder):
    model = Holstein(Lattice("square", (6, 6)))
    parameters = {"channels": 4}
    module = build_network("cnn", parameters, model)
    card = Card(
        {"name": "cnn", "parameters": parameters}, record_of("holstein", model), 1, "float64", 0, {}, {}, {}, {}, {}
    )
    save_network(folder / "cnn.safetensors", card, module.state_dict())
    return folder / "cnn.safetensors"
