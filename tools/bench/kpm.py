"""What a Chebyshev step costs against memory bandwidth and against SciPy, and how accurate colourings are.

Measures, side by side in one process, interleaved, on one thread and in processor time, so that a busy machine shifts all of
them and not their ratios:

- a step of the compiled kernel per site and vector, gathering included, against the block-traffic floor: the time in which
  an implementation that keeps all vectors in memory could at best read T_k, read T_{k-1} and write T_{k+1} over it, that is 3
  numbers per site, step and vector at the rate of the loop y = 2 x - y over arrays that no cache holds;
- the same against the product of a SciPy CSR matrix and a vector, which is most of a step without kernels;
- the rms and the largest error of the density against exact diagonalisation for several colourings, on ordered,
  disordered and nearly free states, at strong coupling and at low temperature;
- what the force and the free energy have to do with each other: |dOmega/dh + F.d| / |F| along random directions d;
- the memory a call takes, against what the force field says.

Usage: python tools/bench/kpm.py [--sides 256 512 1024] [--repeats 7] [--side 24]
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import statistics
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from scipy import sparse
from shared import evaluated, processor_seconds

from forcefields.ed import ExactDiagonalisation
from forcefields.kpm import KernelPolynomial
from forcefields.kpm.chebyshev import fermi_series, intervals
from forcefields.kpm.square import OnSquare
from latticemd import Holstein, Lattice
from latticemd.models.hamiltonian import Hamiltonian

FLOOR_LIMITS = {"float64": 0.8, "float32": 1.1}  # step / block-traffic floor, from 256 x 256 sites on
CSR_LIMIT = 4.0  # product with a CSR matrix / step
ERROR_LIMITS = {("A", 6): 2e-3, ("A", 8): 4e-4, ("A", 12): 2e-5, ("B", 12): 8e-3, ("C", 12): 8e-3}  # rms
COLOURS = (4, 6, 8, 12)
MOMENTS = 250  # of the measured calls: what kT = 0.1 asks for at g = 1.5


@numba.njit
def stream(x: np.ndarray, y: np.ndarray) -> None:
    """The traffic of a step whose vectors lie in memory."""
    for i in range(x.size):
        y[i] = 2 * x[i] - y[i]


def sparse_hamiltonian(model: Holstein, x: np.ndarray, kind: str) -> Any:
    """H of the first replica as a CSR matrix."""
    hops, sites = model.hops(), model.lattice.sites
    upper = sparse.csr_array((hops.amplitude, (hops.i, hops.j)), shape=(sites, sites))
    return (upper + upper.T + sparse.diags_array(model.onsite(x)[0])).tocsr().astype(kind)


def measure_speed(side: int, repeats: int) -> bool:
    """Print nanoseconds per site and step for one lattice; whether limits are met."""
    model = Holstein(Lattice("square", (side, side)))
    x = np.random.default_rng(0).normal(size=(1, side * side, 1))
    hamiltonian, met = Hamiltonian.of(model, x), True
    bounds = intervals(hamiltonian, model.lattice)
    series = [fermi_series(bounds[0], 0.0, 0.1).cut(MOMENTS)]
    for precision in FLOOR_LIMITS:
        kind = getattr(np, precision)
        numbers = 2**27 // np.dtype(kind).itemsize
        big, other, vector = np.ones(numbers, kind), np.ones(numbers, kind), np.ones(side * side, kind)
        matrix = sparse_hamiltonian(model, x, precision)
        kernel = OnSquare((side, side), -1.0, 8, None, kind)
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "step": (lambda kernel=kernel: kernel.propagate(hamiltonian, bounds, series), 64 * MOMENTS * side**2),
            "floor": (lambda big=big, other=other: stream(big, other), numbers),
            "csr": (lambda matrix=matrix, vector=vector: matrix @ vector, side**2),
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for call, _ in calls.values():
            call()
        for _ in range(repeats):
            for name, (call, sites) in calls.items():
                seconds[name].append(1e9 * processor_seconds(call) / sites)
        ns = {name: statistics.median(values) for name, values in seconds.items()}
        against_floor, against_csr, limit = ns["step"] / ns["floor"], ns["csr"] / ns["step"], FLOOR_LIMITS[precision]
        print(f"{side:5d}  {precision}  {ns['step']:5.3f}  {ns['floor']:5.3f}  {against_floor:10.2f}  {limit:5.1f}"
              f"  {ns['csr']:6.2f}  {against_csr:10.1f}  {CSR_LIMIT:5.0f}")  # fmt: skip
        met &= (against_floor <= limit or side < 256) and against_csr >= CSR_LIMIT
    return met


def states_of(side: int) -> Iterator[tuple[str, Holstein, np.ndarray]]:
    """Models with positions (R, N, 1): what the letters mean stands in the first column of the table."""
    lattice, noise = Lattice("square", (side, side)), np.random.default_rng(1).normal(size=(3, side * side, 1))
    model = Holstein(lattice)
    ordered = model.ordered(1.2)[None] + 0.3 * noise
    yield "A ordered, gap 2 t", model, ordered
    yield "B disordered, g = 1.5", model, noise
    yield "C nearly free, g = 0.15", Holstein(lattice, coupling=0.15), noise
    yield "D disordered, g = 3.5", Holstein(lattice, coupling=3.5), 5.27 * noise
    yield "E ordered, gap 2 t, kT = 0.02", Holstein(lattice, electronic_temperature=0.02), ordered
    yield "S ordered, gap 0.8 t", model, model.ordered(0.67)[None] + 0.3 * noise
    yield "M ordered as in mean field", model, model.ordered(2.4)[None] + 0.3 * noise
    yield "F disordered, g = 1.5, kT = 0.02", Holstein(lattice, electronic_temperature=0.02), noise


def measure_errors(side: int) -> bool:
    """Print errors of the density and of the energy for each state and colouring; whether they are as documented."""
    met = True
    print(f"\n{side} x {side} sites, three states each, tolerance 1e-6, kT = 0.1 where nothing else is said")
    print(
        "state                             moments  colours  rms error  largest  energy/site  |dOmega + F.d|/|F|  limit"
    )
    for name, model, x in states_of(side):
        exact = evaluated(ExactDiagonalisation(), model, x)()
        bounds = intervals(Hamiltonian.of(model, x), model.lattice)
        moments = max(fermi_series(one, 0.0, model.electronic_temperature).enough(1e-6) for one in bounds)
        for colours in (*COLOURS, side):
            forcefield = KernelPolynomial(colours=colours, tolerance=1e-6)
            out = evaluated(forcefield, model, x)()
            error, limit = out.density - exact.density, ERROR_LIMITS.get((name[0], colours))
            rms, energy = float(np.sqrt((error**2).mean())), np.abs(out.energy - exact.energy).max() / side**2
            mismatch = gradient_mismatch(forcefield, model, x[:1])
            print(f"{name:<34}{moments:7d}  {colours:7d}  {rms:9.1e}  {np.abs(error).max():7.1e}  {energy:11.1e}"
                  f"  {mismatch:18.1e}  {limit or ''}")  # fmt: skip
            met &= limit is None or rms <= limit
    return met


def gradient_mismatch(forcefield: KernelPolynomial, model: Holstein, x: np.ndarray, h: float = 1e-3) -> float:
    """Rms of (dOmega/dh + F.d)/|F| over four random directions d of unit variance per site."""
    force, found = evaluated(forcefield, model, x)().force.copy(), []
    for seed in range(4):
        d = np.random.default_rng(seed).normal(size=x.shape)
        up, down = (float(evaluated(forcefield, model, x + s * h * d)().energy[0]) for s in (1, -1))
        found.append((up - down) / (2 * h) + float(np.vdot(force, d)))
    return float(np.sqrt(np.mean(np.square(found))) / np.linalg.norm(force))


def measure_memory(side: int = 512) -> bool:
    """Print the memory one call takes beside what is announced; whether it stays below."""
    model, met = Holstein(Lattice("square", (side, side))), True
    x = np.random.default_rng(0).normal(size=(1, side * side, 1))
    print()
    for forcefield in (
        KernelPolynomial(colours=4, moments=20),
        KernelPolynomial(vectors="random", random_vectors=16, moments=20),
    ):
        call = evaluated(forcefield, model, x)
        announced = forcefield.capabilities(model, 1).bytes_needed
        model.hops()  # tables of the lattice are the model's
        tracemalloc.start()
        call()
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{side} x {side} sites, {forcefield.vectors}: {taken / 2**20:.0f} MiB taken beside the buffers of compiled"
              f" code, {announced / 2**20:.0f} MiB announced")  # fmt: skip
        met &= taken <= announced
    return met


def main() -> int:
    """Print all tables and return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="*", default=[256, 512, 1024])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--side", type=int, default=24, help="of the lattices whose errors are measured")
    arguments = parser.parse_args()
    print("nanoseconds of processor time per site, step and vector")
    print(" side  precision  step  floor  step/floor  limit     csr    csr/step  limit")
    met = True
    for side in arguments.sides:
        met &= measure_speed(side, arguments.repeats)
    met &= measure_errors(arguments.side)
    met &= measure_memory()
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
