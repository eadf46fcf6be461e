"""Selected entries of (H - mu - i w)^-1 for many w at once: the arithmetic of `poles`, compiled by numba.

Numbers are those of `forcefields.lanes`: every matrix entry stands for one complex value for each of several poles.

On the way up each front is swept: with rows E to eliminate and B behind them, the sweep turns

    [ A_EE  A_EB ]        [ -A_EE^-1         A_EE^-1 A_EB               ]
    [ A_BE  A_BB ]  into  [ A_BE A_EE^-1     A_BB - A_BE A_EE^-1 A_EB   ]

and passes the last block on to its parent. On the way down the parent returns G_BB, the same block of the inverse, and

    G_BE = -G_BB (A_BE A_EE^-1),    G_EB = -(A_EE^-1 A_EB) G_BB,    G_EE = A_EE^-1 - (A_EE^-1 A_EB) G_BE

Nothing is pivoted: the imaginary part of every Schur complement is at most -w, so no pivot is smaller than w in modulus.
Real hops make all matrices symmetric (not Hermitian); then only lower triangles are computed.

References: Goodnight, Am. Stat. 33, 149 (1979), doi:10.2307/2683825 (sweeps); Lin, Yang, Meza, Lu, Ying and E, ACM Trans.
Math. Softw. 37, 40 (2011), doi:10.1145/1916461.1916464 (selected inversion).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from forcefields.collection import keep_entries, sum_entries
from forcefields.dissection import Elimination
from forcefields.lanes import DEPTH, LANE_BYTES, add, copy, subtract_products

Array = NDArray[Any]

_jit = njit(error_model="numpy", cache=True, nogil=True)


@_jit
def _invert_pivots(p: Array, block: int, unit: int, log_modulus: Array) -> None:
    """p <- p^-1 for the first `block` rows and columns, and log_modulus += log|det p|, for each pole."""
    lanes = unit // 2
    for pole in range(lanes):
        modulus = 1.0
        for k in range(block):
            at = (k * DEPTH + k) * unit + pole
            real, imaginary = p[at], p[at + lanes]
            square = real * real + imaginary * imaginary
            modulus *= np.float64(square)
            real, imaginary = real / square, -imaginary / square
            p[at], p[at + lanes] = real, imaginary
            for i in range(block):
                if i == k:
                    continue
                left = (i * DEPTH + k) * unit + pole
                x, y = p[left], p[left + lanes]
                for j in range(block):
                    if j == k:
                        continue
                    right, to = (k * DEPTH + j) * unit + pole, (i * DEPTH + j) * unit + pole
                    u = real * p[right] - imaginary * p[right + lanes]
                    v = real * p[right + lanes] + imaginary * p[right]
                    p[to] -= x * u - y * v
                    p[to + lanes] -= x * v + y * u
                p[left], p[left + lanes] = -(x * real - y * imaginary), -(x * imaginary + y * real)
            for j in range(block):
                if j == k:
                    continue
                right = (k * DEPTH + j) * unit + pole
                x, y = p[right], p[right + lanes]
                p[right], p[right + lanes] = x * real - y * imaginary, x * imaginary + y * real
        log_modulus[pole] += 0.5 * np.log(modulus)


@_jit
def _sweep(w: Array, size: int, eliminated: int, scratch: Array, unit: int, lower: bool, logs: Array) -> None:
    """Sweep the first `eliminated` pivots of the front w (size x size), DEPTH at a time; logs += log|det A_EE|.

    Of the block at hand, scratch (6, size DEPTH) holds its columns u, its rows v, u p and v p^T with the inverse p of its
    pivots, p or -p, and q = -p^T. With `lower`, v is u.
    """
    u, v, by_columns, by_rows, p, q = scratch
    for first in range(0, eliminated, DEPTH):
        block = min(DEPTH, eliminated - first)
        _read_block(w, size, first, block, u, v, p, unit, lower)
        _invert_pivots(p, block, unit, logs)
        panel = size * DEPTH * unit
        by_columns[:panel] = 0.0
        _negative_transposed(p, q, unit)
        subtract_products(by_columns, 0, DEPTH, size, DEPTH, u, q, unit, False)
        if not lower:
            by_rows[:panel] = 0.0
            p[: DEPTH * DEPTH * unit] *= p.dtype.type(-1.0)
            subtract_products(by_rows, 0, DEPTH, size, DEPTH, v, p, unit, False)
        subtract_products(w, 0, size, size, size, by_columns, u if lower else v, unit, lower)
        _write_block(w, size, first, block, by_columns, by_rows, q, unit, lower)


@_jit
def _read_block(
    w: Array, size: int, first: int, block: int, u: Array, v: Array, p: Array, unit: int, lower: bool
) -> None:
    """Columns u and rows v of the pivots first ... first + block - 1 without the pivots, which go to p; the rest is padding."""
    u[: size * DEPTH * unit] = 0.0
    if not lower:
        v[: size * DEPTH * unit] = 0.0
    p[: DEPTH * DEPTH * unit] = 0.0
    for i in range(size):
        if first <= i < first + block:
            continue
        for k in range(block):
            pivot = first + k
            stored = i > pivot or not lower
            copy(u, (i * DEPTH + k) * unit, w, (i * size + pivot if stored else pivot * size + i) * unit)
            if not lower:
                copy(v, (i * DEPTH + k) * unit, w, (pivot * size + i) * unit)
    for k in range(block):
        for j in range(block):
            row, column = (max(k, j), min(k, j)) if lower else (k, j)
            copy(p, (k * DEPTH + j) * unit, w, ((first + row) * size + first + column) * unit)


@_jit
def _negative_transposed(p: Array, q: Array, unit: int) -> None:
    """q = -p^T for a DEPTH x DEPTH block."""
    for k in range(DEPTH):
        for j in range(DEPTH):
            for n in range(unit):
                q[(j * DEPTH + k) * unit + n] = -p[(k * DEPTH + j) * unit + n]


@_jit
def _write_block(
    w: Array,
    size: int,
    first: int,
    block: int,
    by_columns: Array,
    by_rows: Array,
    q: Array,
    unit: int,
    lower: bool,
) -> None:
    """Put columns u p, rows p v and the negative inverse of the pivots, q^T, in their places."""
    for i in range(size):
        if first <= i < first + block:
            continue
        for k in range(block):
            pivot = first + k
            stored = i > pivot or not lower
            copy(w, (i * size + pivot if stored else pivot * size + i) * unit, by_columns, (i * DEPTH + k) * unit)
            if not lower:
                copy(w, (pivot * size + i) * unit, by_rows, (i * DEPTH + k) * unit)
    for k in range(block):
        for j in range(block):
            copy(w, ((first + k) * size + first + j) * unit, q, (j * DEPTH + k) * unit)


@_jit
def _assemble(
    w: Array, f: int, tree: Any, levels: Array, hops: Array, poles: Array, stack: Array, unit: int, lower: bool
) -> None:
    """The front f: its part of H - i w, and what its children pass on."""
    lanes = unit // 2
    size = tree.size[f]
    for i in range(size):
        w[i * size * unit : (i * size + (i + 1 if lower else size)) * unit] = 0.0
    for row in range(tree.first[f + 1] - tree.first[f]):
        at = row * (size + 1) * unit
        for pole in range(lanes):
            w[at + pole] = levels[tree.order[tree.first[f] + row]]
            w[at + lanes + pole] = -poles[pole]
    for n in range(tree.entry_start[f], tree.entry_start[f + 1]):
        row, column, hop = tree.entry_row[n], tree.entry_column[n], tree.entry_hop[n]
        amplitude = hops[hop] if hop >= 0 else np.conj(hops[-1 - hop])
        for pole in range(lanes):
            at = (row * size + column) * unit + pole
            w[at] += amplitude.real
            w[at + lanes] += amplitude.imag
            if not lower:
                at = (column * size + row) * unit + pole
                w[at] += amplitude.real
                w[at + lanes] -= amplitude.imag
    for child in tree.children[tree.child_start[f] : tree.child_start[f + 1]]:
        rows = tree.in_parent[tree.map_start[child] : tree.map_start[child + 1]]
        block = tree.up_block[child]
        for i in range(len(rows)):
            for j in range(i + 1 if lower else len(rows)):
                add(w, (rows[i] * size + rows[j]) * unit, stack, (block + i * len(rows) + j) * unit)


@_jit
def _go_up(
    tree: Any,
    levels: Array,
    hops: Array,
    poles: Array,
    panel: Array,
    w: Array,
    stack: Array,
    kept: Array,
    scratch: Array,
    unit: int,
    lower: bool,
    logs: Array,
) -> None:
    """Eliminate everything, front by front; the swept columns (and rows) of E go to `kept`."""
    for f in range(len(tree.size)):
        size = tree.size[f]
        eliminated = tree.first[f + 1] - tree.first[f]
        boundary = size - eliminated
        _assemble(w, f, tree, levels, hops, poles, stack, unit, lower)
        _sweep(w, size, eliminated, scratch, unit, lower, logs)
        for i in range(size):
            width = (eliminated if lower or i >= eliminated else size) * unit
            at = (panel[f] + (i * eliminated if lower else _general_row(i, eliminated, size))) * unit
            kept[at : at + width] = w[i * size * unit : i * size * unit + width]
        for i in range(boundary):
            at, origin = (tree.up_block[f] + i * boundary) * unit, ((eliminated + i) * size + eliminated) * unit
            width = (i + 1 if lower else boundary) * unit
            stack[at : at + width] = w[origin : origin + width]


@_jit
def _general_row(i: int, eliminated: int, size: int) -> int:
    """Where row i of a front without symmetry starts in what is kept of it: rows of E are whole, those of B stop at E."""
    return min(i, eliminated) * size + max(0, i - eliminated) * eliminated


@_jit
def _go_down(
    tree: Any,
    weights: Array,
    panel: Array,
    w: Array,
    stack: Array,
    kept: Array,
    scratch: Array,
    unit: int,
    lower: bool,
    diagonal: Array,
    bonds: Array,
    entries: Array,
) -> None:
    """The inverse in every front from its parent's; of what is asked for, weighted sums over poles or all `entries`."""
    for f in range(len(tree.size) - 1, -1, -1):
        size = tree.size[f]
        eliminated = tree.first[f + 1] - tree.first[f]
        boundary = size - eliminated
        for i in range(boundary):
            at, origin = ((eliminated + i) * size + eliminated) * unit, (tree.down_block[f] + i * boundary) * unit
            width = (i + 1 if lower else boundary) * unit
            w[at : at + width] = stack[origin : origin + width]
        _inverse_of_front(w, size, eliminated, kept[panel[f] * unit : panel[f + 1] * unit], scratch, unit, lower)
        if len(entries):
            keep_entries(w, f, tree, unit, lower, entries)
        else:
            sum_entries(w, f, tree, weights, unit, lower, diagonal, bonds)
        for child in tree.children[tree.child_start[f] : tree.child_start[f + 1]]:
            rows = tree.in_parent[tree.map_start[child] : tree.map_start[child + 1]]
            block = tree.down_block[child]
            for i in range(len(rows)):
                for j in range(i + 1 if lower else len(rows)):
                    copy(stack, (block + i * len(rows) + j) * unit, w, (rows[i] * size + rows[j]) * unit)


