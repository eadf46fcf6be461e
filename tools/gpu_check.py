"""Everything there is to know about a fresh machine with a GPU, in one command: python tools/gpu_check.py [--output DIR].

Runs the tests that need a card, compares force fields with the CPU, measures how fast memory and arithmetic are at best, and
what share of that propagation, `kpm`, `cavity`, `window`, `ed` and `poles` reach; then up to which size launches decide how long a
step takes, and how large a lattice, or how many replicas, it takes for a GPU to be worth it. A short table comes last;
DIR/gpu_check.json and DIR/gpu_check.md hold all of it. At most eight minutes: what has no time left is named and left out. With
NUMBA_ENABLE_CUDASIM=1 and --quick it rehearses without a card.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forcefields.cavity import Cavity
from forcefields.ed import ExactDiagonalisation
from forcefields.kpm import KernelPolynomial
from forcefields.poles import PoleExpansion
from forcefields.window import Window
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System, __version__
from latticemd.backends import gpu, on_host
from latticemd.forcefield import Electrons, ForceField
from latticemd.integrators import load_integrator

SECONDS = 460.0  # of the eight minutes; the rest is for imports
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Row:
    """One line of the table; `share` is of the ceiling named."""

    what: str
    size: str
    value: float
    unit: str
    share: float | None = None
    ceiling: str = ""


@dataclass
class Report:
    """What has been found so far."""

    quick: bool
    started: float = field(default_factory=time.perf_counter)
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def section(self, name: str, measure: Callable[[Report], None], seconds: float) -> None:
        """Measure something unless less than so many seconds are left; a failure is part of the report."""
        if not self.quick and time.perf_counter() - self.started > SECONDS - seconds:
            self.left_out.append(f"{name}: no time left")
            return
        print(f"[{time.perf_counter() - self.started:5.0f} s] {name}", flush=True)
        try:
            measure(self)
        except Exception as error:  # one broken kernel must not hide the others
            self.left_out.append(f"{name}: {type(error).__name__}: {error}")

    def add(self, *row: Any, **more: Any) -> None:
        """One more line."""
        self.rows.append(Row(*row, **more))


def seconds_of(call: Callable[[], Any], budget: float = 1.0) -> float:
    """Median time of a call on the device, in batches that last long enough to be timed; the first call compiles."""
    from latticemd.backends.cuda.arrays import synchronize

    def batch(count: int) -> float:
        synchronize()
        began = time.perf_counter()
        for _ in range(count):
            call()
        synchronize()
        return (time.perf_counter() - began) / count

    batch(1)
    once = batch(1)
    count = max(1, min(200, int(0.05 / once)))
    rounds = max(1, min(7, int(budget / (count * once))))
    return statistics.median(batch(count) for _ in range(rounds))


def tests(report: Report) -> None:
    """The cases that the simulator runs too, on the card."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    command += ["tests/device_cases.py"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
        report.facts["tests"] = {"passed": done.returncode == 0, "last_line": lines[-1], "output": done.stdout[-8000:]}
    except subprocess.TimeoutExpired:
        report.facts["tests"] = {"passed": False, "last_line": "not done in 200 s"}


def ceilings(report: Report) -> None:
    """Copies within the device, multiply-adds in registers, and matrix products."""
    from cuda_kernels.ceiling import OPERATIONS, multiply_adds
    from latticemd.backends.cuda.arrays import launch, zeros

    numbers = 2**16 if report.quick else 2**27
    a, b = zeros(numbers), zeros(numbers)

    def copy() -> None:
        b[...] = a

    report.facts["copy"] = 16.0 * numbers / seconds_of(copy)
    report.add("copy", f"{8 * numbers / 2**20:.0f} MiB", report.facts["copy"] / 1e9, "GB/s")
    blocks, turns = (2, 2) if report.quick else (4096, 2048)
    out = zeros(blocks * 128, np.float32)
    took = seconds_of(lambda: launch(multiply_adds, blocks, turns, np.float32(1e-6), out, threads=128))
    report.facts["fp32"] = float(OPERATIONS) * turns * blocks * 128 / took
    report.add("float32 multiply-adds", "registers", report.facts["fp32"] / 1e12, "TFLOP/s")
    n = 64 if report.quick else 8192
    c = zeros((n, n), np.float32)
    product = 2.0 * n**3 / seconds_of(lambda: c @ c)
    report.add("float32 matrix product", f"{n}", product / 1e12, "TFLOP/s", product / report.facts["fp32"], "float32")


