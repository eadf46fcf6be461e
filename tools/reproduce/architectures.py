"""Every architecture on the same data with the same budget of processor time: the table of docs/networks.md.

A step's processor time is measured first, and the budget spent in steps: what else the machine does is then nobody's advantage.

Usage: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tools/reproduce/architectures.py [--seconds 240] [--states N] [--only NAME ...]
           [--input inputs/training/architectures.yaml] [--output models/architectures]

Needs the datasets that the input names. `--states` trains on so many snapshots only, for error against data.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

# The published ones as published, at a width that learns something in minutes where the published one does not.
PLANS = {
    "enn": "{name: enn, features: saturated, scalars: 32, directed: 0, blocks: 4}",
    "enn, cavity features": "{name: enn, features: cavity, scalars: 0, regular: 3, directed: 0, blocks: 3}",
    "enn, cavity features and base": (
        "{name: enn, features: cavity, base: cavity, base_radius: 1, scalars: 0, regular: 2, directed: 0, blocks: 2}"
    ),
    "cavity_gnn": "{name: cavity_gnn, scalars: 0, regular: 2, directed: 0, blocks: 1, poles: 10, half_width: 100.0}",
    "irrep_mlp": "{name: irrep_mlp}",
    "gcn": "{name: gcn}",
    "cnn": "{name: cnn, features: raw}",
    "cnn, saturated features": "{name: cnn, features: saturated}",
}


VALIDATE_EVERY = 200  # steps
PROBE_SECONDS = 15.0  # that a measurement of a step lasts at least, so that starting up does not blur it


def trained(command: list[str], steps: int, validate_every: int) -> float:
    """Train so many steps; the processor time of it all."""
    ends = ["--set", f"steps={steps}", "--set", "time_limit=null", "--set", f"validate_every={validate_every}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command + ends, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_per_step(command: list[str]) -> float:
    """Processor time of a step, from two trainings that differ in nothing but the number of their steps."""
    few, many = 5, 15
    start = trained(command, few, few)
    while (took := trained(command, many, many) - start) < PROBE_SECONDS:
        many = few + round((many - few) * min(10.0, 1.2 * PROBE_SECONDS / max(took, 0.5)))
    return took / (many - few)


def main() -> None:
    """Train them one after the other, then print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--states", type=int)
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--input", default="inputs/training/architectures.yaml")
    parser.add_argument("--output", type=Path, default=Path("models/architectures"))
    arguments = parser.parse_args()
    print(
        "| network | parameters | steps | error on other seeds: relative (MSE) | at another coupling |\n|---|---|---|---|---|"
    )
    for title in arguments.only:
        directory = arguments.output / title.replace(", ", "_").replace(" ", "_")
        settings = [f"network={PLANS[title]}", "threads=1"]
        if "cnn" in title and "gnn" not in title:
            settings.append("augment=true")
        if arguments.states:
            settings.append(f"data.states={arguments.states}")
        command = [sys.executable, "-m", "latticemd.cli", "train", arguments.input, "-o", str(directory), "--overwrite"]
        for setting in settings:
            command += ["--set", setting]
        steps = max(1, round(arguments.seconds / seconds_per_step(command)))
        trained(command, steps, VALIDATE_EVERY)
        summary = json.loads((directory / "summary.json").read_text())
        errors = summary["errors"]
        seeds, coupling = (
            f"{errors[name]['relative']:.1e} ({errors[name]['rmse'] ** 2:.1e})" for name in ("seeds", "coupling")
        )
        print(f"| {title} | {summary['parameters']} | {summary['steps']} | {seeds} | {coupling} |", flush=True)


if __name__ == "__main__":
    main()