@_jit
def _inverse_of_front(
    w: Array, size: int, eliminated: int, kept: Array, scratch: Array, unit: int, lower: bool
) -> None:
    """G_BE, G_EB and G_EE of the front w whose G_BB is in place, from its swept columns and rows."""
    a, b = scratch[0], scratch[1]
    boundary = size - eliminated
    below = eliminated * size  # entries before row B
    for i in range(size):
        at, row = i * size * unit, (i * eliminated if lower else _general_row(i, eliminated, size)) * unit
        w[at : at + eliminated * unit] = 0.0
        if i < eliminated:
            for n in range(eliminated * unit):
                w[at + n] = -kept[row + n]
            if not lower:
                w[at + eliminated * unit : at + size * unit] = 0.0
    for first in range(0, boundary, DEPTH):
        block = min(DEPTH, boundary - first)
        a[: boundary * DEPTH * unit] = 0.0
        b[: eliminated * DEPTH * unit] = 0.0
        for k in range(block):
            n = eliminated + first + k
            for i in range(boundary):
                m = eliminated + i
                stored = m >= n or not lower
                copy(a, (i * DEPTH + k) * unit, w, (m * size + n if stored else n * size + m) * unit)
            row = n * eliminated if lower else _general_row(n, eliminated, size)
            for j in range(eliminated):
                copy(b, (j * DEPTH + k) * unit, kept, (row + j) * unit)
        subtract_products(w, below, size, boundary, eliminated, a, b, unit, False)
        if not lower:
            for k in range(block):
                n = eliminated + first + k
                for j in range(boundary):
                    copy(a, (j * DEPTH + k) * unit, w, (n * size + eliminated + j) * unit)
                for i in range(eliminated):
                    copy(b, (i * DEPTH + k) * unit, kept, (i * size + n) * unit)
            subtract_products(w, eliminated, size, eliminated, boundary, b, a, unit, False)
    for first in range(0, boundary, DEPTH):
        block = min(DEPTH, boundary - first)
        a[: eliminated * DEPTH * unit] = 0.0
        b[: eliminated * DEPTH * unit] = 0.0
        for k in range(block):
            n = eliminated + first + k
            for i in range(eliminated):
                copy(a, (i * DEPTH + k) * unit, kept, (n * eliminated + i if lower else i * size + n) * unit)
                copy(b, (i * DEPTH + k) * unit, w, (n * size + i) * unit)
        subtract_products(w, 0, size, eliminated, eliminated, a, b, unit, lower)


