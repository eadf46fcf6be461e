"""Are the errors by which `auto` and `kpm` choose honest? Estimate against truth on many random states.

For each kind of state and tolerance: what was chosen, how often the estimate was smaller than the true rms error of the
density (never, is the limit), and the largest ratio of truth to estimate. Local force fields are considered on 64 x 64
sites too, where `auto` would take `poles`; `kpm` chooses its colours.

Usage: python tools/bench/choice.py [--states 8] [--side 64]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter

import numpy as np
from shared import evaluated

import forcefields.auto
from forcefields.auto import Auto
from forcefields.choice import Chooser
from forcefields.kpm import KernelPolynomial
from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice
from latticemd.forcefield import Electrons


def auto(model: Holstein, tolerance: float, x: np.ndarray, out: Electrons) -> tuple[str, float]:
    """What `auto` takes, and its estimate."""
    chosen, estimate = Chooser("auto", tolerance, Auto(tolerance).candidates).serve(model, x, 0, out)
    return chosen.title, estimate


def kpm(model: Holstein, tolerance: float, x: np.ndarray, out: Electrons) -> tuple[str, float]:
    """The colours that `kpm` takes, and its estimate."""
    forcefield = KernelPolynomial(tolerance=tolerance)
    forcefield.prepare(model, 1)
    colours, estimate = forcefield.serve(model, x, out)
    return f"{colours} colours", estimate


def main() -> int:
    """Print one line per case and return 1 if an estimate was optimistic."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    arguments = parser.parse_args()
    forcefields.auto.EXACT_SITES = 0
    optimistic = 0
    cases = itertools.product(((3.5, 5.27), (1.5, 1.0), (1.5, 0.3), (1.5, 0.1)), (1e-2, 1e-3, 1e-4, 1e-5), (auto, kpm))
    for (coupling, width), tolerance, choose in cases:
        model = Holstein(Lattice("square", (arguments.side, arguments.side)), coupling=coupling)
        taken: Counter[str] = Counter()
        ratios = [0.0]
        for seed in range(arguments.states):
            x = width * np.random.default_rng(seed).normal(size=(1, model.lattice.sites, 1))
            out = Electrons.empty(1, model)
            title, estimate = choose(model, tolerance, x, out)
            taken[title] += 1
            if title != "poles":
                error = out.density - evaluated(PoleExpansion(), model, x)().density
                ratios.append(float(np.sqrt(np.mean(np.square(error)))) / estimate)
        optimistic += sum(ratio > 1.0 for ratio in ratios)
        print(f"{choose.__name__}, g = {coupling}, width {width:4}, tolerance {tolerance:g}: largest error / estimate "
              f"{max(ratios):.2f}; {', '.join(f'{n} x {title}' for title, n in taken.items())}", flush=True)  # fmt: skip
    print(f"{optimistic} estimates were optimistic")
    return int(optimistic > 0)


if __name__ == "__main__":
    sys.exit(main())
