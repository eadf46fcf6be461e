"""What a window force costs per site and how far it is from exact, against its limits.

Measures, side by side in one process, interleaved, on one thread and in processor time, so that a busy machine shifts both
and not their ratio:

- the rate of sgemm, and the share of it that the compiled recursion reaches by counted operations;
- the force on whole lattices against local densities of states by sparse matrix-vector products, one start vector for
  each site: what kwant.kpm does with local vectors. kwant itself is used where it is installed;
- the root mean square error of the density against exact diagonalisation for several states, widths and temperatures;
- the memory a call takes, against what the force field says.

Usage: python tools/bench/window.py [--side 64] [--repeats 9]
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import dataclasses
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from shared import evaluated, processor_seconds

from forcefields.ed import ExactDiagonalisation
from forcefields.window import Window
from forcefields.window.expansion import expansion, half_width, rungs
from forcefields.window.square import OnSquare
from latticemd import Holstein, Lattice

SHARE_LIMIT = 0.45  # of sgemm, single precision
SPEED_LIMIT = 500.0  # against local vectors at 32 x 32 sites and 120 moments
ERROR_LIMIT = 3e-4  # of the density there, the largest on the lattice
WIDTHS = (5, 9, 13, 17, 21)
HOT = 5.27  # width of the initial positions of the published g = 3.5 runs


def operations(width: int, order: int) -> int:
    """Real operations per site that the recursion needs: eleven for each site a vector has reached, in every step.

    Four additions and three multiplications for T_k+1, two each for the two scalar products.
    """
    radius = width // 2
    rows = np.abs(np.arange(-radius, radius + 1))
    steps = np.arange(1, order // 2 + 1)[:, None]
    return 11 * int(np.where(rows <= steps, 2 * np.minimum(radius, steps - rows) + 1, 0).sum())


def states(model: Holstein) -> dict[str, tuple[Holstein, np.ndarray]]:
    """Models and positions (1, N, 1) of the states that errors are quoted for."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, model.lattice.sites, 1))
    half = model.lattice.shape[0] / 2
    column = model.lattice.cells[:, 0] - half / 2
    wall = np.tanh(0.5 * (np.abs((column + 0.5) % (2 * half) - half) - half / 2))
    domains = (1.6 * wall * model.lattice.staggered)[None, :, None] + 0.2 * noise
    cold = dataclasses.replace(model, electronic_temperature=0.02)
    return {
        "ordered (A)": (model, model.ordered(1.5)[None] + 0.3 * noise),
        "domains": (model, domains),
        "random (B)": (model, noise),
        "nearly free (C)": (model, 0.2 * noise),
        "random, g = 3.5": (dataclasses.replace(model, coupling=3.5), HOT * noise),
        "ordered, kT = 0.02": (cold, model.ordered(1.5)[None] + 0.3 * noise),
        "random, kT = 0.02": (cold, noise),
        "nearly free, kT = 0.02": (cold, 0.2 * noise),
    }


def kernel(model: Holstein, x: np.ndarray, width: int, precision: str) -> Callable[[], Any]:
    """A call of the compiled part of a force with 120 moments."""
    square = OnSquare(model.lattice.shape, -model.hopping, width, getattr(np, precision))
    levels = model.onsite(x)
    rung = rungs(square.reach(levels), model.electronic_temperature)
    made = {n: expansion(model.electronic_temperature, half_width(n), 0.0, 120) for n in np.unique(rung).tolist()}
    return lambda: square.solve(levels, rung, made)


