"""A committee of networks: mean forces, their spread at each site, and what a run keeps of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import random_positions
from networks import register_networks, saved_linear

from forcefields.networks.committee import Committee
from forcefields.networks.forcefield import NetworkForceField
from latticemd import Holstein, Lattice, State, System
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.models.ssh import SSH
from latticemd.output.trajectory import read_trajectory
from latticemd.plugins import load_plugin
from latticemd.runner import run

INPUT = """\
lattice:    {type: square, shape: [6, 4]}
model:      {name: holstein, coupling: 1.5}
forcefield: {name: committee, models: [one.safetensors, two.safetensors, three.safetensors]}
initial:    {kind: normal, width: 1.0, seed: 3}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 6, temperature: 0.1, friction: 0.2, seed: 7}
output:     {directory: out, every: 2, fields: [displacement, force, uncertainty], figures: false}
observables: [{name: forcefield}]
"""

SPRINGS = (0.5, 0.8, 0.2)  # of three networks with forces -b x


@pytest.fixture
def files(tmp_path, monkeypatch, small):
    register_networks()
    monkeypatch.chdir(tmp_path)
    names = ("one.safetensors", "two.safetensors", "three.safetensors")
    for name, b in zip(names, SPRINGS, strict=True):
        saved_linear(tmp_path / name, small, a=0.0, b=b)
    (tmp_path / "input.yaml").write_text(INPUT)
    return names


def electrons(forcefield, model, x):
    system = System(model, forcefield, len(x))
    system.update_forces(State.at_rest(x), 0)
    return system.electrons


def test_forces_and_densities_are_means_and_the_spread_is_that_of_the_springs(files, small):
    x = random_positions(small, seed=1, replicas=3)
    found = electrons(Committee(files), small, x)
    np.testing.assert_allclose(found.force, -np.mean(SPRINGS) * x, atol=1e-15)
    members = [electrons(NetworkForceField(name), small, x) for name in files]
    for name in ("force", "density", "mu"):
        np.testing.assert_allclose(
            getattr(found, name), np.mean([getattr(m, name) for m in members], axis=0), atol=1e-14
        )
    spread = np.std(SPRINGS, ddof=1) * np.abs(x[..., 0])
    np.testing.assert_allclose(found.uncertainty, spread, rtol=1e-13)
    np.testing.assert_allclose(found.details["uncertainty"][0], np.sqrt(np.mean(spread**2, axis=1)), rtol=1e-13)
    np.testing.assert_allclose(found.details["largest_uncertainty"][0], spread.max(axis=1), rtol=1e-13)
    assert np.isnan(found.energy).all()


def test_equal_members_have_their_own_force_and_no_spread(files, small):
    for name in files:
        saved_linear(files[0], small, a=0.3, b=0.7, c=0.1)
        saved_linear(name, small, a=0.3, b=0.7, c=0.1)
    x = random_positions(small, seed=2)
    found = electrons(Committee(files), small, x)
    assert found.force.tobytes() == electrons(NetworkForceField(files[0]), small, x).force.tobytes()
    assert not found.uncertainty.any()


def test_the_spread_is_turned_with_the_lattice_by_networks_that_keep_its_symmetries(files):
    model = Holstein(Lattice("square", (4, 4)))
    for name, b in zip(files, SPRINGS, strict=True):
        saved_linear(name, model, a=2.0 * b**2, b=b)
    x = random_positions(model, seed=4)
    committee = Committee(files)
    spread = electrons(committee, model, x).uncertainty
    assert spread.std() > 0.1
    for symmetry in model.symmetries(translations=False):
        turned = np.empty_like(x)
        turned[:, symmetry.permutation] = x
        again = electrons(committee, model, turned).uncertainty
        np.testing.assert_allclose(again[:, symmetry.permutation], spread, atol=1e-13)


def test_networks_of_vectors_spread_by_the_length_of_the_difference(files):
    model = SSH(Lattice("square", (4, 4)))
    for name, b in zip(files[:2], (0.5, 0.7), strict=True):
        saved_linear(name, model, a=0.0, b=b)
    x = random_positions(model, seed=5)
    found = electrons(Committee(files[:2]), model, x)
    np.testing.assert_allclose(found.uncertainty, 0.2 / np.sqrt(2.0) * np.linalg.norm(x, axis=2), rtol=1e-13)
    assert np.isnan(found.density).all()


def test_a_committee_takes_replicas_as_if_each_were_alone(files, small):
    x = random_positions(small, seed=6, replicas=3)
    together = electrons(Committee(files), small, x)
    for r in range(3):
        alone = electrons(Committee(files), small, x[r : r + 1])
        assert alone.uncertainty.tobytes() == together.uncertainty[r : r + 1].tobytes()
        assert alone.force.tobytes() == together.force[r : r + 1].tobytes()


def test_committees_that_make_no_sense_are_refused_in_one_sentence(files, small):
    with pytest.raises(InputError, match=r"two networks at least, got 1"):
        System(small, Committee(files[:1]))
    with pytest.raises(InputError, match=r"one.safetensors is listed twice"):
        System(small, Committee((files[0], files[0])))
    saved_linear(files[1], SSH(Lattice("square", (6, 4))), a=0.0, b=1.0)
    with pytest.raises(InputError, match=r"two.safetensors: is for the model ssh, not for Holstein"):
        System(small, Committee(files))


def test_conservative_networks_and_others_do_not_sit_together(files, small):
    committee = Committee(files)
    committee.members[1]._bound().module.conservative = True
    with pytest.raises(InputError, match=r"two.safetensors is conservative and one.safetensors is not"):
        System(small, committee)


def test_a_run_writes_the_spread_of_every_site(files, small):
    run(load_input("input.yaml"))
    with read_trajectory("out/trajectory.h5") as trajectory:
        x = trajectory.value("particles/lattice/displacement")[()]
        spread = trajectory.value("particles/lattice/uncertainty")[()]
        rms = trajectory.value("observables/forcefield/uncertainty")[()]
    assert spread.shape == (4, 24)
    np.testing.assert_allclose(spread, np.std(SPRINGS, ddof=1) * np.abs(x[..., 0]), rtol=1e-12)
    np.testing.assert_allclose(rms[:, 0], np.sqrt(np.mean(spread**2, axis=1)), rtol=1e-12)


def test_exact_forces_have_no_spread_to_write(files):
    with pytest.raises(InputError, match=r"output.fields: force field ed does not tell how uncertain its forces are"):
        run(load_input("input.yaml", ["forcefield={name: ed}", "observables=[{name: energy}]"]))


def test_single_precision_is_passed_on_to_the_members(files, small):
    x = random_positions(small, seed=7)
    double, single = (electrons(Committee(files, precision), small, x).force for precision in ("float64", "float32"))
    error = np.abs(single - double).max()
    assert 0.0 < error < 1e-6


def test_the_input_takes_a_list_of_files(files):
    block = load_input("input.yaml").forcefield
    made = load_plugin("forcefield", "committee")(**block.parameters)
    assert made.models == files
    assert dataclasses.replace(made, models=files[:2]).members[0].model == files[0]
    assert torch.get_default_dtype() == torch.float32
