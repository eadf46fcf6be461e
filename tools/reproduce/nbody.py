"""The charged-particle benchmark in one table: networks of points on the same data, for the same number of epochs.

Usage: OMP_NUM_THREADS=1 python tools/reproduce/nbody.py DIR [--rows egnn,frame_graph] [--epochs 150] [--table]

Trains one row after the other, with the seconds that each takes of one core, and leaves DIR/ROW_EPOCHS.json; a row that is there is
not trained again, so that an interrupted script goes on where it was. `--table` only prints what is there. The data are made
first (`tools/nbody.py`, seed 0). Of each network the weights of the epoch with the smallest validation error are kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forcefields.points.nbody import HORIZON, Charged, mean_square_error, read_charged, write_charged
from forcefields.points.plans import (
    EGNNPlan,
    FrameGraphPlan,
    FramesPlan,
    GraphPlan,
    PointPlan,
    SecondOrderPlan,
    SetsPlan,
    TensorProductsPlan,
    made,
)
from forcefields.points.predictors import Dynamics
from forcefields.points.training import Plan, mean_error, train_dynamics

EPOCHS = 150


@dataclasses.dataclass(frozen=True)
class Row:
    """A network, and what differs from the other rows: the largest learning rate; trajectories that are also learned backwards."""

    plan: PointPlan
    rate: float = 1e-3
    both_ways: bool = False


# Where a network sees frames one or two of them are drawn in each step of the training; it is judged with all of them.
ROWS = {
    "frame_graph": Row(FrameGraphPlan(drawn=1)),
    "graph": Row(GraphPlan()),
    "egnn": Row(EGNNPlan()),
    "second_order": Row(SecondOrderPlan(), rate=2e-3),
    "frames": Row(FramesPlan(drawn=1)),
    "tensor_products": Row(TensorProductsPlan()),
    "sets": Row(SetsPlan(drawn=2)),
    "egnn_both_ways": Row(EGNNPlan(), both_ways=True),
}
PUBLISHED = {"graph": 0.0107, "egnn": 0.0071, "frame_graph": 0.0057}  # arXiv:2102.09844, arXiv:2110.03336


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data_file = given.directory / "nbody.h5"
    if not data_file.exists():
        write_charged(data_file)
    data = read_charged(data_file)
    for name in [] if given.table else given.rows.split(","):
        file = given.directory / f"{name}_{given.epochs}.json"
        if not file.exists():
            result = trained(name, ROWS[name], given.epochs, data)
            file.write_text(json.dumps(result, indent=1))
    print_table(data, sorted(given.directory.glob("*_*.json")), given.directory)


def trained(name: str, row: Row, epochs: int, data: dict[str, Charged]) -> dict[str, Any]:
    """A row: errors, time and history."""
    predictor = Dynamics(made(row.plan.network), HORIZON).to(torch.float32)
    history: list[tuple[int, float, float]] = []

    def watch(epoch: int, train: float, validation: float) -> None:
        history.append((epoch, train, validation))
        print(f"{name} epoch {epoch}: train {train:.5f} validation {validation:.5f}", flush=True)

    began = time.process_time()
    plan, train = Plan(epochs, rate=row.rate), data["train"]
    outcome = train_dynamics(predictor, train.both_ways() if row.both_ways else train, data["validation"], plan, watch)
    return {
        "row": name,
        "network": dataclasses.asdict(row.plan),
        "plan": dataclasses.asdict(plan),
        "parameters": sum(one.numel() for one in predictor.parameters()),
        "core_seconds": time.process_time() - began,
        **dataclasses.asdict(outcome),
        "test": mean_error(predictor, data["test"]),
        "history": history,
    }


def print_table(data: dict[str, Charged], files: list[Path], directory: Path) -> None:
    """All rows, constant velocity first; also written as table.md and table.json."""
    rows = [json.loads(file.read_text()) for file in files]
    test, train = data["test"], data["train"]
    best_time = float(np.sum(train.v * (train.target - train.x)) / np.sum(train.v**2))
    lines = [
        "| network | parameters | epochs | best epoch | seconds of one core | train | validation | test | published |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, span in (
        ("constant velocity", HORIZON),
        (f"constant velocity, for a time of {best_time:.2f}", best_time),
    ):
        errors = (f"{mean_square_error(one.x + span * one.v, one.target):.4f}" for one in data.values())
        shown = dict(zip(data, errors, strict=True))
        lines.append(f"| {name} | | | | | {shown['train']} | {shown['validation']} | {shown['test']} | |")
    for row in sorted(rows, key=lambda one: (one["plan"]["epochs"], -one["test"])):
        lines.append(
            f"| `{row['row']}` | {row['parameters']} | {row['plan']['epochs']} | {row['epoch']} | {row['core_seconds']:.0f} | "
            f"{row['train']:.4f} | {row['validation']:.4f} | {row['test']:.4f} | {PUBLISHED.get(row['row'], '')} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    (directory / "table.md").write_text(text)
    (directory / "table.json").write_text(json.dumps({"samples": len(test), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