def measure_kernel(side: int, repeats: int) -> bool:
    """Print what 120 moments cost and the share of sgemm; whether single precision meets the limit at every width from 9."""
    model, x = states(Holstein(Lattice("square", (side, side))))["ordered (A)"]
    matrix = np.random.default_rng(1).normal(size=(1024, 1024)).astype(np.float32)
    kinds = [(width, precision) for precision in ("float32", "float64") for width in WIDTHS]
    calls = {kind: kernel(model, x, *kind) for kind in kinds}
    forces = {kind: evaluated(Window(kind[0], moments=120, precision=kind[1]), model, x) for kind in kinds}
    for call in [*calls.values(), *forces.values()]:
        call()
    times: dict[Any, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind in kinds:
            seconds = processor_seconds(lambda: matrix @ matrix)
            times[kind].append((seconds, processor_seconds(calls[kind]), processor_seconds(forces[kind])))
    print(f"{side} x {side} sites, 120 moments, one thread")
    print("width  precision  force us/site  kernel us/site  operations  sgemm GFLOP/s  kernel's share")
    met = True
    for (width, precision), values in times.items():
        seconds, kernel_cost, force_cost = (statistics.median(column) for column in zip(*values, strict=True))
        rate, flops = 2e-9 * 1024**3 / seconds, operations(width, 120)
        share = 1e-9 * flops * side**2 / kernel_cost / rate
        limit = f"limit {100 * SHARE_LIMIT:.0f} %" if precision == "float32" and width >= 9 else ""
        met &= not limit or share >= SHARE_LIMIT
        print(f"{width:5d}  {precision:>9}  {1e6 * force_cost / side**2:13.2f}  {1e6 * kernel_cost / side**2:14.2f}"
              f"  {flops:10d}  {rate:13.0f}  {100 * share:12.0f} %  {limit}")  # fmt: skip
    return met


def local_vectors(model: Holstein, x: np.ndarray, sites: range, order: int) -> np.ndarray:
    """Density of `sites` from Chebyshev vectors on the whole lattice, one start vector each."""
    hops, levels = model.hops(), model.onsite(x)[0]
    i, j = np.concatenate([hops.i, hops.j]), np.concatenate([hops.j, hops.i])
    hopping = coo_array((np.tile(hops.amplitude, 2), (i, j)), shape=(len(levels),) * 2)
    a = float(np.abs(levels).max()) + 4.0
    h = (hopping + coo_array((levels, (np.arange(len(levels)),) * 2), shape=hopping.shape)).tocsr() / a
    h = h.astype(complex)  # as kwant does
    series = expansion(model.electronic_temperature, a, 0.0, order).density
    density = np.empty(len(sites))
    for n, site in enumerate(sites):
        before = np.zeros(len(levels), dtype=complex)
        before[site] = 1.0
        now = h @ before
        moments = np.empty(order + 1)
        moments[0], moments[1] = 1.0, now[site].real
        for k in range(1, order // 2 + 1):
            moments[2 * k] = 2.0 * np.vdot(now, now).real - 1.0
            before, now = now, 2.0 * (h @ now) - before
            if k < order // 2:
                moments[2 * k + 1] = 2.0 * np.vdot(now, before).real - moments[1]
        density[n] = series @ moments
    return density


def kwant_vectors(model: Holstein, x: np.ndarray, sites: range, order: int) -> None:
    """Moments of the local densities of states of `sites` by kwant.kpm, spared the search for the interval."""
    import kwant
    from scipy.sparse import csr_matrix

    hops, levels = model.hops(), model.onsite(x)[0]
    h = np.diag(levels)
    h[hops.i, hops.j] = h[hops.j, hops.i] = hops.amplitude
    reach = float(np.abs(levels).max()) + 4.0
    vectors = kwant.kpm.LocalVectors(csr_matrix(h), where=list(sites))
    kwant.kpm.SpectralDensity(
        csr_matrix(h),
        num_moments=order,
        num_vectors=None,
        vector_factory=vectors,
        mean=False,
        rng=0,
        bounds=(-reach, reach),
    )


def measure_against_local_vectors(repeats: int) -> bool:
    """Print the speed of the narrowest window that meets the error limit on state A, against local vectors."""
    model, x = states(Holstein(Lattice("square", (32, 32))))["ordered (A)"]
    exact = evaluated(ExactDiagonalisation(), model, x)().density[0].copy()
    sites = range(64)
    try:
        import kwant  # noqa: F401  (absent from most machines)

        name, other = "kwant.kpm", lambda: kwant_vectors(model, x, sites, 120)
    except ImportError:
        name, other = "its recipe in SciPy (kwant is not installed)", lambda: local_vectors(model, x, sites, 120)
    theirs = np.abs(local_vectors(model, x, sites, 120) - exact[sites]).max()
    for width in (5, 7, 9, 13):
        call = evaluated(Window(width=width, moments=120, precision="float32"), model, x)
        error = np.abs(call().density[0] - exact).max()
        if error <= ERROR_LIMIT:
            break
    ours, reference = [], []
    for _ in range(repeats):
        ours.append(1e6 * processor_seconds(lambda: [call() for _ in range(10)]) / 10 / 1024)
        reference.append(1e6 * processor_seconds(other) / len(sites))
    ratio = statistics.median(reference) / statistics.median(ours)
    print(f"\n32 x 32 sites, state A, 120 moments, local vectors by {name}")
    print(f"local vectors {statistics.median(reference):7.0f} us/site, largest error {theirs:.1e}")
    print(
        f"window {width:2d}     {statistics.median(ours):7.2f} us/site, largest error {error:.1e}   limit {ERROR_LIMIT}"
    )
    print(f"ratio         {ratio:7.0f}                                limit {SPEED_LIMIT:.0f}")
    return ratio >= SPEED_LIMIT and error <= ERROR_LIMIT


def measure_errors() -> None:
    """Print rms errors of the density by the window alone, and what a force costs at the default tolerance."""
    print("\nrms error of the density on 32 x 32 sites (tolerance 1e-9), and us/site in float32 at tolerance 1e-4")
    print("state                   " + "".join(f"{f'width {width}':>17}" for width in WIDTHS))
    for name, (model, x) in states(Holstein(Lattice("square", (32, 32)))).items():
        exact = evaluated(ExactDiagonalisation(), model, x)().density.copy()
        cells = []
        for width in WIDTHS:
            found = evaluated(Window(width=width, tolerance=1e-9), model, x)().density
            error = np.sqrt(np.square(found - exact).mean())
            call = evaluated(Window(width=width, tolerance=1e-4, precision="float32"), model, x)
            call()
            cost = 1e6 * min(processor_seconds(call) for _ in range(3)) / 1024
            cells.append(f"{error:8.0e} {cost:6.1f} us")
        print(f"{name:<24}" + "".join(f"{cell:>17}" for cell in cells))


def measure_memory(side: int = 1024) -> bool:
    """Print the memory one call takes beside what is announced; whether it stays below."""
    model = Holstein(Lattice("square", (side, side)))
    x = np.random.default_rng(0).normal(size=(1, side * side, 1))
    forcefield = Window(width=3, moments=100)
    call = evaluated(forcefield, model, x)
    announced = forcefield.capabilities(model, 1).bytes_needed
    tracemalloc.start()
    call()
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"\n{side} x {side} sites: {taken / 2**20:.0f} MiB taken, {announced / 2**20:.0f} MiB announced")
    return taken <= announced


def main() -> int:
    """Print all tables and return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    met = measure_kernel(arguments.side, arguments.repeats)
    met &= measure_against_local_vectors(arguments.repeats)
    measure_errors()
    met &= measure_memory()
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
