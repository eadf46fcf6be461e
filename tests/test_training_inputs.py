"""Every input under inputs/training: labels are made and the network is trained, all of it shortened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from latticemd.cli import app

TRAINING = Path(__file__).parent.parent / "inputs" / "training"
TRAINED = sorted(path for path in TRAINING.glob("*.yaml") if not path.stem.endswith("_label"))


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_labels_are_made_and_learned(path, tmp_path):
    written = yaml.safe_load(path.read_text())
    named, side = Path(written["data"]["train"]).stem, 16 if written["network"].get("base") == "window" else 8
    data = tmp_path / "data.h5"
    short = ["label.vary={seed: [1, 2]}", "label.at=[0, 2]", "label.random=null", "dynamics.steps=2"]
    settings = [word for text in (*short, f"lattice.shape=[{side}, {side}]") for word in ("--set", text)]
    run("label", TRAINING / f"{named}_label.yaml", "-o", data, *settings)
    changes = [
        f"data={{train: {data}, validation: {{fraction: 0.5}}}}",
        "steps=2",
        "time_limit=null",
        "start=null",
        "validate_every=1",
        "batch=1",
        "output.figures=false",
    ]
    run("train", path, "-o", tmp_path / "trained", *(word for text in changes for word in ("--set", text)))
    errors = json.loads((tmp_path / "trained" / "summary.json").read_text())["errors"]
    assert 0.0 < errors["validation"]["relative"] < 10.0
