"""Elimination of a patch in registers: straight-line code, written from the program of an elimination.

A program (see `forcefields.cavity.elimination`) is the same for all sites and poles. On a CPU it is interpreted, each step
for many lanes; a thread has one patch, whose matrix elements must stand in registers, and registers have no index. So the
program is turned into source with a name for each element, two lines for each complex product, and compiled with the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cuda_kernels.device import device

# Operations of a program, and the directions in which messages go, as rows of the tile's memory.
SITE, HOP, NORTH, SOUTH, WEST, EAST, PIVOT, FACTOR, UPDATE, FILL, ANSWER = range(11)
DOWN, UP, RIGHT, LEFT = 0, 2, 4, 6  # of real parts; imaginary parts stand one row below

CAUTION = 16.0  # of bonds on rims, see `forcefields.cavity.rim`

# Where the two messages of a bond on each side of the rim come from: direction, and places from the first site of the bond.
_RIM = {
    NORTH: (DOWN, (-1, 0), (-1, 1)),
    SOUTH: (UP, (1, 0), (1, 1)),
    WEST: (RIGHT, (0, -1), (1, -1)),
    EAST: (LEFT, (0, 1), (1, 1)),
}


@device
def strength(a: float, b: float, u: float, v: float, scale: float, caution: float, one: float) -> tuple[float, float]:
    """1 + z/(1 + caution |z|^2), z = scale (a + ib)(u + iv): how strongly a loop through two outer sites joins two rim sites."""
    x, y = scale * (a * u - b * v), scale * (a * v + b * u)
    damping = caution * (x * x + y * y)
    return one + x / (one + damping), y / (one + damping)


def centre_of_patch(radius: int, program: Any, span: int) -> Any:
    """The device function green(m, e, i, w, h, scale, caution, one) -> (Re G, Im G) of the site i of a tile `span` sites wide.

    m (8, sites) are messages, e (sites,) levels, w the pole, h the hopping, `scale` is 1/h^2; `one` is 1
    in the precision of all others, as a plain 1 would turn them into doubles.
    """
    lines = ["def green(m, e, i, w, h, scale, caution, one):", "    zero = one - one"]
    for operation, a, b, c in program:
        lines += [f"    {line}" for line in _lines(radius, span, int(operation), int(a), int(b), int(c))]
    scope: dict[str, Any] = {"strength": strength}
    exec(compile("\n".join(lines), f"<patch of radius {radius}>", "exec"), scope)
    return device(scope["green"])


def _lines(radius: int, span: int, operation: int, a: int, b: int, c: int) -> Iterator[str]:
    """One step of a program; an element a is x<a> + i y<a>, a factor b is u<b> + i v<b>, the inverse of a pivot p + i q.

    One assignment a line: pairs of them take the compiler three times as long.
    """
    if operation == SITE:
        place = b * span + c
        yield f"x{a} = e[i + {place}]"
        yield f"y{a} = -w"
        for there, direction, beside in (
            (b == -radius, DOWN, -span), (b == radius, UP, span), (c == -radius, RIGHT, -1), (c == radius, LEFT, 1),
        ):  # fmt: skip
            if there:
                yield f"x{a} -= m[{direction}, i + {place + beside}]"
                yield f"y{a} -= m[{direction + 1}, i + {place + beside}]"
    elif operation == HOP:
        yield f"x{a} = h"
        yield f"y{a} = zero"
    elif operation in _RIM:
        direction, *ends = _RIM[operation]
        first, second = ((b + down) * span + c + right for down, right in ends)
        one, other = (f"m[{direction}, i + {place}], m[{direction + 1}, i + {place}]" for place in (first, second))
        yield f"s, d = strength({one}, {other}, scale, caution, one)"
        yield f"x{a} = h * s"
        yield f"y{a} = h * d"
    elif operation in (PIVOT, ANSWER):
        yield f"s = one / (x{a} * x{a} + y{a} * y{a})"
        yield f"p = x{a} * s"
        yield f"q = -y{a} * s"
        if operation == ANSWER:
            yield "return p, q"
    elif operation == FACTOR:
        yield f"u{b} = p * x{a} - q * y{a}"
        yield f"v{b} = p * y{a} + q * x{a}"
    elif operation == UPDATE:
        yield f"x{a} = x{a} + v{b} * y{c} - u{b} * x{c}"
        yield f"y{a} = y{a} - u{b} * y{c} - v{b} * x{c}"
    else:
        yield f"x{a} = v{b} * y{c} - u{b} * x{c}"
        yield f"y{a} = -u{b} * y{c} - v{b} * x{c}"
