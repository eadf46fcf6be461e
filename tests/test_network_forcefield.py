"""Trained networks as force fields: tiles, symmetries in both precisions, refusals, and the networks that come with latticemd."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from ranks import on_ranks

from forcefields.networks import forcefield as running
from forcefields.networks.enn import EquivariantNetwork
from forcefields.networks.forcefield import SHIPPED, CavityGNN, Enn
from latticemd import Holstein, Lattice, Simulation, State, System, load_simulation
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.forcefield import Electrons
from latticemd.integrators import load_integrator
from latticemd.learning.modelfile import Card, read_card, save_network, symmetry_of
from latticemd.learning.records import model_of, record_of
from latticemd.parallel.choosing import rim_of
from latticemd.parallel.partition import Partition
from latticemd.parallel.share import Share
from latticemd.plugins import load_plugin
from latticemd.verify import verify

MODEL = Holstein(Lattice("square", (12, 12)), coupling=1.5)
SHIPPED_FILES = sorted(SHIPPED.glob("*.safetensors"))


def saved(path, plan, model=MODEL, name="enn"):
    """A file with a network that has seen no data but their scales."""
    torch.manual_seed(3)
    module = plan.build(model)
    x = torch.randn(4, model.lattice.sites, model.components)
    module.initialise(x, torch.randn_like(x))
    parameters = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    card = Card(
        network={"name": name, "parameters": parameters},
        model=record_of(name_of(model), model),
        components=model.components,
        dtype="float32",
        parameters=sum(p.numel() for p in module.parameters()),
        symmetry=symmetry_of(model),
        ranges={"x": {"min": -3.0, "max": 3.0, "rms": [0.5, 2.0]}, "temperature": [0.1, 0.1], "model": {}},
        data={},
        errors={},
        training={},
    )
    save_network(path, card, module.state_dict())
    return str(path)


def name_of(model):
    return {"Holstein": "holstein", "JahnTeller": "jahn_teller"}[type(model).__name__]


def forces(forcefield, model, x):
    out = Electrons.empty(len(x), model)
    forcefield.prepare(model, len(x))
    forcefield.evaluate(model, x, 0, out)
    return out


def positions(model, replicas=1, seed=0):
    return np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, model.components))


@pytest.mark.parametrize("settings", [
    {}, {"base": "cavity"}, {"base": "window", "base_width": 5}, {"conservative": True},
    {"conservative": True, "base": "atomic"},
], ids=["direct", "on cavity", "on window", "conservative", "conservative, on atoms"])  # fmt: skip
def test_tiles_give_what_the_whole_lattice_gives(tmp_path, monkeypatch, settings):
    file = saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, scalars=2, blocks=1, **settings))
    model = Holstein(Lattice("square", (26, 40)), coupling=1.5)
    x = positions(model)
    whole = forces(Enn(model=file), model, x)
    monkeypatch.setattr(running, "_WHOLE", 100)
    monkeypatch.setattr(running, "_TILE", {2: 9})
    tiled = forces(Enn(model=file), model, x)
    assert np.abs(whole.force).max() > 0.1
    np.testing.assert_allclose(tiled.force, whole.force, atol=3e-6 * np.abs(whole.force).max())
    np.testing.assert_allclose(tiled.energy, whole.energy, rtol=1e-5)  # NaN where it is unknown


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-6), ("float64", 1e-12)])
def test_a_running_network_keeps_every_symmetry_in_both_precisions(tmp_path, precision, bound):
    file = saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, scalars=2, blocks=2))
    forcefield, x = Enn(model=file, precision=precision), positions(MODEL)
    force = forces(forcefield, MODEL, x).force
    for operation in MODEL.symmetries():
        turned = np.empty_like(x)
        turned[:, operation.permutation] = x
        found = forces(forcefield, MODEL, turned).force[:, operation.permutation]
        assert np.sqrt(np.mean((found - force) ** 2) / np.mean(force**2)) <= bound
    np.testing.assert_array_equal(forces(forcefield, MODEL, -x).force, -force)  # particle-hole, to the last bit


def test_verify_judges_symmetries_by_the_precision_of_the_network(tmp_path):
    file = saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, scalars=2, blocks=1))
    settings = ["lattice.shape=[12, 12]", f"forcefield={{name: enn, model: {file}}}"]
    outcomes = {check.name: check for check in verify(load_input("inputs/holstein_quench.yaml", settings))}
    for name in ("lattice symmetries", "internal symmetries", "same call, same bytes"):
        assert outcomes[name].verdict == "pass", outcomes[name]


def test_replicas_alone_and_together_have_equal_forces(tmp_path):
    forcefield = Enn(model=saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, blocks=1)))
    x = positions(MODEL, 3)
    together = forces(forcefield, MODEL, x).force
    np.testing.assert_array_equal(together[1:2], forces(forcefield, MODEL, x[1:2]).force)


def test_the_density_is_the_one_that_makes_the_force(tmp_path):
    out = forces(Enn(model=saved(tmp_path / "n.safetensors", EquivariantNetwork())), MODEL, positions(MODEL))
    np.testing.assert_allclose(MODEL.coupling * (out.density - 0.5), out.force[..., 0], atol=1e-12)
    assert np.isnan(out.energy).all()


def test_a_conservative_network_has_the_energy_whose_gradient_is_its_force(tmp_path):
    plan = EquivariantNetwork(regular=1, blocks=1, base="atomic", conservative=True)
    forcefield = Enn(model=saved(tmp_path / "n.safetensors", plan), precision="float64")
    assert forcefield.capabilities(MODEL, 1).conservative
    x, h = positions(MODEL), 1e-4
    force = forces(forcefield, MODEL, x).force
    for site in (0, 17, 101):
        ahead, behind = x.copy(), x.copy()
        ahead[0, site], behind[0, site] = ahead[0, site] + h, behind[0, site] - h
        slope = (forces(forcefield, MODEL, ahead).energy - forces(forcefield, MODEL, behind).energy) / (2 * h)
        assert -slope[0] == pytest.approx(force[0, site, 0], abs=1e-6)


@pytest.mark.parametrize("most", [2**14, 100], ids=["whole blocks", "tiles"])
def test_a_conservative_network_moves_blocks_as_it_moves_the_whole(tmp_path, monkeypatch, most):
    monkeypatch.setattr(running, "_WHOLE", most)
    monkeypatch.setattr(running, "_TILE", {2: 9})
    plan = EquivariantNetwork(scalars=2, directed=1, blocks=1, base="atomic", conservative=True)
    file = saved(tmp_path / "n.safetensors", plan)
    model = Holstein(Lattice("square", (26, 23)), coupling=1.5)
    x, steps = positions(model), 10
    rim = rim_of(model, Enn(model=file))
    assert rim == 2 * (rim // 2) >= 4  # twice the radius within which a free energy sees

    def moved(comm, grid):
        share = Share(Partition(model.lattice, grid=grid, halo=rim), comm)
        system = System(model, Enn(model=file, precision="float64"), share=share)
        simulation = Simulation(system, load_integrator("verlet")(dt=0.05), State.at_rest(share.taken(x)))
        first = simulation.frame()
        force, energies = share.gathered(first.force.copy()), [first.conserved_energy.copy()]
        simulation.run(steps)
        last = simulation.frame()
        energies.append(last.conserved_energy)
        return force, share.gathered(last.positions), np.array(energies)

    ((force, end, energies),) = on_ranks(1, lambda comm: moved(comm, (1, 1)))
    assert np.abs(end - x).max() > 0.05
    assert abs(energies[1] - energies[0]) < 1e-3 * np.ptp(x) ** 2 * model.lattice.sites
    for grid in ((2, 1), (2, 2)):
        ranks = on_ranks(grid[0] * grid[1], lambda comm, grid=grid: moved(comm, grid))
        np.testing.assert_allclose(ranks[0][0], force, rtol=0.0, atol=1e-13 * np.abs(force).max())
        np.testing.assert_allclose(ranks[0][1], end, rtol=0.0, atol=1e-12)
        for _, _, found in ranks:
            np.testing.assert_allclose(found, energies, rtol=1e-13)


def test_a_network_runs_without_its_training_data_and_warns_outside_what_it_has_seen(tmp_path, caplog):
    file = saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, blocks=1))
    with caplog.at_level(logging.WARNING, logger="latticemd.run"):
        simulation = load_simulation(
            "inputs/holstein_quench.yaml",
            "lattice.shape=[12, 12]",
            f"forcefield={{name: enn, model: {file}}}",
            "initial.width=9.0",
        )
        simulation.run(steps=2)
    assert np.isfinite(simulation.state.x).all()
    assert "the network has seen -3 to 3" in caplog.text


def test_networks_are_for_their_kind_of_model_lattice_and_plan(tmp_path):
    file = saved(tmp_path / "n.safetensors", EquivariantNetwork(regular=1, blocks=1))
    with pytest.raises(InputError, match=r"holds a network enn; use forcefield: \{name: enn"):
        CavityGNN(model=file).prepare(MODEL, 1)
    with pytest.raises(InputError, match="is for the lattice square"):
        Enn(model=file).prepare(Holstein(Lattice("triangular", (6, 6))), 1)
    with pytest.raises(InputError, match="no such file"):
        Enn(model="nowhere").prepare(MODEL, 1)
    with pytest.raises(
        InputError, match="base of this network does not serve the lattice: forcefield window with width 13"
    ):
        Enn(model="holstein_demo").prepare(Holstein(Lattice("square", (12, 12))), 1)


@pytest.mark.parametrize("file", SHIPPED_FILES, ids=lambda file: file.stem)
def test_networks_that_come_with_latticemd_err_as_their_cards_say(file):
    card = read_card(file)
    assert file.stat().st_size < 2e6
    trained = model_of(card.model)
    # Mean field takes long on more sites; bases may need them.
    side = 12 if trained.interacting else 16
    model = dataclasses.replace(trained, lattice=trained.lattice.resized((side, side)))
    low, high = card.ranges["x"]["rms"]
    x = positions(model, seed=5) * (0.5 * (low + high))
    exact = ("mean_field", {"start": "seed", "residual": 1e-4}) if model.interacting else ("poles", {})
    reference = forces(load_plugin("forcefield", exact[0])(**exact[1]), model, x).force
    found = forces(load_plugin("forcefield", card.network["name"])(model=file.stem), model, x).force
    relative = np.sqrt(np.mean((found - reference) ** 2) / np.mean(reference**2))
    # Uncorrelated states are the hardest that were trained on; the card quotes the mean over all stages of a quench.
    assert relative < 5 * card.errors["seeds"]["relative"]
