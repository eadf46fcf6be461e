"""Train a network to move charged particles by a unit of time, and write the file with which `latticemd run` steps.

Usage: OMP_NUM_THREADS=1 python tools/point_motion.py FILE.safetensors [--network egnn] [--epochs 40] [--data NBODY.h5]

Learns positions and velocities of the benchmark (`tools/nbody.py`, made anew unless given), both ways in time, and prints
its errors on the test set beside those of straight motion.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from forcefields.points.modelfile import new_motion, save_motion
from forcefields.points.nbody import HORIZON, mean_square_error, read_charged, write_charged
from forcefields.points.training import Plan, tensors_of, train_dynamics
from latticemd.lattice import Points
from latticemd.models.particles import Particles
from latticemd.plugins import load_plugin


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--network", default="egnn")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = given.data or Path(folder) / "nbody.h5"
        if given.data is None:
            write_charged(path)
        data = read_charged(path)
    plan, began = load_plugin("network", given.network)(), time.process_time()
    motion = new_motion(plan, HORIZON).to(torch.float32)
    outcome = train_dynamics(
        motion, data["train"].both_ways(), data["validation"], Plan(given.epochs), lambda *row: print(*row, flush=True)
    )
    test = data["test"]
    x, v, q, *_ = tensors_of(test, torch.float32)
    with torch.no_grad():
        found = [one.numpy() for one in motion(x, v, q)]
    errors = {"states": len(test)}
    rows = {"x": (found[0], test.x + HORIZON * test.v, test.target), "v": (found[1], test.v, test.later)}
    for name, (mine, straight, target) in rows.items():
        errors[name] = mean_square_error(mine, target)
        print(
            f"{name}: mean square error {errors[name]:.4f}, of straight motion {mean_square_error(straight, target):.4f}"
        )
    print(f"{time.process_time() - began:.0f} s of one core; best epoch {outcome.epoch} of {given.epochs}")
    model = Particles(Points([test.x.shape[1]]))
    training = {"epochs": given.epochs, "best_epoch": outcome.epoch, "samples": 2 * len(data["train"])}
    save_motion(given.file, given.network, plan, motion, model, data["train"], {"test": errors}, training)
    print(f"wrote {given.file}, {np.round(given.file.stat().st_size / 1024)} KiB")


if __name__ == "__main__":
    main()
