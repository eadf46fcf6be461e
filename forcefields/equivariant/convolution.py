"""Equivariant convolutions: free coefficients of a basis of intertwiners, put together to an ordinary kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from forcefields.equivariant.fields import Fields
from forcefields.equivariant.intertwiners import intertwiners
from forcefields.equivariant.shells import Shells, shells_of, summed_over_shells

_CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)


class Convolution(nn.Module):
    """y(s) = sum_r W(r) x(s + r) + bias, with W(r) any kernel that commutes with the group.

    W = sum_k c_k (kernel k), for each pair of representations; the c are what is learned and what a model file holds. A bias
    is for even features that are permuted, one for each copy of a representation. Coefficients start as independent normals
    that give outputs the variance gain^2 for independent inputs of unit variance.

    Cost: that of a dense convolution of the same size and, once per call in training, of summing up the kernel. Where nothing
    turns the features, trainings sum over shells first (`forcefields.equivariant.shells`).
    """

    def __init__(self, source: Fields, target: Fields, radius: float, *, bias: bool = False, gain: float = 1.0) -> None:
        super().__init__()
        group = source.group
        self.source, self.target = source, target
        self.coefficients = nn.ParameterList()
        # In double precision whatever that of the weights: rounded kernels would keep the symmetry to their rounding only.
        self._kernels: list[Tensor] = []
        self._in_precision: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        self._assembled: tuple[object, Tensor] | None = None
        self._frozen: tuple[Tensor, Tensor | None] | None = None
        reach = 0
        for to, copies in target.parts:
            for of, multiplicity in source.parts:
                found = intertwiners(group, of, to, radius).kernels
                self._kernels.append(torch.tensor(found))
                self.coefficients.append(nn.Parameter(torch.randn(len(found), copies, multiplicity)))
                reach = max(reach, (found.shape[1] - 1) // 2 if len(found) else 0)
        self.reach = reach
        self._shells = self._found_shells()
        size = float(self.kernel().detach().square().sum())
        self.scale(gain * math.sqrt(target.channels / max(size, 1e-30)))
        if bias and not target.permutes:
            raise ValueError("only features that are permuted can have a bias")
        self.bias = nn.Parameter(torch.zeros(sum(copies for _, copies in target.parts))) if bias else None

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply W by a number."""
        for one in self.coefficients:
            one *= factor

    def kernel(self) -> Tensor:
        """W as (C_out, C_in, 2 reach + 1, ...), what an ordinary convolution takes."""
        first = self.coefficients[0]
        key = first.dtype, first.device
        if key not in self._in_precision:
            self._in_precision[key] = [kernels.to(dtype=first.dtype, device=first.device) for kernels in self._kernels]
        terms = iter(zip(self.coefficients, self._in_precision[key], strict=True))
        basis = self.source.group.basis
        rows = []
        for to, copies in self.target.parts:
            row = []
            for of, multiplicity in self.source.parts:
                c, kernels = next(terms)
                d = kernels.ndim - 5
                total = torch.tensordot(c, kernels, dims=([0], [0]))  # (copies, multiplicity, grid..., b, m, b, n)
                channels = total.permute(0, 2 + d, 3 + d, 1, 4 + d, 5 + d, *range(2, 2 + d))
                shape = copies * basis * to.dimension, multiplicity * basis * of.dimension, *kernels.shape[1 : 1 + d]
                row.append(channels.reshape(shape))
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows, dim=0)

    @torch.no_grad()
    def freeze(self) -> None:
        """Put W together once and for all: coefficients that change later are not seen any more."""
        kernel, offset = self.kernel(), self.offset()
        if kernel.ndim == 4:
            kernel = kernel.contiguous(memory_format=torch.channels_last)  # three times as fast for few channels
        self._frozen = kernel, None if offset is None else offset.clone()

    def _current(self) -> tuple[Tensor, Tensor | None]:
        """`kernel` and `offset`; W is put together once as long as coefficients stay what they are and nobody differentiates."""
        if self._frozen is not None:
            return self._frozen
        if torch.is_grad_enabled() and self.coefficients[0].requires_grad:
            return self.kernel(), self.offset()
        state = [(one.data_ptr(), one._version, one.dtype, one.device) for one in self.coefficients]
        if self._assembled is None or self._assembled[0] != state:
            self._assembled = state, self.kernel()
        return self._assembled[1], self.offset()

    def offset(self) -> Tensor | None:
        """The bias of every channel, (C_out,)."""
        if self.bias is None:
            return None
        parts, first, basis = [], 0, self.target.group.basis
        for one, copies in self.target.parts:
            # One number for all features of a copy: permutations leave equal numbers alone.
            parts.append(self.bias[first : first + copies].repeat_interleave(basis * one.dimension))
            first += copies
        return torch.cat(parts)

    def _found_shells(self) -> tuple[Shells, Tensor] | None:
        """Where nothing turns source and target, and shells are at most half as many as the cells of a kernel."""
        parts = {one for one, _ in (*self.source.parts, *self.target.parts)}
        if len(parts) > 1 or self.reach == 0:
            return None
        found = shells_of(self._kernels[0])
        return found if found and 2 * len(found[0]) <= self._kernels[0][0].numel() else None

    def _by_shells(self, x: Tensor, shells: Shells, values: Tensor, wrap: bool) -> Tensor:
        """y by sums over shells first, see `forcefields.equivariant.shells`."""
        x, missing = _continued(x, self.reach, wrap)
        x = functional.pad(x, (missing,) * (2 * (x.ndim - 2))) if missing else x
        columns = len(self.source.parts)
        # (K, copies, multiplicity) of each pair of parts, one row of them for each part of the target
        rows = [
            torch.cat(list(self.coefficients)[n : n + columns], dim=2)
            for n in range(0, len(self.coefficients), columns)
        ]
        weight = torch.cat(rows, dim=1) * values.to(x)[:, None, None]
        mixed = weight.transpose(0, 1).flatten(1)
        return mixed_channels(summed_over_shells(x, shells, self.reach), mixed, self.offset())

    def forward(self, x: Tensor, wrap: bool = True) -> Tensor:
        """y on the same cells, see `convolved`."""
        if self._shells is not None and self._frozen is None and torch.is_grad_enabled():
            return self._by_shells(x, *self._shells, wrap)
        return convolved(x, *self._current(), wrap)

    def halves(self, x: Tensor, wrap: bool = True) -> tuple[Tensor, Tensor]:
        """The first and the second half of the channels of y, each a tensor of its own rather than a view."""
        (kernel, offset), half = self._current(), self.target.channels // 2
        x, padding = _continued(x, self.reach, wrap)
        convolve = _CONVOLVE[kernel.ndim - 3]
        biases = (None, None) if offset is None else (offset[:half], offset[half:])
        first, second = (
            convolve(x, part, bias, padding=padding)
            for part, bias in zip((kernel[:half], kernel[half:]), biases, strict=True)
        )
        return first, second


