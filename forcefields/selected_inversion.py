"""Selected entries of (H - mu - i w)^-1 for many w at once: the arithmetic of `poles`, compiled by numba.

A number here is a vector: one complex value for each of several poles, all real parts and then all imaginary parts. Every
operation on a matrix entry is one on all these poles, so matrices of any size, the smallest included, run at the speed of
SIMD units. `LANE_BYTES` is the length of such a vector; two of them are an entry. A matrix is a flat array of entries.

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
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from forcefields.dissection import Elimination

Array = NDArray[Any]

LANE_BYTES = 32  # four float64 or eight float32: one AVX2 register
DEPTH = 4  # pivots swept at once, and products summed per visit to a matrix entry

_jit = njit(error_model="numpy", cache=True, nogil=True)


def _tile(rows: int, columns: int) -> Any:
    """An instruction c[i, j] -= sum_k a[i, k] b[j, k] on a rows x columns tile of entries, k < DEPTH, held in registers.

    Written in vector instructions because LLVM's vectoriser cannot see that the tile's entries do not overlap and falls back
    to scalar code, four to eight times slower. `c_at`, `a_at`, `b_at` are array indices of first numbers, `stride` is the
    distance of two rows of c in numbers; a and b have DEPTH entries per row.
    """

    @intrinsic
    def subtract_products(
        _context: Any, c: Any, c_at: Any, stride: Any, a: Any, a_at: Any, b: Any, b_at: Any
    ) -> tuple[Any, Any]:
        signature = types.void(c, types.intp, types.intp, a, types.intp, b, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lane, number = _lane(context, signature.args[0])
            c_data, a_data, b_data = (_data(context, builder, signature, arguments, n) for n in (0, 3, 5))
            integer = arguments[1].type

            def place(data: Any, base: Any, lanes: int) -> Any:
                offset = builder.add(base, ir.Constant(integer, lanes * lane.count))
                return builder.bitcast(builder.gep(data, [offset]), lane.as_pointer())

            def load(data: Any, base: Any, entry: int) -> list[Any]:
                return [builder.load(place(data, base, 2 * entry + part), align=number) for part in (0, 1)]

            def add(x: Any, y: Any, z: Any) -> Any:
                return builder.fadd(x, builder.fmul(y, z, flags=("contract",)), flags=("contract",))

            def subtract(x: Any, y: Any, z: Any) -> Any:
                return builder.fsub(x, builder.fmul(y, z, flags=("contract",)), flags=("contract",))

            starts = [
                builder.add(arguments[1], builder.mul(arguments[2], ir.Constant(integer, i))) for i in range(rows)
            ]
            held = {(i, j): load(c_data, starts[i], j) for i in range(rows) for j in range(columns)}
            for k in range(DEPTH):
                left = [load(a_data, arguments[4], i * DEPTH + k) for i in range(rows)]
                right = [load(b_data, arguments[6], j * DEPTH + k) for j in range(columns)]
                for (i, j), (real, imaginary) in held.items():
                    (ar, ai), (br, bi) = left[i], right[j]
                    held[i, j] = [
                        add(subtract(real, ar, br), ai, bi),
                        subtract(subtract(imaginary, ar, bi), ai, br),
                    ]
            for (i, j), entry in held.items():
                for part in (0, 1):
                    builder.store(entry[part], place(c_data, starts[i], 2 * j + part), align=number)
            return context.get_dummy_value()

        return signature, generate

    return subtract_products


def _lane(context: Any, array: Any) -> tuple[Any, int]:
    """The vector type of one lane of this array, and the bytes of one number."""
    number = 4 if array.dtype == types.float32 else 8
    return ir.VectorType(context.get_value_type(array.dtype), LANE_BYTES // number), number


def _data(context: Any, builder: Any, signature: Any, arguments: Any, n: int) -> Any:
    return cgutils.create_struct_proxy(signature.args[n])(context, builder, arguments[n]).data


def _move(add: bool) -> Any:
    """An instruction target[at] = source[source_at], or += with `add`, for one entry; both are array indices of numbers."""

    @intrinsic
    def move(_context: Any, target: Any, at: Any, source: Any, source_at: Any) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lane, number = _lane(context, signature.args[0])
            pointers = []
            for n in (0, 2):
                data = _data(context, builder, signature, arguments, n)
                pointers.append(builder.bitcast(builder.gep(data, [arguments[n + 1]]), lane.as_pointer()))
            for part in (0, 1):
                into, origin = (builder.gep(p, [ir.Constant(ir.IntType(64), part)]) for p in pointers)
                value = builder.load(origin, align=number)
                if add:
                    value = builder.fadd(builder.load(into, align=number), value)
                builder.store(value, into, align=number)
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), generate

    return move


_tile_2x2, _tile_1x1 = _tile(2, 2), _tile(1, 1)
_copy, _add = _move(add=False), _move(add=True)


@_jit
def subtract_products(
    c: Array, at: int, stride: int, rows: int, columns: int, a: Array, b: Array, unit: int, lower: bool
) -> None:
    """c[i, j] -= sum_k a[i, k] b[j, k] for rows x columns entries from c[at], with rows `stride` entries apart.

    With `lower` the entries far above the diagonal are left out; some close to it are computed for nothing.
    """
    step = DEPTH * unit
    for i in range(0, rows - 1, 2):
        end = min(columns, i + 2) if lower else columns
        row = (at + i * stride) * unit
        for j in range(0, end - 1, 2):
            _tile_2x2(c, row + j * unit, stride * unit, a, i * step, b, j * step)
        if end % 2:
            for n in range(2):
                _tile_1x1(c, row + (n * stride + end - 1) * unit, 0, a, (i + n) * step, b, (end - 1) * step)
    if rows % 2:
        for j in range(min(columns, rows) if lower else columns):
            _tile_1x1(c, (at + (rows - 1) * stride + j) * unit, 0, a, (rows - 1) * step, b, j * step)


@_jit
def _invert_pivots(p: Array, unit: int, log_modulus: Array) -> None:
    """p <- p^-1 for one DEPTH x DEPTH block, and log_modulus += log|det p|, for each pole."""
    lanes = unit // 2
    for pole in range(lanes):
        modulus = 1.0
        for k in range(DEPTH):
            at = (k * DEPTH + k) * unit + pole
            real, imaginary = p[at], p[at + lanes]
            square = real * real + imaginary * imaginary
            modulus *= np.float64(square)
            real, imaginary = real / square, -imaginary / square
            p[at], p[at + lanes] = real, imaginary
            for i in range(DEPTH):
                if i == k:
                    continue
                left = (i * DEPTH + k) * unit + pole
                x, y = p[left], p[left + lanes]
                for j in range(DEPTH):
                    if j == k:
                        continue
                    right, to = (k * DEPTH + j) * unit + pole, (i * DEPTH + j) * unit + pole
                    u = real * p[right] - imaginary * p[right + lanes]
                    v = real * p[right + lanes] + imaginary * p[right]
                    p[to] -= x * u - y * v
                    p[to + lanes] -= x * v + y * u
                p[left], p[left + lanes] = -(x * real - y * imaginary), -(x * imaginary + y * real)
            for j in range(DEPTH):
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
        _invert_pivots(p, unit, logs)
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
    lanes = unit // 2
    u[: size * DEPTH * unit] = 0.0
    v[: size * DEPTH * unit] = 0.0
    p[: DEPTH * DEPTH * unit] = 0.0
    for i in range(size):
        if first <= i < first + block:
            continue
        for k in range(block):
            pivot = first + k
            stored = i > pivot or not lower
            _copy(u, (i * DEPTH + k) * unit, w, (i * size + pivot if stored else pivot * size + i) * unit)
            if not lower:
                _copy(v, (i * DEPTH + k) * unit, w, (pivot * size + i) * unit)
    for k in range(DEPTH):
        if k >= block:
            p[(k * DEPTH + k) * unit : (k * DEPTH + k) * unit + lanes] = 1.0
            continue
        for j in range(block):
            row, column = (max(k, j), min(k, j)) if lower else (k, j)
            _copy(p, (k * DEPTH + j) * unit, w, ((first + row) * size + first + column) * unit)


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
            _copy(w, (i * size + pivot if stored else pivot * size + i) * unit, by_columns, (i * DEPTH + k) * unit)
            if not lower:
                _copy(w, (pivot * size + i) * unit, by_rows, (i * DEPTH + k) * unit)
    for k in range(block):
        for j in range(block):
            _copy(w, ((first + k) * size + first + j) * unit, q, (j * DEPTH + k) * unit)


@_jit
def _assemble(
    w: Array, f: int, tree: Any, levels: Array, hops: Array, poles: Array, stack: Array, unit: int, lower: bool
) -> None:
    """The front f: its part of H - i w, and what its children pass on."""
    lanes = unit // 2
    size = tree.size[f]
    w[: size * size * unit] = 0.0
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
                _add(w, (rows[i] * size + rows[j]) * unit, stack, (block + i * len(rows) + j) * unit)


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
            stack[at : at + boundary * unit] = w[origin : origin + boundary * unit]


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
) -> None:
    """The inverse in every front from its parent's; weighted sums over poles of what is asked for."""
    for f in range(len(tree.size) - 1, -1, -1):
        size = tree.size[f]
        eliminated = tree.first[f + 1] - tree.first[f]
        boundary = size - eliminated
        for i in range(boundary):
            at, origin = ((eliminated + i) * size + eliminated) * unit, (tree.down_block[f] + i * boundary) * unit
            w[at : at + boundary * unit] = stack[origin : origin + boundary * unit]
        _inverse_of_front(w, size, eliminated, kept[panel[f] * unit : panel[f + 1] * unit], scratch, unit, lower)
        _collect(w, f, tree, weights, unit, lower, diagonal, bonds)
        for child in tree.children[tree.child_start[f] : tree.child_start[f + 1]]:
            rows = tree.in_parent[tree.map_start[child] : tree.map_start[child + 1]]
            block = tree.down_block[child]
            for i in range(len(rows)):
                for j in range(i + 1 if lower else len(rows)):
                    _copy(stack, (block + i * len(rows) + j) * unit, w, (rows[i] * size + rows[j]) * unit)


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
                _copy(a, (i * DEPTH + k) * unit, w, (m * size + n if stored else n * size + m) * unit)
            row = n * eliminated if lower else _general_row(n, eliminated, size)
            for j in range(eliminated):
                _copy(b, (j * DEPTH + k) * unit, kept, (row + j) * unit)
        subtract_products(w, below, size, boundary, eliminated, a, b, unit, False)
        if not lower:
            for k in range(block):
                n = eliminated + first + k
                for j in range(boundary):
                    _copy(a, (j * DEPTH + k) * unit, w, (n * size + eliminated + j) * unit)
                for i in range(eliminated):
                    _copy(b, (i * DEPTH + k) * unit, kept, (i * size + n) * unit)
            subtract_products(w, eliminated, size, eliminated, boundary, b, a, unit, False)
    for first in range(0, boundary, DEPTH):
        block = min(DEPTH, boundary - first)
        a[: eliminated * DEPTH * unit] = 0.0
        b[: eliminated * DEPTH * unit] = 0.0
        for k in range(block):
            n = eliminated + first + k
            for i in range(eliminated):
                _copy(a, (i * DEPTH + k) * unit, kept, (n * eliminated + i if lower else i * size + n) * unit)
                _copy(b, (i * DEPTH + k) * unit, w, (n * size + i) * unit)
        subtract_products(w, 0, size, eliminated, eliminated, a, b, unit, lower)


@_jit
def _collect(
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
    unit, symmetric = 2 * len(poles), not np.iscomplexobj(hops)
    panel, logs = _panels(tree, symmetric), np.zeros(len(poles))
    amplitude = hops.astype(complex)
    _go_up(tree, levels, amplitude, poles, panel, *work, unit, symmetric, logs)
    _go_down(tree, weights, panel, *work, unit, symmetric, diagonal, bonds)
    return float((weights * logs).sum())
