"""`latticemd evaluate`: errors and where they are, the whole group, being a gradient, and the other ways to the force."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from conftest import random_positions
from networks import register_networks
from test_training import springs

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, State, System
from latticemd.errors import InputError
from latticemd.learning.competition import compete
from latticemd.learning.dataset import LabelledTrajectory, write_dataset
from latticemd.learning.evaluation import Evaluator, same_side
from latticemd.learning.invariants import _order, antisymmetric_share, invariants_of
from latticemd.learning.modelfile import Card, save_network, symmetry_of
from latticemd.learning.networks import build_network
from latticemd.learning.records import record_of
from latticemd.learning.report import evaluate
from latticemd.measurements.forces import symmetry_generators

RANGES = {
    "x": {"min": -9.0, "max": 9.0, "rms": [0.0, 9.0]},
    "temperature": [0.1, 0.1],
    "model": {"coupling": [1.5, 1.5]},
}


@pytest.fixture
def network(tmp_path):
    """Writes a linear network with these coefficients and returns its path."""
    register_networks()
    model = Holstein(Lattice("square", (6, 4)))

    def write(**parameters):
        module = build_network("linear", parameters, model)
        card = Card(
            network={"name": "linear", "parameters": parameters},
            model=record_of("holstein", model),
            components=1,
            dtype="float32",
            parameters=3,
            symmetry=symmetry_of(model),
            ranges=RANGES,
            data={},
            errors={},
            training={},
        )
        save_network(tmp_path / "linear.safetensors", card, module.state_dict())
        return tmp_path / "linear.safetensors"

    return write


def spoilt(trajectory, state, site, by):
    force = trajectory.force.copy()
    force[state, site] += by
    return dataclasses.replace(trajectory, force=force)


def test_a_perfect_network_has_the_errors_of_its_precision(network, tmp_path):
    write_dataset(tmp_path / "springs.h5", [springs(1), springs(2, shape=(8, 8))], {})
    report = evaluate(network(), [tmp_path / "springs.h5"], output=tmp_path / "out")
    assert report.sets[0].relative < 1e-6
    assert report.sets[0].states == 10
    assert report.sets[0].sites == 5 * (24 + 64)
    kept = report.invariants
    assert kept.operations == 24 * 4 * 2  # translations, a rectangle's point group, particle-hole symmetry
    assert kept.symmetry["float32"] < 1e-6
    assert kept.symmetry["float64"] < 1e-14
    assert kept.antisymmetric < 1e-14
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["sets"][0]["name"] == "springs"
    assert (tmp_path / "out" / "evaluation.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "model",
    [
        Holstein(Lattice("square", (6, 4))),
        Holstein(Lattice("square", (4, 4)), disorder=1.0),
        Holstein(Lattice("square", (4, 4), boundary=("periodic", "open"))),
        Holstein(Lattice("honeycomb", (3, 3))),
    ],
)
def test_generators_stand_for_the_whole_group(model):
    assert _order(model, len(symmetry_generators(model))) == sum(1 for _ in model.symmetries())


def test_a_broken_symmetry_is_found_with_its_operation(network, tmp_path):
    trajectory = springs(1)
    kept = invariants_of(Evaluator(network(c=0.1)), trajectory.model, trajectory.x[:1])
    # A reflection of the last direction turns c into -c.
    x, force = trajectory.x[0].reshape(6, 4), trajectory.force[0]
    skew = 0.1 * (np.roll(x, -1, 1) - np.roll(x, 1, 1))
    expected = 2 * np.abs(skew).max() / np.abs(force.reshape(6, 4) + skew).max()
    assert kept.symmetry["float64"] == pytest.approx(expected, rel=1e-6)
    assert kept.symmetry["float32"] == pytest.approx(expected, rel=1e-4)
    assert kept.culprit != "none"


@pytest.mark.parametrize("c", [0.0, 0.1, 2.0])
def test_the_antisymmetric_share_is_that_of_the_matrix(c):
    register_networks()
    model = Holstein(Lattice("square", (20, 20)))
    module = build_network("linear", {"c": c}, model).double()
    share = antisymmetric_share(module, random_positions(model), probes=40)
    # Per row: four neighbours of weight 1, one diagonal of 0.5, and two entries +-c that are all there is of J - J^T.
    assert share == pytest.approx(np.sqrt(2 * c**2 / (4 + 0.25 + 2 * c**2)), rel=0.05, abs=1e-14)


def test_a_part_without_gradient_counts_all_the_same():
    register_networks()
    model = Holstein(Lattice("square", (20, 20)))

    class Known(torch.nn.Module):
        """As a force that comes from a force field: torch cannot see into it."""

        def __init__(self, learned):
            super().__init__()
            self.known = build_network("linear", {"c": 1.0}, model)
            self.learned = learned

        def forward(self, x):
            with torch.no_grad():
                known = self.known(x)
            return known + self.learned(x)

    springs = build_network("linear", {"a": -1.0, "b": -0.5 + 3.0}, model)  # leaves a spring of 3, and c
    share = antisymmetric_share(Known(springs), random_positions(model), probes=40)
    assert share == pytest.approx(np.sqrt(2 / (9 + 2)), rel=0.1)
    assert antisymmetric_share(Known(torch.nn.Identity()), random_positions(model), probes=40) == pytest.approx(
        np.sqrt(2 / (4 + 0.25 + 2)), rel=0.1
    )


def test_a_gradient_taken_by_autograd_is_one():
    class Conservative(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(24, 24, dtype=torch.float64))

        def forward(self, x):
            with torch.enable_grad():
                x = x if x.requires_grad else x.detach().requires_grad_(True)
                energy = torch.tanh(torch.einsum("ij,bjd->bid", self.weight, x)).sum()
                return -torch.autograd.grad(energy, x, create_graph=True)[0]

    torch.manual_seed(1)
    x = random_positions(Holstein(Lattice("square", (6, 4))))
    assert antisymmetric_share(Conservative(), x) < 1e-14


def test_the_worst_site_is_named_with_what_is_around(network, tmp_path):
    trajectory = spoilt(springs(1), 3, 7, 0.25)
    write_dataset(tmp_path / "springs.h5", [springs(2), trajectory], {})
    evaluator = Evaluator(network())
    errors = evaluator.errors("springs", evaluator.samples(tmp_path / "springs.h5"))
    worst = errors.worst[0]
    assert (worst.step, worst.site, worst.trajectory) == (3, 7, f"{tmp_path / 'springs.h5'}:00001")
    assert worst.error == pytest.approx(0.25, rel=1e-5)
    assert worst.exact[0] - worst.predicted[0] == pytest.approx(0.25, rel=1e-5)
    x = trajectory.x[3].reshape(6, 4)  # site 7 is (1, 3)
    assert sorted(v for (v,) in worst.neighbours) == sorted([x[0, 3], x[2, 3], x[1, 2], x[1, 0]])
    assert errors.rmse == pytest.approx(0.25 / np.sqrt(10 * 24), rel=1e-5)
    assert errors.largest == pytest.approx(0.25, rel=1e-5)
    stages = {part.title: part for part in errors.parts["step"]}
    assert stages["3"].rmse == pytest.approx(0.25 / np.sqrt(2 * 24), rel=1e-5)
    assert all(part.rmse < 1e-6 for title, part in stages.items() if title != "3")


def test_parts_add_up_to_the_whole(network, tmp_path):
    rough = [dataclasses.replace(t, attributes={**t.attributes, "temperature": 0.1 * n})
             for n, t in enumerate([springs(1, frames=3), springs(2, frames=12, shape=(8, 8))])]  # fmt: skip
    write_dataset(tmp_path / "springs.h5", rough, {})
    evaluator = Evaluator(network(a=0.9, b=0.3))
    errors = evaluator.errors("springs", evaluator.samples(tmp_path / "springs.h5"))
    assert set(errors.parts) == {"temperature", "step", "same-side neighbours", "|x|"}
    for name, parts in errors.parts.items():
        by_state = name in ("temperature", "step")
        assert sum(part.count for part in parts) == (errors.states if by_state else errors.sites)
        total = sum(part.count * part.rmse**2 for part in parts) / sum(part.count for part in parts)
        sites = np.concatenate([((s.predicted - s.trajectory.force) ** 2).ravel()
                                for s in evaluator.samples(tmp_path / "springs.h5")])  # fmt: skip
        assert total == pytest.approx(errors.mse if by_state else sites.mean(), rel=1e-9)
    assert [part.title for part in errors.parts["step"]] == [
        "0 to 1",
        "2 to 3",
        "4 to 5",
        "6 to 7",
        "8",
        "9",
        "10",
        "11",
    ]
    sizes = [part.count for part in errors.parts["|x|"]]
    assert max(sizes) - min(sizes) <= 2


def test_neighbours_on_the_same_side_are_none_in_a_domain_and_all_without_order():
    model = Holstein(Lattice("square", (6, 6)))
    assert same_side(model, model.ordered(1.0)[None]).max() == 0
    assert same_side(model, np.ones((1, 36, 1))).min() == 4
    wall = model.ordered(1.0).reshape(6, 6).copy()
    wall[3:] *= -1.0
    count = same_side(model, wall.reshape(1, 36, 1)).reshape(6, 6)
    assert count.sum(axis=1).tolist() == [6, 0, 6, 6, 0, 6]
    chain = Holstein(Lattice("chain", (5,), boundary="open"))
    assert same_side(chain, np.ones((1, 5, 1))).tolist() == [[1, 2, 2, 2, 1]]


def test_other_ways_to_the_force_are_judged_on_the_same_states(network, tmp_path):
    model = Holstein(Lattice("square", (6, 4)))
    x = random_positions(model, replicas=3)
    system, state = System(model, ExactDiagonalisation(), 3), State.at_rest(x)
    system.update_forces(state, 0)
    exact = system.electrons
    trajectory = LabelledTrajectory(
        x, exact.force, exact.energy, exact.density, np.arange(3), record_of("holstein", model)
    )
    own, ed, *cavities = compete(Evaluator(network()), [trajectory], ["ed", "cavity"])
    assert own.name == "linear"
    assert own.relative > 0.5
    assert ed.rmse < 1e-12
    assert ed.sites_per_second > 0
    assert [c.settings["radius"] for c in cavities] == [1, 2, 3, 4]
    assert 1e-4 < cavities[0].relative < 1.0
    assert "needs at least" in cavities[-1].note
    assert np.isnan(cavities[-1].sites_per_second)


def test_a_network_warns_and_refuses_by_its_card(network, tmp_path):
    write_dataset(tmp_path / "springs.h5", [springs(1, coupling=3.5)], {})
    report = evaluate(network(), [tmp_path / "springs.h5"])
    assert report.sets[0].warnings == ["coupling is 3.5, and the network was trained between 1.5 and 1.5"]
    model = Holstein(Lattice("triangular", (4, 4)))
    x = random_positions(model)
    elsewhere = LabelledTrajectory(x, x, np.zeros(1), np.zeros((1, 16)), np.arange(1), record_of("holstein", model))
    write_dataset(tmp_path / "triangular.h5", [elsewhere], {})
    with pytest.raises(InputError, match="is for the lattice square"):
        evaluate(network(), [tmp_path / "triangular.h5"])
    with pytest.raises(InputError, match="did you mean 'poles'"):
        evaluate(network(), [tmp_path / "springs.h5"], against=["pole"])
    with pytest.raises(InputError, match="given twice"):
        evaluate(network(), [tmp_path / "springs.h5"] * 2)


def test_the_command_prints_tables_and_json(network, tmp_path, monkeypatch, capsys):
    from latticemd.cli import app

    write_dataset(tmp_path / "springs.h5", [springs(1)], {})
    path = network()
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["latticemd", "evaluate", str(path), str(tmp_path / "springs.h5"), *more])
        with pytest.raises(SystemExit):
            app()
        printed = capsys.readouterr().out
        if more:
            assert json.loads(printed)["invariants"]["operations"] == 192
        else:
            assert "antisymmetric share of the Jacobian" in printed
            assert "same-side neighbours" in printed
