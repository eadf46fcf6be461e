"""`latticemd train --active`: what is picked and labelled, the same bytes after an interruption, and what it is worth."""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from networks import register_networks

from latticemd.config import load_training
from latticemd.errors import InputError, OutputError, StoppedEarly
from latticemd.learning import active
from latticemd.learning.active import learn_actively
from latticemd.learning.dataset import read_dataset
from latticemd.learning.labelling import label, plan_labels
from latticemd.learning.modelfile import read_card
from latticemd.learning.picking import at_random, most_uncertain
from latticemd.output.states import StoredState, read_states

EXPLORE = """\
lattice:    {type: square, shape: [4, 4]}
model:      {name: holstein, coupling: 1.5}
initial:    {kind: normal, width: 1.0}
dynamics:   {integrator: overdamped, dt: 0.1, steps: 6, temperature: 0.1, friction: 0.5}
output:     {every: 1, figures: false}
"""
TRAIN = """\
data: {train: first.h5, validation: validation.h5}
network: {name: small, width: 3}
steps: 4
batch: 4
validate_every: 2
output: {directory: out, figures: false}
active: {run: explore.yaml, members: 2, rounds: 2, picks: 3, forcefield: {name: ed}, compare: random}
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    register_networks()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "explore.yaml").write_text(EXPLORE)
    (tmp_path / "train.yaml").write_text(TRAIN)
    for name, seed in (("first", 100), ("validation", 200)):
        label(plan_labels(Path("explore.yaml"), [f"label={{vary: {{seed: [{seed}]}}, at: [0, 3], output: {name}.h5}}"]))
    return tmp_path


def learned(*settings, **options):
    return learn_actively(load_training("train.yaml", settings), **options)


def files(folder):
    """All that a loop leaves, but for what says when, where and how fast."""
    names = ("labels.h5", "errors.json", "model.safetensors")
    return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.name in names}


def stored(spreads):
    return [
        StoredState("particles/lattice", i, 0.1 * i, np.zeros((2, 1)), np.full(2, s)) for i, s in enumerate(spreads)
    ]


def test_the_most_uncertain_states_are_picked_and_random_ones_by_their_seed():
    states = stored([0.1, 0.4, 0.2, 0.4, 0.3])
    assert [state.step for state in most_uncertain(states, 3, seed=1)] == [1, 3, 4]
    assert len(most_uncertain(states, 9, seed=1)) == 5
    drawn = [state.step for state in at_random(states, 3, seed=1)]
    assert drawn == [state.step for state in at_random(states, 3, seed=1)]
    assert len(set(drawn)) == 3
    counts = np.bincount([at_random(states, 1, seed)[0].step for seed in range(500)], minlength=5)
    assert np.abs(counts - 100).max() < 45  # five standard deviations


def test_rounds_label_what_the_committee_is_least_sure_of_and_learn_from_all_of_it(workplace):
    summary = learned()
    out = workplace / "out"
    assert [(row["policy"], row["states"]) for row in summary["rows"]] == [
        ("start", 2),
        ("uncertain", 5),
        ("random", 5),
        ("uncertain", 8),
        ("random", 8),
    ]
    for policy in ("uncertain", "random"):
        for number in (1, 2):
            folder = out / policy / f"round_{number:02d}"
            states, picked = read_states(folder / "run/trajectory.h5"), read_states(folder / "picked.h5")
            assert len(states) == 7
            assert len(picked) == 3
            (labels,) = read_dataset(folder / "labels.h5")
            assert labels.x.tobytes() == np.stack([state.x for state in picked]).tobytes()
            if policy == "uncertain":
                left = [state.rms for state in states if state.step not in labels.step]
                assert min(state.rms for state in picked) >= max(left)
    assert read_card(out / "uncertain/round_02/member_1/model.safetensors").data["train"]["states"] == 8
    rows = (out / "active.csv").read_text().splitlines()
    assert rows[0] == "policy,round,states,set,relative,member,uncertainty"
    assert len(rows) == 6
    assert [Path(file).exists() for file in summary["models"]] == [True, True]
    assert all(
        0.0 < row["relative"] <= row["member"] * (1 + 1e-5) and row["uncertainty"] > 0.0 for row in summary["rows"]
    )


def test_an_interrupted_loop_goes_on_to_the_same_bytes(workplace, monkeypatch):
    whole = learned("output.directory=whole")
    calls, train = [], active.train

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:  # the first member of the first round of random states
            raise StoppedEarly("stopped by SIGTERM at step 0; checkpoint written: continue with --resume")
        return train(*arguments, **options)

    monkeypatch.setattr(active, "train", interrupted)
    with pytest.raises(StoppedEarly):
        learned()
    with pytest.raises(OutputError, match="already holds a training"):
        learned()
    again = learned(resume=True)
    assert again["rows"] == whole["rows"]
    first, second = files(workplace / "whole"), files(workplace / "out")
    assert first.keys() == second.keys()
    for name, file in first.items():
        if name.endswith("labels.h5"):
            pairs = zip(read_dataset(file), read_dataset(second[name]), strict=True)
            assert all(a.digest == b.digest for a, b in pairs)
        elif name.endswith("errors.json"):
            assert json.loads(file.read_text()) == json.loads(second[name].read_text())


def test_more_rounds_go_on_and_another_network_does_not(workplace):
    short = learned("active.rounds=1", "active.compare=null")
    longer = learned("active.compare=null", resume=True)
    assert longer["rows"][:2] == short["rows"]
    assert longer["rows"][2]["states"] == 8
    with pytest.raises(InputError, match=r"network.width is 5, but the active learning in out was begun with 3"):
        learned("network.width=5", resume=True)


def test_what_active_learning_needs_is_said_before_anything_is_trained(workplace):
    with pytest.raises(InputError, match="has no block active"):
        learned("active=null")
    with pytest.raises(InputError, match=r"data.validation: expected files for active learning"):
        learned("data.validation={fraction: 0.5}")
    with pytest.raises(OutputError, match="no active learning to resume"):
        learned(resume=True)
    with pytest.raises(InputError, match=r"explore.yam"):
        learned("active.run=explore.yam")
    assert not (workplace / "out/start").exists()


@pytest.mark.slow
def test_what_a_committee_picks_is_worth_more_than_as_many_random_states(tmp_path, monkeypatch):
    """A quench whose early states the first committee has not seen: their error falls below half of that of random picks."""
    monkeypatch.chdir(tmp_path)
    tool = runpy.run_path(str(Path(__file__).parent.parent / "tools/active_learning.py"))
    tool["demonstrate"](argparse.Namespace(directory=tmp_path / "demo", rounds=2, seed=0, first=[30, 40, 50, 60]))
    rows = json.loads((tmp_path / "demo/learned/summary.json").read_text())["rows"]
    last = {(row["policy"], row["set"]): row for row in rows if row["round"] == 2}
    assert {row["states"] for row in last.values()} == {16}
    assert last["uncertain", "early"]["relative"] < 0.5 * last["random", "early"]["relative"]
    assert last["uncertain", "late"]["relative"] < last["random", "late"]["relative"]
