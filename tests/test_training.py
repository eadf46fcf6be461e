"""`latticemd train`: what is learnt, the same bytes after an interruption, and no trajectory on both sides of a split."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from conftest import random_positions
from networks import SmallStack, register_networks

from forcefields.points.plans import PLANS  # networks of particles: tests/test_point_forces.py
from latticemd import Holstein, Lattice
from latticemd.cli import app
from latticemd.config import load_training
from latticemd.errors import Diverged, InputError, OutputError, StoppedEarly
from latticemd.learning import runner
from latticemd.learning.augmentation import Augmentation
from latticemd.learning.checkpoint import read_training
from latticemd.learning.data import Group, batches_of_epoch, groups_of, load_split, loss_weights, mean_square
from latticemd.learning.dataset import LabelledTrajectory, write_dataset
from latticemd.learning.errors import force_errors
from latticemd.learning.modelfile import load_network, read_card
from latticemd.learning.networks import Bound
from latticemd.learning.records import record_of
from latticemd.learning.runner import train
from latticemd.learning.trainer import Trainer
from latticemd.models.jahn_teller import JahnTeller
from latticemd.plugins import plugin_names

TRAINING = """\
data: {train: train.h5, validation: validation.h5, test: {large: large.h5}}
network: {name: small, width: 4}
steps: 24
batch: 3
validate_every: 6
optimiser: {learning_rate: 0.02, warmup: 4}
seed: 5
output: {directory: out, figures: false}
"""


def springs(seed, shape=(6, 4), frames=5, scale=1.0, coupling=1.5):
    """A trajectory whose 'electronic force' is linear in the neighbours, which two convolutions can nearly learn."""
    model = Holstein(Lattice("square", shape), coupling=coupling)
    x = scale * random_positions(model, seed, frames)
    force = np.stack([model.lattice.adjacency() @ one for one in x]) - 0.5 * x
    nothing = np.full(frames, np.nan)
    attributes = {
        "temperature": 0.1,
        "seed": seed,
        "trajectory": f"seed {seed}, scale {scale:g}, coupling {coupling:g}",
    }
    record = record_of("holstein", model)
    return LabelledTrajectory(x, force, nothing, np.full(x.shape[:2], np.nan), np.arange(frames), record, attributes)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    register_networks()
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "train.h5", [springs(seed) for seed in range(4)], {})
    write_dataset(tmp_path / "validation.h5", [springs(10)], {})
    write_dataset(tmp_path / "large.h5", [springs(20, shape=(8, 8))], {})
    (tmp_path / "train.yaml").write_text(TRAINING)
    return tmp_path


def trained(*settings, **options):
    return train(load_training("train.yaml", settings), **options)


def test_a_training_learns_and_leaves_what_it_promises(workplace):
    summary = trained("steps=400", "validate_every=100", "output.figures=true")
    errors = summary["errors"]
    assert errors.keys() == {"train", "validation", "large"}
    assert all(error["relative"] < 0.2 for error in errors.values())
    out = workplace / "out"
    files = {
        "model.safetensors",
        "checkpoint.safetensors",
        "history.csv",
        "train.yaml",
        "train.log",
        "summary.json",
        "figures",
    }
    assert {path.name for path in out.iterdir()} == files
    assert (out / "figures" / "learning_curve.png").stat().st_size > 10_000
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == [100, 200, 300, 400]
    assert float(rows[-1]["validation_loss"]) < 0.5 * float(rows[0]["validation_loss"]) < 0.01
    assert json.loads((out / "summary.json").read_text())["best_step"] == summary["best_step"]


def test_the_file_holds_the_best_weights_with_their_errors_and_ranges(workplace):
    trained()
    card, module = load_network(workplace / "out" / "model.safetensors")
    best = min(
        csv.DictReader((workplace / "out" / "history.csv").open()), key=lambda row: float(row["validation_loss"])
    )
    held_out = springs(10)
    with torch.no_grad():
        found = module(torch.as_tensor(held_out.x, dtype=torch.float32)).double().numpy()
    rmse = np.sqrt(np.mean((found - held_out.force) ** 2))
    assert rmse == pytest.approx(card.errors["validation"]["rmse"], rel=1e-6)
    assert rmse == pytest.approx(float(best["validation_rmse"]), rel=1e-6)
    assert card.errors["validation"]["relative"] == pytest.approx(rmse / np.sqrt(np.mean(held_out.force**2)), rel=1e-6)
    states = np.concatenate([springs(seed).x for seed in range(4)])
    assert (card.ranges["x"]["min"], card.ranges["x"]["max"]) == (states.min(), states.max())
    assert card.ranges["temperature"] == [0.1, 0.1]
    assert card.data["train"]["states"] == 20
    assert card.parameters == sum(p.numel() for p in module.parameters())


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(workplace):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        trained(f"seed={seed}", f"output.directory={name}")
    bytes_of = {name: (workplace / name / "model.safetensors").read_bytes() for name in "abc"}
    assert bytes_of["a"] == bytes_of["b"]
    assert bytes_of["a"] != bytes_of["c"]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("ema=0", "optimiser.name=adam", "augment=true"),
        ("precision=float64", "loss.relative=trajectory", "batch=7"),
    ],
    ids=["default", "adam and augmentation", "float64"],
)
@pytest.mark.parametrize("step", [4, 6, 17])
def test_a_stopped_training_resumes_to_the_same_bytes(workplace, monkeypatch, settings, step):
    trained(*settings)
    advance = Trainer.advance

    def stopped(self):
        advance(self)
        if self.record.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    there = (*settings, "output.directory=again")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", stopped)
        with pytest.raises(StoppedEarly, match=f"stopped by SIGTERM at step {step}"):
            trained(*there)
    trained(*there, resume=True)
    assert_same_training(workplace / "out", workplace / "again")


def test_a_killed_training_resumes_from_its_last_validation_to_the_same_bytes(workplace, monkeypatch):
    trained()
    advance = Trainer.advance

    def killed(self):
        if self.record.step == 15:
            raise KeyboardInterrupt
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            trained("output.directory=again")
    assert read_training(workplace / "again" / "checkpoint.safetensors")[1].step == 12
    trained("output.directory=again", resume=True)
    assert_same_training(workplace / "out", workplace / "again")


def assert_same_training(one, other):
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    (tensors, record, _), (its_tensors, its_record, _) = (
        read_training(folder / "checkpoint.safetensors") for folder in (one, other)
    )
    assert tensors.keys() == its_tensors.keys()
    assert {key for key in tensors if not torch.equal(tensors[key], its_tensors[key])} == set()

    def without_time(record):
        return [{key: value for key, value in row.items() if key != "seconds"} for row in record.history]

    assert without_time(record) == without_time(its_record)
    assert record.best_loss == its_record.best_loss


@pytest.mark.parametrize("name", [name for name in plugin_names("network") if name not in (*PLANS, "pair_energy")])
def test_every_network_trains_and_resumes_to_the_same_bytes(workplace, name):
    settings = (f"network={{name: {name}}}", "optimiser.schedule=constant", "data.test={}")
    trained(*settings, "steps=4", "validate_every=2")
    trained(*settings, "steps=2", "validate_every=2", "output.directory=again")
    trained(*settings, "steps=4", "validate_every=2", "output.directory=again", resume=True)
    tensors = [read_training(workplace / folder / "checkpoint.safetensors")[0] for folder in ("out", "again")]
    assert {key for key in tensors[0] if not torch.equal(tensors[0][key], tensors[1][key])} == set()
    card, module = load_network(workplace / "out" / "model.safetensors")
    large = springs(20, shape=(8, 8))
    bound = Bound(name, card.network["parameters"], springs(0).model, module)
    errors = force_errors(bound, groups_of([large], torch.float32, [1.0]), 8)
    assert np.isfinite(errors.rmse)


def test_the_commands_for_runs_know_trainings(workplace, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["latticemd", *arguments])
        with pytest.raises(SystemExit) as done:
            app()
        assert not done.value.code
        return capsys.readouterr().out

    command("train", "train.yaml", "--set", "optimiser.schedule=constant", "--set", "steps=6")
    assert "after 24 steps" in command("resume", "out", "--set", "steps=24")
    assert command("plot", "out").strip() == "out/figures/learning_curve.png"
    assert (workplace / "out" / "figures" / "learning_curve.png").stat().st_size > 10_000


def test_a_resumed_training_is_the_same_training(workplace):
    trained()
    assert trained(resume=True)["steps"] == 24  # nothing is left to do
    with pytest.raises(InputError, match="batch is 4, but the training in out was made with 3"):
        trained("batch=4", resume=True)
    with pytest.raises(InputError, match="steps is 30"):
        trained("steps=30", resume=True)  # the cosine would have been another one
    write_dataset(workplace / "validation.h5", [springs(11)], {})
    with pytest.raises(InputError, match="the set validation is not the one"):
        trained(resume=True)
    with pytest.raises(OutputError, match="--resume to continue"):
        trained()
    assert trained("steps=6", overwrite=True)["steps"] == 6


def test_a_training_without_a_schedule_may_go_on_longer(workplace):
    constant = ("optimiser.schedule=constant",)
    trained(*constant)
    trained(*constant, "steps=12", "output.directory=again")
    assert trained(*constant, "output.directory=again", resume=True)["steps"] == 24
    tensors = [read_training(workplace / name / "checkpoint.safetensors")[0] for name in ("out", "again")]
    assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def test_a_damaged_checkpoint_is_not_believed(workplace):
    trained()
    path = workplace / "out" / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(OutputError, match="is damaged"):
        trained(resume=True)


def test_a_training_may_start_from_the_weights_of_another(workplace):
    first = trained("steps=200", "validate_every=50")
    more = ("start=out/model.safetensors", "output.directory=more", "optimiser.learning_rate=1e-9", "steps=1")
    more += ("validate_every=1", "data.test={}")
    second = trained(*more)
    assert second["errors"]["validation"]["rmse"] == pytest.approx(first["errors"]["validation"]["rmse"], rel=1e-5)
    (workplace / "out" / "model.safetensors").unlink()  # a resumed training has no need of it
    assert trained(*more, resume=True)["steps"] == 1
    with pytest.raises(InputError, match=r"start: more/model.safetensors is a network .*'width': 4"):
        trained("start=more/model.safetensors", "network.width=5", "output.directory=other")


def test_early_stop_and_the_clock_end_a_training(workplace, monkeypatch):
    summary = trained("steps=4000", "validate_every=1", "early_stop=3", "optimiser.learning_rate=0.5", "ema=0")
    assert summary["ended"] == "no improvement any more"
    assert summary["steps"] == summary["best_step"] + 3
    summary = trained("steps=null", "time_limit=0.3", "output.directory=clock")
    assert summary["ended"] == "time limit"
    assert 0.3 <= summary["seconds"] < 5.0
    assert (workplace / "clock" / "model.safetensors").exists()


def test_a_loss_that_leaves_the_finite_numbers_ends_the_training(workplace):
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step"):
        trained("optimiser.learning_rate=1e30", "optimiser.warmup=0", "ema=0")


# data


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ([springs(10), springs(2)], "5 states in common"),
        ([dataclasses.replace(springs(2), x=springs(30).x)], "another piece of the trajectory"),
    ],
)
def test_a_trajectory_on_both_sides_is_refused(workplace, held_out, message):
    write_dataset(workplace / "validation.h5", held_out, {})
    with pytest.raises(InputError, match=message):
        trained()
    write_dataset(workplace / "validation.h5", [springs(10)], {})
    write_dataset(workplace / "large.h5", held_out, {})
    with pytest.raises(InputError, match=rf"\(large\).*{message}"):
        trained()


def test_a_share_of_whole_trajectories_is_kept_for_validation(workplace):
    data = load_training("train.yaml", ["data.validation={fraction: 0.3}"]).data
    split = load_split(data)
    assert (len(split.train), len(split.validation)) == (3, 1)
    names = {trajectory.name for trajectory in split.train + split.validation}
    assert len(names) == 4
    again = load_split(load_training("train.yaml", ["data.validation={fraction: 0.3, seed: 1}"]).data)
    assert again.validation[0].name != split.validation[0].name
    with pytest.raises(InputError, match="leaves none to learn from"):
        load_split(load_training("train.yaml", ["data.validation={fraction: 0.9}"]).data)


def test_a_training_on_few_states_draws_them_from_all_and_more_hold_fewer(workplace):
    drawn = [load_split(load_training("train.yaml", [f"data.states={n}"]).data).train for n in (6, 13, 20)]
    digests = [{digest for t in train for digest in t.frame_digests} for train in drawn]
    assert [len(each) for each in digests] == [6, 13, 20]
    assert digests[0] < digests[1] < digests[2]
    assert len(drawn[1]) == 4
    with pytest.raises(InputError, match="21 of the 20 states"):
        load_split(load_training("train.yaml", ["data.states=21"]).data)


def test_every_state_comes_once_in_an_epoch():
    batches = batches_of_epoch([7, 4], batch=3, seed=1, epoch=2)
    for group, size in enumerate([7, 4]):
        assert sorted(i for g, states in batches for i in states if g == group) == list(range(size))
    assert max(len(states) for _, states in batches) == 3
    other = batches_of_epoch([7, 4], batch=3, seed=1, epoch=3)
    assert [states.tolist() for _, states in batches] != [states.tolist() for _, states in other]


def test_states_of_several_lattices_and_couplings_share_one_network(workplace):
    write_dataset(workplace / "train.h5", [springs(0), springs(1, shape=(8, 6)), springs(2, coupling=2.0)], {})
    trained()
    card = read_card(workplace / "out" / "model.safetensors")
    assert card.ranges["model"]["coupling"] == [1.5, 2.0]
    # One network: its error is the same whichever lattice it was bound to first.
    split = load_split(load_training("train.yaml").data)
    _, module = load_network(workplace / "out" / "model.safetensors")
    bound = Bound("small", {"width": 4}, split.train[0].model, module)
    errors = [force_errors(bound, groups_of([one], torch.float32, [1.0]), 8).rmse for one in split.train]
    total = np.sqrt(np.mean(np.square(errors)))
    assert total == pytest.approx(card.errors["train"]["rmse"], rel=1e-6)


def test_calm_trajectories_count_as_much_as_others_where_the_loss_says_so():
    loud, calm = springs(1), springs(2, scale=0.1)
    scale = mean_square([loud, calm])
    assert loss_weights([loud, calm], "all", scale) == [1.0 / scale] * 2
    weights = loss_weights([loud, calm], "trajectory", scale)
    # A network that predicts no force at all has a loss of one on each.
    assert [w * mean_square([t]) for w, t in zip(weights, [loud, calm], strict=True)] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("model", [Holstein(Lattice("square", (4, 4))), JahnTeller(Lattice("square", (4, 4)))])
def test_augmentation_turns_positions_and_forces_by_symmetries(model):
    from conftest import forces_and_energy

    x = random_positions(model, 3, replicas=6)
    electronic = forces_and_energy(model, x)[0]
    group = Group(model, torch.from_numpy(x), torch.from_numpy(electronic), torch.ones(6))
    turned = Augmentation([group], seed=1).turned(0, group, step=9)
    assert (turned.x - group.x).abs().amax(dim=(1, 2)).count_nonzero() >= 3  # not all are the identity
    np.testing.assert_allclose(forces_and_energy(model, turned.x.numpy())[0], turned.force.numpy(), atol=1e-10)


def test_what_a_network_knows_is_computed_once(workplace, monkeypatch):
    calls = []

    def reference(self, x):
        calls.append(len(x))
        return 0.5 * x

    def forward(self, x, known=None):
        return plain(self, x) + (self.reference(x) if known is None else known)

    plain = SmallStack.forward
    with monkeypatch.context() as patch:
        patch.setattr(SmallStack, "reference", reference, raising=False)
        patch.setattr(SmallStack, "forward", forward)
        trained("output.directory=cached", "augment=true")
        assert sum(calls) == 20 + 5 + (20 + 5 + 5)  # training and validation states; and all sets in the end
        patch.setattr("latticemd.learning.trainer.referenced", lambda groups, bound, batch, world: groups)
        trained("output.directory=anew", "augment=true")
    history = [read_training(workplace / name / "checkpoint.safetensors")[1].history for name in ("cached", "anew")]
    losses = [[row["validation_loss"] for row in rows] for rows in history]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


# input


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps=null", "steps: missing; expected one of steps, epochs or time_limit"),
        ("epochs=3", "epochs: give either steps or epochs, not both"),
        ("network.widht=3", "network.widht: unknown key; did you mean 'width'?"),
        ("network.name=smal", "network.name: unknown network 'smal'; did you mean 'small'?"),
        ("network.width=0", "network.width: expected an integer >= 1, got 0"),
        ("data.validation=3", "data.validation: expected a path, a list of paths or {fraction: 0.1}, got 3"),
        ("data.validation={fraction: 2}", "data.validation.fraction: expected a number > 0 and < 1, got 2"),
        ("data.test={train: large.h5}", "expected a name other than train and validation, got 'train'"),
        ("optimiser={name: adam, weight_decay: 0.1}", "optimiser.weight_decay: adam has no weight decay, got 0.1"),
        ("optimizer={name: adam}", "optimizer: unknown key; did you mean 'optimiser'?"),
        ("ema=1", "ema: expected a number >= 0 and < 1, got 1"),
        ("precision=float16", "precision: expected 'float32' or 'float64', got 'float16'"),
    ],
)
def test_what_makes_no_training_is_refused(workplace, setting, message):
    with pytest.raises(InputError) as refused:
        load_training("train.yaml", [setting])
    assert message in str(refused.value)


def test_a_resolved_input_is_the_same_input(workplace):
    first = load_training("train.yaml")
    (workplace / "resolved.yaml").write_text(first.to_yaml())
    assert load_training("resolved.yaml") == first


def test_without_torch_the_extra_is_named(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'latticemd\[ml\]'"):
        runner.train(load_training("train.yaml"))
