"""Are the errors by which `auto` chooses honest? Estimate against truth on many random states.

For each kind of state and tolerance: what was chosen, how often the estimate was smaller than the true rms error of the
density (never, is the limit), and the largest ratio of truth to estimate. Local force fields are considered on 64 x 64
sites too, where `auto` would take `poles`.

Usage: python tools/bench/choice.py [--states 8]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np
from shared import evaluated

import forcefields.auto
from forcefields.auto import Auto
from forcefields.choice import Chooser
from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice
from latticemd.forcefield import Electrons


def main() -> int:
    """Print one line per case and return 1 if an estimate was optimistic."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=8)
    arguments = parser.parse_args()
    forcefields.auto.EXACT_SITES = 0
    optimistic = 0
    for coupling, width in ((3.5, 5.27), (1.5, 1.0), (1.5, 0.3), (1.5, 0.1)):
        model = Holstein(Lattice("square", (64, 64)), coupling=coupling)
        for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
            taken: Counter[str] = Counter()
            ratios = [0.0]
            for seed in range(arguments.states):
                x = width * np.random.default_rng(seed).normal(size=(1, model.lattice.sites, 1))
                out = Electrons.empty(1, model)
                chosen, estimate = Chooser("auto", tolerance, Auto(tolerance).candidates).serve(model, x, 0, out)
                taken[chosen.title] += 1
                if not chosen.exact:
                    error = out.density - evaluated(PoleExpansion(), model, x)().density
                    ratios.append(float(np.sqrt(np.mean(np.square(error)))) / estimate)
            optimistic += sum(ratio > 1.0 for ratio in ratios)
            print(f"g = {coupling}, width {width:4}, tolerance {tolerance:g}: largest error / estimate {max(ratios):.2f}; "
                  f"{', '.join(f'{n} x {title}' for title, n in taken.items())}", flush=True)  # fmt: skip
    print(f"{optimistic} estimates were optimistic")
    return int(optimistic > 0)


if __name__ == "__main__":
    sys.exit(main())