def positions(model: Holstein, replicas: int = 1) -> np.ndarray:
    """Disorder of width 1, (R, N, 1): `B disorder` of tools/bench."""
    return np.random.default_rng(0).normal(size=(replicas, model.lattice.sites, 1))


def square(side: int, coupling: float = 1.5) -> Holstein:
    """The model of all benches at kT = 0.1."""
    return Holstein(Lattice("square", (side, side)), coupling=coupling)


def on_card(
    forcefield: ForceField, model: Holstein, replicas: int = 1, precision: Any = np.float64
) -> Callable[[], Electrons]:
    """A call that evaluates a force field on the device."""
    state = State.at_rest(positions(model, replicas)).on_device(precision)
    out = Electrons.empty(replicas, model).beside(state.x)
    forcefield.prepare(model, replicas)

    def call() -> Electrons:
        forcefield.evaluate(model, state.x, 0, out)
        return out

    return call


def agreement(report: Report) -> None:
    """Largest difference of a force between the GPU and the CPU."""
    side = 8 if report.quick else 32
    fields: dict[str, tuple[ForceField, int]] = {
        "ed": (ExactDiagonalisation(), side),
        "poles": (PoleExpansion(), side),
        "cavity 1": (Cavity(radius=1), 2 * side),
        "cavity 1 float32": (Cavity(radius=1, precision="float32"), 2 * side),
        "window 5": (Window(width=5), 2 * side),
        "window 5 float32": (Window(width=5, precision="float32"), 2 * side),
        "kpm": (KernelPolynomial(colours=8), side),
    }
    if report.quick:
        fields = {"ed": fields["ed"]}
    for name, (forcefield, extent) in fields.items():
        try:
            model = square(extent)
            forces = on_host(on_card(forcefield, model)().force)
            out = Electrons.empty(1, model)
            forcefield.prepare(model, 1)
            forcefield.evaluate(model, positions(model), 0, out)
            worst = float(np.abs(forces - out.force).max())
            report.add(f"GPU - CPU, {name}", f"{extent} x {extent}", worst, "largest force")
        except Exception as error:
            report.left_out.append(f"agreement of {name}: {type(error).__name__}: {error}")


def propagation(report: Report) -> None:
    """A string BAOA as `langevin` has it: 40 bytes for each degree of freedom in double precision, and its noise."""
    from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK
    from latticemd.backends import cuda

    letters = np.array([KICK, DRIFT, ORNSTEIN_UHLENBECK, DRIFT])
    numbers = np.array([[0.01, 0.0, 0.0], [0.01, 0.0, 0.0], [0.99, 0.1, 0.0], [0.01, 0.0, 0.0]])
    for side in (16,) if report.quick else (256, 1024, 4096):
        for precision, size in ((np.float64, 8), (np.float32, 4)):
            state = State.at_rest(np.zeros((1, side * side, 1)))
            state.thermostat["heat"] = np.zeros(1)
            state = state.on_device(precision)
            for word, some, numbers_moved in (("BAOA", slice(None), 5), ("B", slice(1), 3)):
                took = seconds_of(
                    lambda s=state, some=some: cuda.split(
                        letters[some], numbers[some], s.x, s.p, s.f, (1, 1, 1, 0), 0, 1.0, s.thermostat["heat"]
                    )
                )
                rate = numbers_moved * size * side * side / took
                name = f"propagation {word} {np.dtype(precision).name}"
                report.add(name, f"{side} x {side}", side * side / took, "sites/s", rate / report.facts["copy"], "copy")


def chebyshev(report: Report) -> None:
    """`kpm` with 8 x 8 colours and 100 moments: a step reads two fields of vectors and writes one."""
    colours, moments, sides = (2, 4, (8,)) if report.quick else (8, 100, (256, 1024))
    for side in sides:
        for precision, size in (("float64", 8), ("float32", 4)):
            forcefield = KernelPolynomial(colours=colours, moments=moments, precision=precision)
            took = seconds_of(on_card(forcefield, square(side)))
            rate = 3.0 * size * colours**2 * side * side * (moments - 1) / took
            report.add(
                f"kpm {precision}, 100 moments", f"{side} x {side}", side * side / took, "sites/s",
                rate / report.facts["copy"], "copy",
            )  # fmt: skip


