"""Forces by pole expansion against the fastest dense eigensolver at hand.

For each state and size, side by side in one process and interleaved so that drifts of the machine cancel:

- bare eigensolvers in float64, without the thermal sums that a force needs as well: LAPACK syevd as `ed` calls it, SciPy's
  evd and evr drivers, NumPy, and torch where it is installed; the fastest one counts;
- the whole force call of `poles` in float64, error of the density at most 1e-9 (limits: 4 times faster at N = 900, 10 at
  N = 2500), and in mixed precision, error at most 1e-6 (limit: 25 times at N = 2500).

Usage: python tools/bench/poles.py [--sides 30 50] [--repeats 5] [--states A B C published]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
from shared import states

from forcefields.ed import ExactDiagonalisation, diagonalise
from forcefields.poles import PoleExpansion
from latticemd import Holstein
from latticemd.forcefield import Electrons, ForceField

EXACT, MIXED = PoleExpansion(), PoleExpansion(precision="mixed", tolerance=3e-7)
ERROR_LIMITS = {"float64": 1e-9, "mixed": 1e-6}
SPEED_LIMITS = {("float64", 30): 4.0, ("float64", 50): 10.0, ("mixed", 50): 25.0}


def eigensolvers(h: np.ndarray) -> dict[str, Callable[[], object]]:
    """Ways to diagonalise the symmetric matrix h; each works on its own copy, made outside the clock where it is destroyed."""
    solvers: dict[str, Callable[[], object]] = {
        "scipy evd": lambda: scipy.linalg.eigh(h, driver="evd", check_finite=False),
        "scipy evr": lambda: scipy.linalg.eigh(h, driver="evr", check_finite=False),
        "numpy": lambda: np.linalg.eigh(h),
    }
    if importlib.util.find_spec("torch"):
        import torch

        tensor = torch.from_numpy(h)
        solvers["torch"] = lambda: torch.linalg.eigh(tensor)
    return solvers


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def dense(model: Holstein, x: np.ndarray) -> np.ndarray:
    """H_el (N, N)."""
    hops, h = model.hops(), np.diag(model.onsite(x)[0])
    h[hops.i, hops.j] = h[hops.j, hops.i] = hops.amplitude
    return h


def compare(name: str, side: int, model: Holstein, x: np.ndarray, repeats: int) -> bool:
    """One line per precision; True if a limit is missed."""
    h = dense(model, x)
    answers = {}
    fields: dict[str, ForceField] = {"ed": ExactDiagonalisation(), "float64": EXACT, "mixed": MIXED}
    for label, forcefield in fields.items():
        answers[label] = Electrons.empty(1, model)
        forcefield.prepare(model, 1)
        forcefield.evaluate(model, x, 0, answers[label])
    solvers = eigensolvers(h)
    times: dict[str, list[float]] = {label: [] for label in ("syevd", *solvers, "float64", "mixed")}
    for _ in range(repeats):
        for label, solver in solvers.items():
            times[label].append(seconds(solver))
        copy = np.asfortranarray(h)
        times["syevd"].append(seconds(lambda: diagonalise(copy)))  # noqa: B023
        for label in ("float64", "mixed"):
            call = lambda: fields[label].evaluate(model, x, 0, answers[label])  # noqa: B023, E731
            times[label].append(seconds(call))
    medians = {label: statistics.median(values) for label, values in times.items()}
    best = min(("syevd", *solvers), key=lambda label: medians[label])
    missed = False
    for label in ("float64", "mixed"):
        error = float(np.abs(answers[label].density - answers["ed"].density).max())
        ratio, limit = medians[best] / medians[label], SPEED_LIMITS.get((label, side))
        missed |= error > ERROR_LIMITS[label] or (limit is not None and ratio < limit)
        print(
            f"{side * side:6d}  {name:18s} {label:8s} {1e3 * medians[label]:8.1f} ms   {best:10s}{1e3 * medians[best]:8.1f} ms"
            f"   {ratio:7.1f} x  limit {limit or 0:4g}   error {error:.1e}  limit {ERROR_LIMITS[label]:g}"
        )
    for forcefield in fields.values():
        forcefield.close()
    return missed


def main() -> int:
    """Print one table and return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[30, 50])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--states", nargs="+", default=[""], help="first letters of the states to measure")
    arguments = parser.parse_args()
    missed = False
    for side in arguments.sides:
        for name, (model, x) in states(side).items():
            if name.startswith(tuple(arguments.states)):
                missed |= compare(name, side, model, x, arguments.repeats)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
