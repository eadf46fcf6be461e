"""Force parity: predicted against exact electronic forces, of the published parameter set (arXiv:2601.04104, 2603.02039).

States of a quench of 40 x 40 sites at g = 3.5, kT = 0.1, random ones and later ones, of a seed that no training has seen. Exact are
`poles`; compared are the network `holstein_published` and `cavity` patches, which have no parameters.

Usage: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tools/reproduce/force_parity.py [--states 12] [--seed 1001] [--figure FILE]
           (about half a minute of one core; needs torch)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from latticemd import load_simulation
from latticemd.figures.style import LIGHT, ORANGE, page
from latticemd.forcefield import Electrons
from latticemd.models.model import Model
from latticemd.plugins import load_plugin

ROOT = Path(__file__).parents[2]
INPUT = ROOT / "inputs" / "holstein_published.yaml"
WAYS = {
    "ENN holstein_published": ("enn", {"model": "holstein_published"}),
    "cavity, radius 1": ("cavity", {"radius": 1}),
    "cavity, radius 2": ("cavity", {"radius": 2}),
}
STEPS = 600  # over which later states are taken, evenly in the logarithm of the step


def main() -> None:
    """Print errors in Markdown and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1001)
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "reproduce_parity.png")
    arguments = parser.parse_args()
    model, x = states(arguments.states, arguments.seed)
    exact = forces(model, x, "poles", {})
    print(f"{x.shape[0]} states, rms of the exact electronic force {np.sqrt((exact**2).mean()):.3f}")
    print("| way | mean square error | relative rms error | largest error |\n|---|---|---|---|")
    predicted = {title: forces(model, x, *way) for title, way in WAYS.items()}
    for title, force in predicted.items():
        square = float(((force - exact) ** 2).mean())
        relative = np.sqrt(square / (exact**2).mean())
        print(f"| {title} | {square:.1e} | {relative:.1e} | {np.abs(force - exact).max():.1e} |")
    draw(exact, predicted, arguments.figure)


def states(count: int, seed: int) -> tuple[Model, np.ndarray]:
    """The model, and positions (count, N, 1) at steps from 0 on, of a quench that `cavity` leads."""
    settings = (f"initial.seed={seed}", f"dynamics.seed={seed}", "forcefield={name: cavity, radius: 2}")
    simulation = load_simulation(INPUT, *settings)
    found = [simulation.state.x.copy()]
    for step in np.unique(np.geomspace(1, STEPS, count - 1).round().astype(int)):
        simulation.run(int(step))
        found.append(simulation.state.x.copy())
    return simulation.system.model, np.concatenate(found)


def forces(model: Model, x: np.ndarray, name: str, settings: dict[str, object]) -> np.ndarray:
    """Electronic forces of all states by a force field."""
    forcefield, out = load_plugin("forcefield", name)(**settings), Electrons.empty(len(x), model)
    forcefield.prepare(model, len(x))
    forcefield.evaluate(model, x, 0, out)
    return out.force.copy()


def draw(exact: np.ndarray, predicted: dict[str, np.ndarray], path: Path) -> None:
    """One panel per way: counts of (exact, predicted) pairs, and the histogram of errors."""
    from matplotlib.colors import LogNorm

    with LIGHT.applied():
        made = page("electronic force of the Holstein model, g = 3.5, kT = 0.1", "", 3.9 * (len(predicted) + 1), 4.2)
        *panels, errors = made.subplots(1, len(predicted) + 1)
        reach = float(np.abs(exact).max()) * 1.05
        bins = np.geomspace(1e-8, 1.0, 60)
        for panel, (title, force) in zip(panels, predicted.items(), strict=True):
            counts, edges, _ = np.histogram2d(exact.ravel(), force.ravel(), 120, [[-reach, reach]] * 2)
            image = panel.pcolormesh(edges, edges, np.ma.masked_equal(counts.T, 0), norm=LogNorm(), cmap="viridis")
            image.set_rasterized(True)
            panel.axline((0, 0), slope=1, color=ORANGE, lw=0.8)
            panel.set(xlabel="exact", ylabel="predicted", title=title, aspect="equal")
            errors.hist(np.abs(force - exact).ravel().clip(bins[0]), bins, histtype="step", lw=1.8, label=title)
        errors.set(xscale="log", yscale="log", xlabel="error of the force", ylabel="sites")
        errors.legend(fontsize=8)
        LIGHT.save(made, path, dpi=110)


if __name__ == "__main__":
    main()
