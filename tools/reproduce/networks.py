"""The gate of docs/networks.md: error against time of trained networks beside the force fields that need no training.

Errors are those of held-out trajectories that `latticemd label` wrote, by stage of the quench; processor times are medians of
turns on one state, repeated to a lattice of `--cells` times the extents, in one thread. What nothing beats in both is marked.

Usage: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tools/reproduce/networks.py DATA.h5 [--network FILE ...]
           [--against cavity,window,poles] [--stages random:0,1 hot:2,20 late:40,300] [--cells 4] [--figure FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latticemd.forcefield import Electrons, ForceField
from latticemd.learning.dataset import LabelledTrajectory, read_dataset
from latticemd.learning.modelfile import read_card
from latticemd.learning.networks import on_lattice
from latticemd.plugins import load_plugin

ROUNDS = 5


def main() -> None:
    """Measure everything, print a table in Markdown, draw and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", type=Path, action="append", default=[])
    parser.add_argument("--against", default="cavity,window,poles")
    parser.add_argument("--stages", nargs="+", default=["random:0,1", "hot:2,20", "late:40,300"])
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    trajectories = read_dataset(arguments.data)
    stages = {
        name: tuple(int(n) for n in span.split(",")) for name, _, span in (s.partition(":") for s in arguments.stages)
    }
    ways = dict(_networks(arguments.network)) | dict(_exact(arguments.against.split(",")))
    rows = _measured(ways, trajectories, stages, arguments.cells)
    _print(rows, list(stages))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.figure:
        _draw(rows, list(stages), arguments.figure)


def _networks(files: Sequence[Path]) -> list[tuple[str, ForceField]]:
    found = []
    for file in files:
        card = read_card(file)
        name = f"{card.network['name']} {file.parent.name if file.stem == 'model' else file.stem}, {card.parameters} parameters"
        found.append((name, load_plugin("forcefield", card.network["name"])(model=str(file))))
    return found


def _exact(names: Sequence[str]) -> list[tuple[str, ForceField]]:
    """Every rung of their ladders; `cavity` with four sweeps, `window` with several tolerances of its moments, both in single
    precision; `mean_field` with several residuals."""
    found = []
    for name in names:
        component = load_plugin("forcefield", name)
        for settings in getattr(component, "ladder", ({},)) or ({},):
            variants: list[dict[str, Any]] = [dict(settings)]
            if name == "mean_field":
                variants = [{**settings, "start": "seed", "residual": r, "iterations": 400} for r in (1e-1, 1e-2, 1e-3)]
            if name == "cavity":
                variants = [
                    {**settings, "sweeps": 4, "precision": "float32", "tolerance": tolerance}
                    for tolerance in (1e-6, 1e-3)
                ]
            if name == "window":
                variants = [
                    {**settings, "precision": "float32", "tolerance": tolerance} for tolerance in (3e-2, 3e-3, 3e-4)
                ]
            found += [
                (f"{name} {', '.join(f'{k} {v}' for k, v in one.items())}".strip(), component(**one))
                for one in variants
            ]
    return found


def _measured(
    ways: dict[str, ForceField],
    trajectories: Sequence[LabelledTrajectory],
    stages: dict[str, tuple[int, ...]],
    cells: int,
) -> list[dict[str, Any]]:
    model = trajectories[0].model
    x, exact, step = (np.concatenate([getattr(t, name) for t in trajectories]) for name in ("x", "force", "step"))
    shape = (*model.lattice.shape, -1)
    d = len(model.lattice.shape)
    large = on_lattice(model, model.lattice.resized([cells * n for n in model.lattice.shape]))
    state = np.tile(x[len(x) // 2].reshape(shape), (cells,) * d + (1,)).reshape(1, -1, x.shape[2])
    rows = []
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    small, big = Electrons.empty(1, model), Electrons.empty(1, large)
    for name, way in ways.items():
        way.prepare(model, 1)
        found = np.empty_like(exact)
        for i, one in enumerate(x):
            way.evaluate(model, one[None], 0, small)
            found[i] = small.force[0]
        row: dict[str, Any] = {"way": name}
        for stage, (first, last) in stages.items():
            there = (step >= first) & (step <= last)
            mse = float(np.mean((found[there] - exact[there]) ** 2))
            row[stage] = {"mse": mse, "relative": float(np.sqrt(mse / np.mean(exact[there] ** 2)))}
        rows.append(row)
        way.close()
        way.prepare(large, 1)
        way.evaluate(large, state, 0, big)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            way.evaluate(large, state, 7, big)
            seconds[name].append(time.process_time() - started)
    for row in rows:
        row["microseconds_per_site"] = 1e6 * statistics.median(seconds[row["way"]]) / large.lattice.sites
    for row in rows:
        row["front"] = [stage for stage in stages if not any(_beats(other, row, stage) for other in rows)]
    return rows


def _beats(other: dict[str, Any], row: dict[str, Any], stage: str) -> bool:
    return bool(
        other["microseconds_per_site"] < row["microseconds_per_site"] and other[stage]["mse"] < row[stage]["mse"]
    )


def _print(rows: Sequence[dict[str, Any]], stages: Sequence[str]) -> None:
    print("| way | " + " | ".join(f"{stage}: relative error (MSE)" for stage in stages) + " | us/site | on the front |")
    print("|---|" + "---|" * (len(stages) + 2))
    for row in rows:
        errors = " | ".join(f"{row[stage]['relative']:.1e} ({row[stage]['mse']:.1e})" for stage in stages)
        print(f"| {row['way']} | {errors} | {row['microseconds_per_site']:.2f} | {', '.join(row['front']) or '-'} |")


def _draw(rows: Sequence[dict[str, Any]], stages: Sequence[str], path: Path) -> None:
    """One panel per stage: relative error against microseconds per site."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(stages), figsize=(3.8 * len(stages), 3.6), layout="constrained", squeeze=False)
    looks = {
        "cavity": ("#10365f", "s"),
        "window": ("#4aa3df", "P"),
        "poles": ("#8c8c8c", "D"),
        "mean_field": ("#2f8f5b", "^"),
    }
    for axis, stage in zip(axes[0], stages, strict=True):
        seen = set()
        for row in rows:
            family = row["way"].split()[0]
            colour, marker = looks.get(family, ("#d2691e", "o"))
            label = family if family in looks else "network"
            axis.plot(
                row["microseconds_per_site"],
                max(row[stage]["relative"], 1e-9),
                marker,
                color=colour,
                label=None if label in seen else label,
            )
            seen.add(label)
        axis.set(xscale="log", yscale="log", title=stage, xlabel="microseconds per site")
        axis.grid(True, which="major", color="0.9")
    axes[0][0].set_ylabel("relative error of the force")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
