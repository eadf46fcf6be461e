"""Which graphs do networks tell apart? All connected graphs of 8 nodes (graph8c), by GIN alone and in frames.

Usage: python tools/graph8c.py [--nodes 8] [--seed 0]

Prints how many of all pairs of graphs a network with random weights leaves undistinguished, for features that differ by less
than a millionth of their spread.
"""

from __future__ import annotations

import argparse
import time

import torch

from forcefields.points.graph_frames import GIN, features_of, undistinguished
from forcefields.points.graphs import connected_graphs

CLOSER = 1e-6


def main() -> None:
    """Make the graphs and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=8, choices=range(2, 9))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    graphs = connected_graphs(given.nodes)
    print(f"{len(graphs)} connected graphs of {given.nodes} nodes, {len(graphs) * (len(graphs) - 1) // 2} pairs")
    for name, identities, framed in (("GIN", False, False), ("frames of GIN + id", True, True)):
        torch.manual_seed(given.seed)
        started = time.perf_counter()
        features = features_of(GIN(given.nodes, identities=identities), graphs, framed)
        alike = undistinguished(features, CLOSER)
        print(f"{name:20} {alike:6d} undistinguished pairs, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