def patches(report: Report) -> None:
    """`cavity`: operations are those of elimination and sweeps, counted from the program of the patch."""
    from forcefields.cavity.elimination import FACTOR, FILL, PIVOT, UPDATE, elimination
    from forcefields.cavity.expansion import expansion

    costs = {UPDATE: 8, FILL: 7, FACTOR: 6, PIVOT: 6}
    for radius, precisions in ((1, ("float32", "float64")), (2, ("float32",))):
        flops = sum(costs.get(int(step[0]), 2) for step in elimination(radius)[0]) + 2 * 60
        for precision in precisions:
            for side in (8 * radius,) if report.quick else (256, 1024, 2048):
                model = square(side)
                width = 1.5 * float(np.abs(positions(model)).max()) + 4.0
                poles = len(expansion(0.1, width, 1e-6, None).poles)
                took = seconds_of(on_card(Cavity(radius=radius, precision=precision), model))
                report.add(
                    f"cavity {radius} {precision}", f"{side} x {side}", side * side / took, "sites/s",
                    poles * flops * side * side / took / report.facts["fp32"], "float32",
                )  # fmt: skip


def windows(report: Report) -> None:
    """`window`: eleven operations for each site of the window and each second moment."""
    from forcefields.window.expansion import half_width, order_for

    for width, precision in ((5, "float32"),) if report.quick else ((13, "float32"), (21, "float32"), (13, "float64")):
        for side in (8,) if report.quick else (256, 1024):
            forcefield = Window(width=width, precision=precision, tolerance=3e-4)
            order = order_for(0.1 / half_width(44), 3e-4)  # 44: a = 6.7, which most windows of this state have
            took = seconds_of(on_card(forcefield, square(side)))
            report.add(
                f"window {width} {precision}", f"{side} x {side}", side * side / took, "sites/s",
                11.0 * width**2 * order / 2 * side * side / took / report.facts["fp32"], "float32",
            )  # fmt: skip


def dense(report: Report) -> None:
    """`ed` and `poles` by dense matrices: large ones, and many small ones together."""
    for side, replicas in ((4, 2),) if report.quick else ((16, 64), (30, 1), (50, 1)):
        for name, forcefield in (("ed", ExactDiagonalisation()), ("poles", PoleExpansion(tolerance=1e-6))):
            took = seconds_of(on_card(forcefield, square(side), replicas))
            report.add(f"{name}, {replicas} replicas", f"{side} x {side}", 1e3 * took, "ms for a force")


def networks(report: Report) -> None:
    """The network that comes with the package, base and all, in single precision."""
    from forcefields.networks.forcefield import Enn

    for side in (14,) if report.quick else (64, 256, 1024):
        took = seconds_of(on_card(Enn(model="holstein_demo", precision="float32"), square(side), precision=np.float32))
        report.add("network holstein_demo", f"{side} x {side}", side * side / took, "sites/s")


def launch_bound(report: Report) -> None:
    """Time of a step of `langevin` against sites and replicas: small ones take that of their launches, whatever their size.

    Printed last for each force field is the number of sites, of all replicas together, at which a step takes twice as long.
    """
    fields: list[tuple[str, ForceField, int]] = [
        ("cavity 1", Cavity(radius=1, precision="float32"), 8),
        ("window 13", Window(width=13, precision="float32", tolerance=3e-4), 14),
    ]
    for name, forcefield, least in fields[: 1 if report.quick else 2]:
        sides = [least, 2 * least] if report.quick else [least * 2**n for n in range(8)]
        for what, sizes in (
            ("sites", [(side, 1) for side in sides]),
            ("replicas", [(least, 4**n) for n in range(len(sides))]),
        ):
            seen: list[tuple[int, float]] = []
            for side, replicas in sizes:
                made = load_integrator("langevin")(dt=0.05, temperature=Ramp.constant(0.1), friction=0.2)
                state = State.at_rest(positions(square(side), replicas)).on_device()
                run = Simulation(System(square(side), forcefield, replicas), made, state)
                took = seconds_of(lambda s=run: s.integrator.step(s.state, s.system), 0.3)
                seen.append((replicas * side * side, took))
                report.add(f"langevin + {name}, step", f"{side} x {side} x {replicas}", 1e6 * took, "us")
                if took > 4.0 * seen[0][1]:
                    break
            found = twice(seen)
            size = "" if found else f"beyond {seen[-1][0]}"
            report.add(f"  twice its launches, more {what}", size, found or seen[-1][0], "sites")


