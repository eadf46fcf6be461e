"""The page of benchmarks: runs the scripts of tools/bench and keeps what they print in docs/benchmarks, each with its command.

Benches compare with a limit or a ceiling that they measure in the same process, interleaved, most of them in processor time of one
thread, so that a busy machine shifts both sides alike. `docs/benchmarks.md` includes the files.

Usage: python tools/benchmarks.py [NAME ...] [--list]      (all of them: about ten minutes of one core)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from latticemd import __version__

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "benchmarks"
# What is measured for the page, smaller than a script's defaults where those take long.
COMMANDS = {
    "step_cost": ("--side", "24", "--repeats", "7"),
    "engine_overhead": ("--side", "512", "--repeats", "9"),
    "poles": ("--sides", "30", "--repeats", "3", "--states", "A", "B"),
    "cavity": ("--side", "128", "--repeats", "5", "--states", "12"),
    "window": ("--side", "48", "--repeats", "5"),
    "kpm": ("--sides", "256", "--repeats", "5", "--side", "16"),
    "minimization": ("--side", "8", "--seeds", "2"),
}


def main() -> int:
    """Run the named benches, or all; 1 if one did not keep its limits, which its file says too."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *COMMANDS], metavar="NAME")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(COMMANDS))
        return 0
    KEPT.mkdir(exist_ok=True)
    exceeded = [name for name in arguments.names or COMMANDS if not kept(name)]
    print("beyond its limits: " + ", ".join(exceeded) if exceeded else "all within their limits")
    return bool(exceeded)


def kept(name: str) -> bool:
    """Run one bench into its file; whether it kept its limits. Raises RuntimeError where it does not run at all."""
    words = ["tools/bench/" + f"{name}.py", *COMMANDS[name]]
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    about = f"{date.today()}, latticemd {__version__}, one thread, {load:.1f} processes waiting per processor"
    verdict = "" if done.returncode == 0 else "beyond a limit\n"
    (KEPT / f"{name}.txt").write_text(f"$ python {' '.join(words)}\n{about}\n\n{done.stdout.rstrip()}\n{verdict}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
