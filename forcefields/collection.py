"""What is read off the fronts of a selected inverse: sums over poles, or every entry at every pole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

_jit = njit(error_model="numpy", cache=True, nogil=True)


@_jit
def sum_entries(
    w: Array, f: int, tree: Any, weights: Array, unit: int, lower: bool, diagonal: Array, bonds: Array
) -> None:
    """sum_p weights_p Re G_ii for the eliminated sites, sum_p weights_p [G_ij + conj G_ji]/2 for the hops of the front."""
    lanes, size = unit // 2, tree.size[f]
    for row in range(tree.first[f + 1] - tree.first[f]):
        total = 0.0
        for pole in range(lanes):
            total += weights[pole] * np.float64(w[row * (size + 1) * unit + pole])
        diagonal[tree.order[tree.first[f] + row]] = total
    for n in range(tree.entry_start[f], tree.entry_start[f + 1]):
        row, column, hop = tree.entry_row[n], tree.entry_column[n], tree.entry_hop[n]
        real, imaginary = 0.0, 0.0
        for pole in range(lanes):
            at, mirrored = (row * size + column) * unit + pole, (column * size + row) * unit + pole
            if lower:
                real += weights[pole] * np.float64(w[at])
            else:
                real += 0.5 * weights[pole] * np.float64(w[at] + w[mirrored])
                imaginary += 0.5 * weights[pole] * np.float64(w[at + lanes] - w[mirrored + lanes])
        bonds[hop if hop >= 0 else -1 - hop] = complex(real, imaginary if hop >= 0 else -imaginary)


@_jit
def keep_entries(w: Array, f: int, tree: Any, unit: int, lower: bool, entries: Array) -> None:
    """G_ii of the eliminated sites, and G_ij and G_ji of the hops of the front, at each pole; see `selected_entries`."""
    lanes, size = unit // 2, tree.size[f]
    sites = len(tree.order)
    hops = (len(entries) - sites) // 2
    for row in range(tree.first[f + 1] - tree.first[f]):
        at = row * (size + 1) * unit
        for pole in range(lanes):
            entries[tree.order[tree.first[f] + row], pole] = complex(w[at + pole], w[at + lanes + pole])
    for n in range(tree.entry_start[f], tree.entry_start[f + 1]):
        row, column, hop = tree.entry_row[n], tree.entry_column[n], tree.entry_hop[n]
        number = hop if hop >= 0 else -1 - hop
        for pole in range(lanes):
            at, mirrored = (row * size + column) * unit + pole, (column * size + row) * unit + pole
            there = complex(w[at], w[at + lanes])
            back = there if lower else complex(w[mirrored], w[mirrored + lanes])
            entries[sites + number, pole] = there if hop >= 0 else back
            entries[sites + hops + number, pole] = back if hop >= 0 else there
