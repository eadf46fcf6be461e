"""What a network costs per site as a share of matrix products, against its limits.

Five 3 x 3 convolutions between 32 features of a site (`cnn` with two blocks: 76 thousand operations per site) and an `enn` of the
same reach, first weights, in single precision and one thread, with everything that a force takes: features, tiles and their halos.
Matrix products of 1024 x 1024 are measured in turns with the networks, in processor time, so that a busy machine shifts both.

Usage: python tools/bench/networks.py [--sides 64 256 1024] [--repeats 5]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import statistics
from collections.abc import Callable

import torch
from shared import processor_seconds
from torch import nn

from forcefields.equivariant import Convolution
from forcefields.networks.forcefield import in_tiles, make_fast
from latticemd import Holstein, Lattice
from latticemd.learning.networks import build_network

LIMITS = {64: 0.75, 256: 0.85, 1024: 0.80}  # of sgemm, for the plain network
PLANS = {
    "cnn": {"features": "raw", "channels": 32, "blocks": 2},
    "enn": {"features": "raw", "scalars": 0, "regular": 2, "directed": 0, "blocks": 4},
}
SIZE = 1024  # of the matrices


def operations(module: nn.Module) -> int:
    """Multiplications and additions per site of all convolutions; an odd feature is worked on as often as it has components."""
    found = 0
    for part in module.modules():
        if isinstance(part, Convolution):
            found += 2 * part.kernel().numel()
        elif hasattr(part, "weight"):
            found += 2 * part.weight.numel()  # type: ignore[operator]
    return found


def network(name: str, side: int) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """A network with its first weights, and its force on side x side sites as a running force field gets it."""
    model = Holstein(Lattice("square", (side, side)))
    module = build_network(name, PLANS[name], model).float()
    make_fast(module)
    x = torch.randn(1, side * side, 1)

    def force() -> torch.Tensor:
        with torch.no_grad():
            return in_tiles(module, model, x)[0]

    return module, force


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    a = torch.randn(SIZE, SIZE)
    print("| network | sites | operations per site | us/site | share of sgemm | limit |\n|---|---|---|---|---|---|")
    for name in PLANS:
        for side in arguments.sides:
            module, force = network(name, side)
            force(), a @ a
            shares, times = [], []
            for _ in range(arguments.repeats):
                rate = 2.0 * SIZE**3 / processor_seconds(lambda: a @ a)
                times.append(processor_seconds(force) / side**2)
                shares.append(operations(module) / times[-1] / rate)
            limit = f"{LIMITS[side]:.2f}" if name == "cnn" and side in LIMITS else "-"
            print(
                f"| `{name}` | {side} x {side} | {operations(module)} | {1e6 * statistics.median(times):.2f} | "
                f"{statistics.median(shares):.2f} | {limit} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