class Workspace(NamedTuple):
    """Buffers for one set of poles; flat but for `scratch` (6, size DEPTH)."""

    front: Array
    stack: Array
    kept: Array
    scratch: Array


def workspace(tree: Elimination, symmetric: bool, number: np.dtype[Any]) -> Workspace:
    """New buffers for numbers of this type."""
    unit = 2 * LANE_BYTES // number.itemsize
    front, stack, kept, scratch = work_entries(tree, symmetric)
    return Workspace(
        front=np.zeros(front * unit, dtype=number),
        stack=np.zeros(stack * unit, dtype=number),
        kept=np.zeros(kept * unit, dtype=number),
        scratch=np.zeros((6, scratch // 6 * unit), dtype=number),
    )


def work_entries(tree: Elimination, symmetric: bool) -> tuple[int, int, int, int]:
    """Matrix entries, of 2 LANE_BYTES each, of the largest front, the stack, all swept columns, and scratch."""
    largest = int(tree.size.max())
    return largest**2, tree.stack, int(_panels(tree, symmetric)[-1]), 6 * DEPTH * max(largest, DEPTH)


def _panels(tree: Elimination, symmetric: bool) -> Array:
    """Where the swept columns (and, without symmetry, rows) of each front are kept [entries], (F + 1,)."""
    eliminated = np.diff(tree.first)
    lengths = eliminated * (tree.size if symmetric else 2 * tree.size - eliminated)
    return np.concatenate([[0], np.cumsum(lengths)])


def selected_inverse(
    tree: Elimination,
    levels: Array,
    hops: Array,
    poles: Array,
    weights: Array,
    work: Workspace,
    diagonal: Array,
    bonds: Array,
) -> float:
    """Sums over as many poles as there are lanes; returns sum_p weights_p log|det(H - i w_p)|.

    H has `levels` (N,) on its diagonal and `hops` (B,), real or complex. Written to

    diagonal (N,)   sum_p weights_p Re G_ii
    bonds (B,)      sum_p weights_p [G_ij + conj G_ji]/2, complex

    Releases the interpreter lock: calls with different `work` run side by side.
    """
    logs = _invert(tree, levels, hops, poles, weights, work, diagonal, bonds, np.zeros((0, len(poles)), dtype=complex))
    return float((weights * logs).sum())


def selected_entries(tree: Elimination, levels: Array, hops: Array, poles: Array, work: Workspace) -> Array:
    """Entries of the inverse at each of as many poles as there are lanes, (N + 2 B, lanes) complex.

    First G_ii of all sites, then G_ij of all hops, then G_ji. As `selected_inverse` otherwise.
    """
    entries = np.empty((len(levels) + 2 * len(hops), len(poles)), dtype=complex)
    _invert(tree, levels, hops, poles, poles, work, entries[:0, 0].real, entries[:0, 0], entries)
    return entries


def _invert(
    tree: Elimination,
    levels: Array,
    hops: Array,
    poles: Array,
    weights: Array,
    work: Workspace,
    diagonal: Array,
    bonds: Array,
    entries: Array,
) -> Array:
    """Up and down the tree; returns log|det(H - i w_p)|, (lanes,)."""
    unit, symmetric = 2 * len(poles), not np.iscomplexobj(hops)
    panel, logs = _panels(tree, symmetric), np.zeros(len(poles))
    amplitude = hops.astype(complex)
    _go_up(tree, levels, amplitude, poles, panel, *work, unit, symmetric, logs)
    _go_down(tree, weights, panel, *work, unit, symmetric, diagonal, bonds, entries)
    return logs
