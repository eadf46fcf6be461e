"""Make the charged-particle benchmark and say how hard it is.

Usage: python tools/nbody.py FILE.h5 [--seed 0]

Writes 3000/2000/2000 trajectories (`forcefields.points.nbody`), some four seconds of one core, and prints the errors of two
predictions that learn nothing: that particles stay, and that they keep their velocity.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from forcefields.points.nbody import HORIZON, mean_square_error, read_charged, write_charged


def main() -> None:
    """Write and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.perf_counter()
    write_charged(given.file, given.seed)
    print(f"{given.file}: made in {time.perf_counter() - started:.1f} s")
    print(f"{'set':12} {'trajectories':>12} {'at rest':>9} {'constant velocity':>18}   mean square error [length^2]")
    for name, data in read_charged(given.file).items():
        still = mean_square_error(data.x, data.target)
        straight = mean_square_error(data.x + HORIZON * data.v, data.target)
        print(f"{name:12} {len(data):12d} {still:9.4f} {straight:18.4f}")


if __name__ == "__main__":
    main()