def twice(seen: list[tuple[int, float]]) -> float | None:
    """The size at which a time has doubled, from sizes and times, by logarithms between them; None if it does not."""
    bound = 2.0 * seen[0][1]
    for (small, before), (large, after) in itertools.pairwise(seen):
        if before <= bound < after:
            share = math.log(bound / before) / math.log(after / before)
            return float(small * (large / small) ** share)
    return None


def break_even(report: Report) -> None:
    """Steps of `langevin` with `cavity` of radius 1 in both places, for growing lattices and for many replicas of a small one."""
    sizes = (
        [(8, 1)] if report.quick else [(8, 1), (32, 1), (64, 1), (128, 1), (256, 1), (512, 1), (16, 256), (16, 4096)]
    )
    for side, replicas in sizes:
        took = {}
        for place in ("cpu", "gpu"):
            model, state = square(side), State.at_rest(positions(square(side), replicas))
            made = load_integrator("langevin")(dt=0.05, temperature=Ramp.constant(0.1), friction=0.2)
            system = System(model, Cavity(radius=1, precision="float32"), replicas)
            simulation = Simulation(system, made, state if place == "cpu" else state.on_device())
            took[place] = seconds_of(lambda s=simulation: s.integrator.step(s.state, s.system), 0.5)
            rate = replicas * side * side / took[place]
            report.add(f"langevin + cavity 1, {place}", f"{side} x {side} x {replicas}", rate, "sites/s")
        report.add("  GPU over CPU", f"{side} x {side} x {replicas}", took["cpu"] / took["gpu"], "times")


def markdown(report: Report) -> str:
    """The table as docs have it."""
    lines = [f"# {report.facts['card']}", "", "| what | size | value | unit | share |", "|---|---|---|---|---|"]
    for row in report.rows:
        share = f"{100 * row.share:.0f} % of {row.ceiling}" if row.share is not None else ""
        lines.append(f"| {row.what} | {row.size} | {row.value:.4g} | {row.unit} | {share} |")
    verdict = report.facts.get("tests", {}).get("last_line", "not run")
    return "\n".join(
        [*lines, "", f"Tests on the card: {verdict}", *(f"- left out: {one}" for one in report.left_out), ""]
    )


def main() -> int:
    """Measure, write, and print the table last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gpu_check"), help="directory of the JSON and the Markdown")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, to rehearse")
    options = parser.parse_args()
    gpu.require_gpu()
    report = Report(options.quick)
    report.facts.update(card=gpu.description(), version=__version__, python=sys.version.split()[0])
    for name, measure, seconds in (
        ("ceilings", ceilings, 10), ("propagation", propagation, 15), ("cavity", patches, 60), ("window", windows, 60),
        ("kpm", chebyshev, 20), ("agreement with the CPU", agreement, 60), ("ed and poles", dense, 20),
        ("networks", networks, 20), ("launches", launch_bound, 30), ("break-even", break_even, 30),
        ("tests on the card", tests, 200),
    ):  # fmt: skip
        if not (options.quick and measure is tests):
            report.section(name, measure, seconds)
    options.output.mkdir(parents=True, exist_ok=True)
    facts = {**report.facts, "rows": [vars(row) for row in report.rows], "left_out": report.left_out}
    (options.output / "gpu_check.json").write_text(json.dumps(facts, indent=1) + "\n")
    table = markdown(report)
    (options.output / "gpu_check.md").write_text(table)
    print(table)
    return 0 if report.facts.get("tests", {}).get("passed", options.quick) and not report.left_out else 1


if __name__ == "__main__":
    sys.exit(main())
