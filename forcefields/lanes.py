"""Matrices whose entries are vectors: the same arithmetic for several poles at once, in SIMD registers.

A number here is one complex value for each of several poles, all real parts and then all imaginary parts. Every operation
on a matrix entry is one on all these poles, so matrices of any size, the smallest included, run at the speed of SIMD units
(half of a core's matrix-multiplication rate from 12 rows, nearly all of it from 60). `LANE_BYTES` is the length of such a
vector; an entry is two of them. A matrix is a flat array of entries. Compiled by numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]

LANE_BYTES = 32  # four float64 or eight float32: one AVX2 register
DEPTH = 4  # products summed per visit to a matrix entry, and so pivots swept at once


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

            def plus(x: Any, y: Any, z: Any) -> Any:
                return builder.fadd(x, builder.fmul(y, z, flags=("contract",)), flags=("contract",))

            def minus(x: Any, y: Any, z: Any) -> Any:
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
                        plus(minus(real, ar, br), ai, bi),
                        minus(minus(imaginary, ar, bi), ai, br),
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
copy, add = _move(add=False), _move(add=True)


@njit(error_model="numpy", cache=True, nogil=True)
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
