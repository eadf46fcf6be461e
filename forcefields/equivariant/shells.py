"""Convolutions of features that nothing turns: their kernels are equal on each shell, so shells are summed before they are mixed.

y(s) = sum_k W_k S_k(s),    S_k(s) = sum of x(s + r) over the displacements r of shell k

A square of 3 x 3 cells has three shells, so that a third of the multiplications is left: what the symmetry saves, and a network
without it has to spend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Shells = tuple[tuple[tuple[int, ...], ...], ...]  # displacements of each shell, counted from the corner of the kernel


def shells_of(kernels: Tensor) -> tuple[Shells, Tensor] | None:
    """The shells of kernels (K, grid..., 1, 1, 1, 1), and the value of each kernel on its own; None if they are no such kernels."""
    if kernels.shape[-4:] != (1, 1, 1, 1):
        return None
    shells, values = [], []
    for kernel in kernels[..., 0, 0, 0, 0]:
        places, on_shell = kernel.nonzero(), kernel[kernel != 0.0]
        if not torch.allclose(on_shell, on_shell[0], rtol=1e-12, atol=0.0):
            return None
        shells.append(tuple(tuple(place) for place in places.tolist()))
        values.append(float(on_shell[0]))
    return tuple(shells), torch.tensor(values, dtype=kernels.dtype)


def summed_over_shells(x: Tensor, shells: Shells, reach: int) -> Tensor:
    """S (B, K C, cells...), shell by shell, of x (B, C, cells...) that goes on by `reach` cells on every side.

    It can be differentiated twice, as conservative networks need.
    """
    found: Tensor = _Gathered.apply(x, shells, reach)
    return found


def _window(x: Tensor, place: Sequence[int], reach: int) -> Tensor:
    """x at one displacement from every cell that is not of its rim."""
    for axis, n in enumerate(place, start=2):
        x = x.narrow(axis, n, x.shape[axis] - 2 * reach)
    return x


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shells: Shells, reach: int) -> Tensor:
        ctx.shells, ctx.reach = shells, reach
        channels, cells = x.shape[1], [n - 2 * reach for n in x.shape[2:]]
        out = x.new_empty(len(x), len(shells) * channels, *cells)
        for k, (first, *rest) in enumerate(shells):
            here = out[:, k * channels : (k + 1) * channels]
            here.copy_(_window(x, first, reach))
            for place in rest:
                here.add_(_window(x, place, reach))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Spread.apply(grad, ctx.shells, ctx.reach), None, None


class _Spread(torch.autograd.Function):
    """The transpose of `_Gathered`."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, shells: Shells, reach: int) -> Tensor:
        ctx.shells, ctx.reach = shells, reach
        channels = grad.shape[1] // len(shells)
        out = grad.new_zeros(len(grad), channels, *(n + 2 * reach for n in grad.shape[2:]))
        for k, places in enumerate(shells):
            for place in places:
                _window(out, place, reach).add_(grad[:, k * channels : (k + 1) * channels])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Gathered.apply(grad, ctx.shells, ctx.reach), None, None
