"""Whether another checkout was faster: the square Holstein model, force field by force field, both checkouts in turn.

    git worktree add ../before COMMIT
    python tools/bench/fast_path.py ../before

Prints milliseconds of one evaluation in either checkout, the best of three processes each, and their ratio: the ratio means
something on a busy machine, the milliseconds do not. Takes about a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
ROUNDS, REPEATS = 3, 7


def measure() -> dict[str, float]:
    """Milliseconds of one evaluation, with whatever checkout comes first on the path."""
    import numpy as np

    from forcefields.cavity import Cavity
    from forcefields.ed import ExactDiagonalisation
    from forcefields.kpm import KernelPolynomial
    from forcefields.poles import PoleExpansion
    from forcefields.window import Window
    from latticemd import Holstein, Lattice
    from latticemd.forcefield import Electrons

    found = {}
    cases = {
        "ed": (ExactDiagonalisation(), 16),
        "poles": (PoleExpansion(), 32),
        "cavity, radius 1, float32": (Cavity(radius=1, precision="float32"), 512),
        "cavity, radius 2": (Cavity(radius=2), 128),
        "window, width 9, float32": (Window(width=9, moments=64, precision="float32"), 128),
        "kpm, 4 x 4 colours": (KernelPolynomial(colours=4, moments=64), 128),
    }
    for name, (forcefield, side) in cases.items():
        model = Holstein(Lattice("square", (side, side)))
        x, out = np.random.default_rng(0).normal(size=(1, side * side, 1)), Electrons.empty(1, model)
        forcefield.prepare(model, 1)
        found[f"{name}, {side} x {side}"] = _best(lambda: forcefield.evaluate(model, x, 0, out))  # noqa: B023
        forcefield.close()
    model = Holstein(Lattice("square", (512, 512)))
    x, electronic = np.random.default_rng(0).normal(size=(2, 1, 512 * 512, 1))
    force = np.empty_like(x)
    found["elastic force, 512 x 512"] = _best(lambda: model.total_force(x, electronic, force))
    return found


def _best(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    return min(times)


def _in(checkout: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-P", __file__, "--measure"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure both checkouts in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", nargs="?", type=Path, help="another checkout of this project")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure()))
        return
    if arguments.other is None:
        parser.error("which other checkout?")
    rounds = [(_in(arguments.other.resolve()), _in(HERE)) for _ in range(ROUNDS)]
    print(f"{'evaluation':40} {'other/ms':>9} {'this/ms':>9} {'this/other':>11}")
    for name in rounds[0][0]:
        other, this = (min(one[side][name] for one in rounds) for side in (0, 1))
        print(f"{name:40} {other:9.3f} {this:9.3f} {this / other:11.2f}")


if __name__ == "__main__":
    main()