def wrapped(x: Tensor, reach: int) -> Tensor:
    """x (B, C, cells...) continued periodically by `reach` cells on every side, however few cells there are."""
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        if reach <= n:
            x = torch.cat((x.narrow(axis, n - reach, reach), x, x.narrow(axis, 0, reach)), dim=axis)
        else:
            x = x.index_select(axis, torch.arange(-reach, n + reach, device=x.device) % n)
    return x


def convolved(x: Tensor, kernel: Tensor, bias: Tensor | None, wrap: bool) -> Tensor:
    """The convolution of x (B, C, cells...) with a kernel of odd size, on the same cells.

    x goes on periodically; without `wrap` by zeros, for a tile whose rim is thrown away.
    """
    if kernel.shape[-1] == 1 and torch.is_grad_enabled():
        return mixed_channels(x, kernel.flatten(1), bias)
    x, padding = _continued(x, (kernel.shape[-1] - 1) // 2, wrap)
    return _CONVOLVE[kernel.ndim - 3](x, kernel, bias, padding=padding)


def mixed_channels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W x + bias in every cell of x (B, C, cells...): a matrix product, quicker to differentiate than a convolution."""
    found = torch.bmm(weight.expand(len(x), -1, -1), x.flatten(2))  # matmul would copy x
    if bias is not None:
        found = found + bias[:, None]
    return found.unflatten(2, x.shape[2:])


def _continued(x: Tensor, reach: int, wrap: bool) -> tuple[Tensor, int]:
    """x with the cells that a kernel of this reach needs around it, and how many zeros are to do for them instead."""
    return (wrapped(x, reach), 0) if wrap and reach else (x, reach)
