"""The 3 x 3 patch of the square lattice in closed form, as differentiable tensors, with a rim that a network may correct.

A site and its neighbours, the centre c, edges e_k at D_k and corners q_k at D_k + D_{k+1} (k = 0..3 anticlockwise), are solved
exactly at each imaginary frequency: corners are eliminated into the edges, the ring of edges into the centre. Outside, each
rim site feels the messages of its neighbours, and an edge and the corner next to it are also joined by the shortest way
around, over their two outer neighbours, which are neighbours themselves:

    Sigma_e = t^2 M_e (1 + a)       Sigma_q = t^2 (M_1 (1 + b_1) + M_2 (1 + b_2))       b_eq = t + t^3 M_e M_q (1 + c)

with M the messages into the rim from outside, and a, b, c what a network knows better: 0 gives back the bare method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from forcefields.networks.messages import Complex, inverse, shifted

EDGES = ((1, 0), (0, 1), (-1, 0), (0, -1))
CORNERS = tuple((a[0] + b[0], a[1] + b[1]) for a, b in zip(EDGES, EDGES[1:] + EDGES[:1], strict=True))


def times(a: Complex, b: Complex) -> Complex:
    """a b."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def minus(a: Complex, b: Complex) -> Complex:
    """a - b."""
    return a[0] - b[0], a[1] - b[1]


def plus(a: Complex, b: Complex) -> Complex:
    """a + b."""
    return a[0] + b[0], a[1] + b[1]


def scaled(a: Complex, factor: float) -> Complex:
    """factor a."""
    return a[0] * factor, a[1] * factor


@dataclass(frozen=True)
class Rim:
    """Relative corrections of the rim, complex tensors (B, P, L, L): those of edges by k, the others by k and side.

    Side 0 of corner k is towards edge k, side 1 towards edge k + 1; `corners[k][s]` corrects the message that comes along D_{k+s},
    `bonds[k][s]` the bond between corner k and edge k + s.
    """

    edges: list[Complex]
    corners: list[list[Complex]]
    bonds: list[list[Complex]]


def centre(levels: Tensor, frequencies: Tensor, arriving: list[Complex], hopping: float, rim: Rim | None) -> Complex:
    """G_cc of every site, (B, P, L, L); `arriving[k]` is the message into a site from its neighbour at D_k."""
    w = frequencies.reshape(1, -1, 1, 1)
    e = levels[:, None]
    bare = e.expand(-1, len(frequencies), -1, -1), (-w).expand(len(levels), -1, *levels.shape[1:])
    t, t2, t3 = hopping, hopping**2, hopping**3

    def at(z: Complex, offset: tuple[int, int]) -> Complex:
        return shifted(z[0], offset), shifted(z[1], offset)

    def corrected(z: Complex, factor: Complex | None) -> Complex:
        return z if factor is None else plus(z, times(z, factor))

    outer = [at(arriving[k], EDGES[k]) for k in range(4)]
    ring = [minus(at(bare, EDGES[k]), scaled(corrected(outer[k], rim.edges[k] if rim else None), t2)) for k in range(4)]
    joined: list[Complex] = []
    for k, corner in enumerate(CORNERS):
        sides = [at(arriving[(k + s) % 4], corner) for s in (0, 1)]
        felt = plus(*(corrected(sides[s], rim.corners[k][s] if rim else None) for s in (0, 1)))
        green = inverse(minus(at(bare, corner), scaled(felt, t2)))
        bonds = []
        for s in (0, 1):
            # The outer neighbour of the corner that lies beside the outer neighbour of edge k + s is the one along D_{k+s}.
            around = corrected(times(outer[(k + s) % 4], sides[s]), rim.bonds[k][s] if rim else None)
            bonds.append((t + t3 * around[0], t3 * around[1]))
        for s in (0, 1):
            edge = (k + s) % 4
            ring[edge] = minus(ring[edge], times(times(bonds[s], bonds[s]), green))
        joined.append(scaled(times(times(bonds[0], bonds[1]), green), -1.0))
    return inverse(minus(bare, scaled(_sum_of_inverse(ring, joined), t2)))


def _sum_of_inverse(diagonal: list[Complex], joined: list[Complex]) -> Complex:
    """The sum of all elements of the inverse of a symmetric ring matrix, `joined[k]` between k and k + 1."""
    first, third = inverse(diagonal[0]), inverse(diagonal[2])
    a, b, c, d = joined
    second = minus(minus(diagonal[1], times(times(a, a), first)), times(times(b, b), third))
    fourth = minus(minus(diagonal[3], times(times(d, d), first)), times(times(c, c), third))
    between = scaled(plus(times(times(a, d), first), times(times(b, c), third)), -1.0)
    right = minus(minus(_one(first), times(a, first)), times(b, third))
    left = minus(minus(_one(first), times(d, first)), times(c, third))
    determinant = inverse(minus(times(second, fourth), times(between, between)))
    y = times(minus(times(right, fourth), times(between, left)), determinant)
    z = times(minus(times(left, second), times(between, right)), determinant)
    return plus(plus(first, third), plus(times(right, y), times(left, z)))


def _one(like: Complex) -> Complex:
    return torch.ones_like(like[0]), torch.zeros_like(like[0])
