"""Error against cost of all force fields on five states: the table and the figure of docs/forcefields.md.

Each state (see shared.py) on one lattice, every force field with the settings of its `ladder`, as `latticemd bench` does for
an input. Times are processor time, so run it with one thread:

Usage: NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tools/bench/comparison.py [--side 32] [--only NAME ...]
[--figure FILE]
"""

from __future__ import annotations

import argparse
import math
import time

from shared import states

from latticemd.bench import Row, Sample, compare
from latticemd.plugins import load_plugin

EVERYONE = ["ed", "poles", "cavity", "window", "kpm"]  # of those that free electrons have
# Dark blue, orange, grey, green, pink, sky: apart for all common colour deficiencies, and marked by shape as well.
LOOKS = [("#10365f", "s"), ("#d2691e", "o"), ("#8c8c8c", "D"), ("#2f8f5b", "^"), ("#b0447c", "v"), ("#4aa3df", "P")]


def draw(path: str, results: dict[str, list[Row]], sites: int) -> None:
    """One panel per state: root mean square error of the density against microseconds per site."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(3.4 * len(results), 3.6), sharey=True, layout="constrained")
    for axis, (state, rows) in zip(axes, results.items(), strict=True):
        for (colour, marker), name in zip(LOOKS, dict.fromkeys(row.name for row in rows), strict=False):
            own = [row for row in rows if row.name == name and math.isfinite(row.seconds)]
            cost = [1e6 * row.seconds / sites for row in own]
            axis.plot(cost, [max(row.density_error, 1e-13) for row in own], marker=marker, color=colour, label=name)
        axis.set(xscale="log", yscale="log", title=state, xlabel="microseconds per site")
        axis.grid(True, which="major", color="0.9")
    axes[0].set_ylabel("rms error of the density")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure all states, print a table in Markdown, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--only", nargs="+", default=EVERYONE, help="names of force fields")
    parser.add_argument("--figure", help="file to draw to")
    arguments = parser.parse_args()
    candidates = [
        (name, dict(settings))
        for name in arguments.only
        for settings in getattr(load_plugin("forcefield", name), "ladder", ({},))
    ]
    results = {}
    for state, (model, x) in states(arguments.side).items():
        results[state] = list(compare(Sample(model, x), candidates, clock=time.process_time))
        print(f"\n| {state}, {arguments.side} x {arguments.side} | us/site | rms density error |\n|---|---|---|")
        for row in results[state]:
            numbers = row.note or f"{1e6 * row.seconds / model.lattice.sites:.3g} | {row.density_error:.1e}"
            print(f"| {row.title} | {numbers} |", flush=True)
    if arguments.figure:
        draw(arguments.figure, results, arguments.side**2)


if __name__ == "__main__":
    main()
