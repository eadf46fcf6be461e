"""Elimination of the patch around each site of a tile towards its centre, many patches side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from forcefields.cavity.elimination import EAST, FACTOR, FILL, HOP, NORTH, PIVOT, SITE, SOUTH, UPDATE, WEST
from forcefields.cavity.tile import (
    DOWN,
    IMAGINARY,
    LANES,
    LEFT,
    ONSITE,
    RIGHT,
    SPAN,
    UP,
    Array,
    at,
    inline,
    jit,
    message,
)


@inline
def _inverse(a: Any) -> Any:
    """1/a of a complex number whose square fits the range of its precision."""
    q = a.real * a.real + a.imag * a.imag
    return complex(a.real / q, -a.imag / q)


@jit
def patches_of_nine(
    first: int, n: int, stride: int, w: Any, t2: Any, weights: Array, tile: Array, joined: Array, out: Array
) -> None:
    """Add c Re G and b Im G of the sites first ... first + n to `out`: the corners go first, then a cycle of four sites.

    With u = t^2/a of a corner and strengths p, q of its bonds, its two neighbours get -p^2 u and -q^2 u on the diagonal and
    -p q u between them. North and south are eliminated next, then the centre sees t^2 v^T B^-1 v with v = (1, 1, 1, 1) and
    B the matrix of the cycle.
    """
    c, b, one = weights[0], weights[1], tile.dtype.type(1)  # a plain 1 would turn single precision into double
    # Views begin two columns to the west of the centre, so that no index is negative.
    north2 = tile[first - 2 * stride - 2 :]
    north1, rim_north = tile[first - stride - 2 :], joined[first - stride - 2 :]
    middle, rim_middle = tile[first - 2 :], joined[first - 2 :]
    south1, rim_south = tile[first + stride - 2 :], joined[first + stride - 2 :]
    south2 = tile[first + 2 * stride - 2 :]
    iw = complex(w - w, w)
    for i in range(n):
        nw = at(north1, i + 1 + ONSITE) - iw - message(north2, i + 1 + DOWN) - message(north1, i + RIGHT)
        ne = at(north1, i + 3 + ONSITE) - iw - message(north2, i + 3 + DOWN) - message(north1, i + 4 + LEFT)
        sw = at(south1, i + 1 + ONSITE) - iw - message(south2, i + 1 + UP) - message(south1, i + RIGHT)
        se = at(south1, i + 3 + ONSITE) - iw - message(south2, i + 3 + UP) - message(south1, i + 4 + LEFT)
        nw, ne, sw, se = t2 * _inverse(nw), t2 * _inverse(ne), t2 * _inverse(sw), t2 * _inverse(se)
        p, q = message(rim_north, i + 1 + DOWN), message(rim_north, i + 1 + RIGHT)
        north_nw, nw, west_nw = _corner(p, q, nw)
        p, q = message(rim_north, i + 2 + DOWN), message(rim_north, i + 3 + LEFT)
        north_ne, ne, east_ne = _corner(p, q, ne)
        p, q = message(rim_south, i + 1 + UP), message(rim_middle, i + 1 + RIGHT)
        south_sw, sw, west_sw = _corner(p, q, sw)
        p, q = message(rim_south, i + 2 + UP), message(rim_middle, i + 3 + LEFT)
        south_se, se, east_se = _corner(p, q, se)
        north = _inverse(at(north1, i + 2 + ONSITE) - iw - message(north2, i + 2 + DOWN) - (north_nw + north_ne))
        south = _inverse(at(south1, i + 2 + ONSITE) - iw - message(south2, i + 2 + UP) - (south_sw + south_se))
        west = at(middle, i + 1 + ONSITE) - iw - message(middle, i + RIGHT) - (west_nw + west_sw)
        east = at(middle, i + 3 + ONSITE) - iw - message(middle, i + 4 + LEFT) - (east_ne + east_se)
        north_west, north_east, south_west, south_east = north * nw, north * ne, south * sw, south * se
        west -= nw * north_west + sw * south_west
        east -= ne * north_east + se * south_east
        across = nw * north_east + sw * south_east
        v_west, v_east = one + (north_west + south_west), one + (north_east + south_east)
        numerator = v_east * (v_east * west + v_west * across) + v_west * (v_west * east + v_east * across)
        seen = north + south + numerator * _inverse(west * east - across * across)
        green = _inverse(at(middle, i + 2 + ONSITE) - iw - t2 * seen)
        out[np.uint64(i)] += c * green.real
        out[np.uint64(i + SPAN)] += b * green.imag


@inline
def _corner(p: Any, q: Any, u: Any) -> Any:
    """p^2 u, p q u and q^2 u."""
    pu, qu = p * u, q * u
    return p * pu, p * qu, q * qu


@jit
def patches(
    radius: int,
    program: Array,
    start: int,
    stride: int,
    w: Any,
    h: Any,
    weights: Array,
    tile: Array,
    joined: Array,
    elements: Array,
    factors: Array,
    out: Array,
) -> None:
    """Add c Re G and b Im G of the sites start ... start + LANES to `out`, by the program of `elimination`.

    `elements` (places, 2 lanes) and `factors` (places + 1, 2 lanes) are its memory: real parts, then imaginary parts.
    """
    # Functions get whole arrays and row numbers: making a view for each would cost as much as the arithmetic.
    for step in range(len(program)):
        operation, a, b, c = program[step, 0], program[step, 1], program[step, 2], program[step, 3]
        if operation == UPDATE:
            _update(elements, factors, a, b, c)
        elif operation == FILL:
            _fill(elements, factors, a, b, c)
        elif operation == FACTOR:
            _factor(elements, factors, a, b)
        elif operation == PIVOT:
            _pivot(elements, factors, a)
        elif operation == SITE:
            _site(b, c, radius, start, stride, w, tile, elements[a])
        elif operation == HOP:
            _hop(h, elements, a)
        elif operation == NORTH:
            _rim(joined[start + b * stride + c + DOWN :], h, elements, a)
        elif operation == SOUTH:
            _rim(joined[start + b * stride + c + UP :], h, elements, a)
        elif operation == WEST:
            _rim(joined[start + b * stride + c + RIGHT :], h, elements, a)
        elif operation == EAST:
            _rim(joined[start + b * stride + c + LEFT :], h, elements, a)
        else:
            _answer(elements[a], weights, out)


@jit
def _update(elements: Array, factors: Array, a: int, b: int, c: int) -> None:
    for lane in range(LANES):
        x, y, u, v = factors[b, lane], factors[b, lane + LANES], elements[c, lane], elements[c, lane + LANES]
        # Written so that every product is the second half of a multiply-add.
        elements[a, lane] = elements[a, lane] + y * v - x * u
        elements[a, lane + LANES] = elements[a, lane + LANES] - x * v - y * u


@jit
def _fill(elements: Array, factors: Array, a: int, b: int, c: int) -> None:
    for lane in range(LANES):
        x, y, u, v = factors[b, lane], factors[b, lane + LANES], elements[c, lane], elements[c, lane + LANES]
        elements[a, lane] = y * v - x * u
        elements[a, lane + LANES] = -x * v - y * u


@jit
def _factor(elements: Array, factors: Array, a: int, b: int) -> None:
    inverse = len(factors) - 1
    for lane in range(LANES):
        x, y, u, v = (
            factors[inverse, lane],
            factors[inverse, lane + LANES],
            elements[a, lane],
            elements[a, lane + LANES],
        )
        factors[b, lane] = x * u - y * v
        factors[b, lane + LANES] = x * v + y * u


@jit
def _pivot(elements: Array, factors: Array, a: int) -> None:
    inverse = len(factors) - 1
    for lane in range(LANES):
        x, y = elements[a, lane], elements[a, lane + LANES]
        q = x * x + y * y
        factors[inverse, lane], factors[inverse, lane + LANES] = x / q, -y / q


@jit
def _hop(h: Any, elements: Array, a: int) -> None:
    for lane in range(LANES):
        elements[a, lane] = h
        elements[a, lane + LANES] = 0


@jit
def _rim(strength: Array, h: Any, elements: Array, a: int) -> None:
    for lane in range(LANES):
        elements[a, lane] = h * strength[lane]
        elements[a, lane + LANES] = h * strength[lane + IMAGINARY]


@jit
def _site(row: int, column: int, radius: int, start: int, stride: int, w: Any, tile: Array, out: Array) -> None:
    """Write e - iw - (incoming messages) of the site at (row, column) from the centre, for all lanes."""
    here = start + row * stride + column
    onsite = tile[here + ONSITE :]
    for lane in range(LANES):
        out[lane] = onsite[lane]
        out[lane + LANES] = -w
    if row == -radius:
        _receive(tile[here - stride + DOWN :], out)
    if row == radius:
        _receive(tile[here + stride + UP :], out)
    if column == -radius:
        _receive(tile[here - 1 + RIGHT :], out)
    if column == radius:
        _receive(tile[here + 1 + LEFT :], out)


@jit
def _receive(message: Array, out: Array) -> None:
    for lane in range(LANES):
        out[lane] -= message[lane]
        out[lane + LANES] -= message[lane + IMAGINARY]


@jit
def _answer(a: Array, weights: Array, out: Array) -> None:
    c, b = weights[0], weights[1]
    for lane in range(LANES):
        x, y = a[lane], a[lane + LANES]
        q = x * x + y * y
        out[lane] += c * x / q
        out[lane + SPAN] -= b * y / q
