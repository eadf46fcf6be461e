"""Nested dissection: the order in which sites are eliminated so that a sparse Hamiltonian stays sparse.

Sites are split in two by a separator, each half again, and so on; separators are eliminated after what they separate. A
front is the small dense matrix in which one separator (or one last piece) E is eliminated: its rows are E and the boundary
B, the later sites that E is coupled to, directly or through what was eliminated before.

Everything is said in positions: position p is the p-th site in the order of elimination.

Reference: George, SIAM J. Numer. Anal. 10, 345 (1973), doi:10.1137/0710032; Duff and Reid, ACM Trans. Math. Softw. 9, 302
(1983), doi:10.1145/356044.356047 (fronts).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAF = 12  # sites of a last piece; smaller ones have more overhead than arithmetic (measured between 4 and 32)


class Elimination(NamedTuple):
    """Fronts f = 0 ... F-1, children before parents, as flat tables. Slice f of a table is start[f] : start[f + 1].

    =============  ========  ==========================================================================
    field          shape     meaning
    =============  ========  ==========================================================================
    order          (N,)      site at each position
    first          (F + 1,)  E of front f is the positions first[f] ... first[f+1] - 1
    size           (F,)      rows of the front, E and B together
    child_start    (F + 1,)  slice of `children`
    children       (F - 1,)  fronts that pass their boundary on to front f, in order
    map_start      (F + 1,)  slice of `in_parent`
    in_parent                row of the parent's front for each boundary row of f, ascending
    entry_start    (F + 1,)  slice of the next three
    entry_row                row in the front of a hop, the larger of both
    entry_column             column
    entry_hop                number of the hop; negative (-1 - number) where the row is the hop's j
    up_block       (F,)      where the boundary block of f lies on the stack on the way up [matrix entries]
    down_block     (F,)      the same on the way down
    stack                    entries of the largest stack
    =============  ========  ==========================================================================
    """

    order: Array
    first: Array
    size: Array
    child_start: Array
    children: Array
    map_start: Array
    in_parent: Array
    entry_start: Array
    entry_row: Array
    entry_column: Array
    entry_hop: Array
    up_block: Array
    down_block: Array
    stack: int


@dataclass
class _Front:
    eliminated: Array  # sites
    children: list[int] = field(default_factory=list)


def dissect(cells: Array, i: Array, j: Array) -> Elimination:
    """The elimination of a graph with edges i - j (B,) whose N vertices sit at integer coordinates `cells` (N, d).

    Works for any edges; it is efficient (O(N^1.5) arithmetic in two dimensions) where edges join vertices that are close,
    periodic boundaries included. Cost: O(N log N), some 20 us per vertex.
    """
    neighbours = _neighbour_table(len(cells), i, j)
    fronts: list[_Front] = []
    _split(np.arange(len(cells)), cells, neighbours, np.zeros(len(cells) + 1, dtype=np.int8), fronts)
    order = np.concatenate([front.eliminated for front in fronts])
    first = np.concatenate([[0], np.cumsum([len(front.eliminated) for front in fronts])])
    position = np.empty(len(cells) + 1, dtype=np.int64)
    position[order], position[-1] = np.arange(len(order)), -1

    boundaries: list[Array] = []
    for f, front in enumerate(fronts):
        reached = [position[neighbours[front.eliminated]].ravel(), *(boundaries[c] for c in front.children)]
        later = np.unique(np.concatenate(reached))
        boundaries.append(later[later >= first[f + 1]])
    rows = [np.concatenate([np.arange(first[f], first[f + 1]), b]) for f, b in enumerate(boundaries)]
    parent = np.full(len(fronts), -1)
    for f, front in enumerate(fronts):
        parent[front.children] = f
    maps = [np.searchsorted(rows[parent[f]], b) if parent[f] >= 0 else b for f, b in enumerate(boundaries)]

    low, high = np.minimum(position[i], position[j]), np.maximum(position[i], position[j])
    owner = np.searchsorted(first, low, side="right") - 1
    entries = np.argsort(owner, kind="stable")
    number = np.where(position[i] > position[j], np.arange(len(i)), -1 - np.arange(len(i)))
    size = np.array([len(r) for r in rows])
    eliminated = np.diff(first)
    up, down, stack = _stacks(fronts, size - eliminated)
    return Elimination(
        order=order,
        first=first,
        size=size,
        child_start=_starts([len(front.children) for front in fronts]),
        children=np.array([c for front in fronts for c in front.children], dtype=np.int64),
        map_start=_starts([len(m) for m in maps]),
        in_parent=np.concatenate(maps),
        entry_start=np.searchsorted(owner[entries], np.arange(len(fronts) + 1)),
        entry_row=np.array([np.searchsorted(rows[owner[n]], high[n]) for n in entries], dtype=np.int64),
        entry_column=low[entries] - first[owner[entries]],
        entry_hop=number[entries],
        up_block=up,
        down_block=down,
        stack=stack,
    )


def _starts(lengths: Any) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _neighbour_table(sites: int, i: Array, j: Array) -> Array:
    """Neighbours of each vertex (N, z), filled up with N, which stands for none."""
    source, target = np.concatenate([i, j]), np.concatenate([j, i])
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    count = np.bincount(source, minlength=sites)
    table = np.full((sites, max(1, int(count.max(initial=0)))), sites, dtype=np.int64)
    table[source, np.arange(len(source)) - (np.cumsum(count) - count)[source]] = target
    return table


def _split(piece: Array, cells: Array, neighbours: Array, side: Array, fronts: list[_Front]) -> int:
    """Append the fronts of a piece, children first, and return the number of the last one."""
    halves = _halves(piece, cells, neighbours, side) if len(piece) > LEAF else None
    if halves is None:
        fronts.append(_Front(piece))
        return len(fronts) - 1
    left, separator, right = halves
    children = [_split(half, cells, neighbours, side, fronts) for half in (left, right) if len(half)]
    fronts.append(_Front(separator, children))
    return len(fronts) - 1


def _halves(piece: Array, cells: Array, neighbours: Array, side: Array) -> tuple[Array, Array, Array] | None:
    """Two parts without a common edge and the separator between them; None where that gains nothing."""
    here = cells[piece]
    axis = int(np.argmax(np.ptp(here, axis=0)))
    cut = np.sort(here[:, axis])[len(piece) // 2]
    one, other = piece[here[:, axis] < cut], piece[here[:, axis] >= cut]
    if len(one) == 0:
        return None
    side[one], side[other] = 1, 2
    at_one = (side[neighbours[one]] == 2).any(axis=1)
    at_other = (side[neighbours[other]] == 1).any(axis=1)
    side[piece] = 0
    # The separator is the rim of either part; of equally small ones, that of the larger part keeps the halves even.
    if (at_one.sum(), -len(one)) <= (at_other.sum(), -len(other)):
        left, separator, right = one[~at_one], one[at_one], other
    else:
        left, separator, right = one, other[at_other], other[~at_other]
    return (left, separator, right) if len(left) and len(right) else None


def _stacks(fronts: list[_Front], boundary: Array) -> tuple[Array, Array, int]:
    """Places of the boundary blocks: pushed after a front and popped by its parent going up, the reverse going down."""
    up, down = np.zeros(len(fronts), dtype=np.int64), np.zeros(len(fronts), dtype=np.int64)
    top = largest = 0
    for f, front in enumerate(fronts):
        if front.children:
            top = up[front.children[0]]
        up[f] = top
        top += int(boundary[f]) ** 2
        largest = max(largest, top)
    top = 0
    for f in reversed(range(len(fronts))):
        top = down[f]
        for child in fronts[f].children:  # the last one is the next to be needed, so it lies on top
            down[child] = top
            top += int(boundary[child]) ** 2
        largest = max(largest, top)
    return up, down, int(largest)
