"""Clebsch-Gordan products: bilinear maps between features of a site that keep the group."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from forcefields.equivariant.fields import Fields
from forcefields.equivariant.group import Array, LatticeGroup
from forcefields.equivariant.intertwiners import intertwiners, spanning
from forcefields.equivariant.representations import Representation


def clebsch_gordan(group: LatticeGroup, left: Representation, right: Representation, target: Representation) -> Array:
    """All C with z_m = sum_lr C[k, b, m, l, r] x_l y_r on basis site b, (K, b, m, l, r), orthonormal."""
    kernels = intertwiners(group, left.times(right), target, 0.0).kernels
    same_cell = kernels.reshape(len(kernels), *kernels.shape[1 + group.lattice.directions :])  # (K, b, m, b, l r)
    same_site = same_cell.diagonal(axis1=1, axis2=3).transpose(0, 3, 1, 2)
    shape = len(kernels), group.basis, target.dimension, left.dimension, right.dimension
    return np.array(same_site.reshape(shape))


class TensorProduct(nn.Module):
    """z_c = sum_ab w_c C^c_ab x_a y_b, site by site: Clebsch-Gordan products of features in irreps.

    x and y have the same representations, each with the same multiplicity; copy by copy, every pair of representations is
    multiplied into every representation of `target` that it contains. C are intertwiners of the product representation.
    Weights start as independent normals that give z unit variance for independent x and y of unit variance.
    """

    def __init__(self, source: Fields, target: Fields) -> None:
        super().__init__()
        self.source, self.target = source, target
        copies = source.parts[0][1]
        if any(n != copies for _, n in source.parts):
            raise ValueError("a product copy by copy needs equal multiplicities")
        self.weights = nn.ParameterList()
        self._paths: list[tuple[int, int, int, Tensor]] = []
        pairs = list(itertools.product(range(len(source.parts)), repeat=2))
        for c, (to, n) in enumerate(target.parts):
            for a, b in pairs:
                table = clebsch_gordan(source.group, source.parts[a][0], source.parts[b][0], to)
                if len(table):
                    self.weights.append(nn.Parameter(torch.randn(len(table), n, copies)))
                    self._paths.append((c, a, b, torch.tensor(table)))
        _give_unit_variance(self.weights, [(c, table) for c, _, _, table in self._paths])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Features of `target`, from two tensors (B, C, cells...) of `source`."""
        left, right = _parts(x, self.source), _parts(y, self.source)
        sums = _Sums(self.target)
        for (c, a, b, table), weight in zip(self._paths, self.weights, strict=True):
            product = torch.einsum("kbmlr,Bnbls,Bnbrs->kBnbms", table.to(x), left[a], right[b])
            sums.add(c, torch.einsum("kon,kBnbms->Bobms", weight, product))
        return sums.joined(x)


class PairProducts(nn.Module):
    """z_c = sum over all pairs of copies of w C^c_ab x_a x_b, site by site: every quadratic form of x that keeps the group.

    Each pair of features is counted once: of two copies of one representation in either order, and of a copy with itself,
    only what the exchange of both leaves apart has a weight of its own. Weights start as independent normals that give z about the
    variance gain^2 for independent x of unit variance.

    Cost: for each pair of representations, copies x copies x (copies of the target) operations per site.
    """

    def __init__(self, source: Fields, target: Fields, gain: float = 1.0) -> None:
        super().__init__()
        self.source, self.target = source, target
        self.weights = nn.ParameterList()
        self._paths: list[tuple[int, int, int, Tensor, Tensor]] = []  # target, left, right, pairs of copies (2, P), C
        for a, b in itertools.combinations_with_replacement(range(len(source.parts)), 2):
            for c, (to, n) in enumerate(target.parts):
                for pairs, table in _pairs_of_copies(source, a, b, to):
                    self.weights.append(nn.Parameter(gain * torch.randn(len(table), n, pairs.shape[1])))
                    self._paths.append((c, a, b, pairs, table))
        _give_unit_variance(self.weights, [(c, table) for c, *_, table in self._paths])

    def forward(self, x: Tensor) -> Tensor:
        """Features of `target`, from a tensor (B, C, cells...) of `source`."""
        parts = _parts(x, self.source)
        sums = _Sums(self.target)
        for (c, a, b, (i, j), table), weight in zip(self._paths, self.weights, strict=True):
            left, right = parts[a], parts[b]
            full = weight.new_zeros(*weight.shape[:2], right.shape[1], left.shape[1])
            full[:, :, j, i] = weight
            k, o, r, n = full.shape
            # One matrix product with the left factor, which is most of the work; the rest is pointwise.
            mixed = torch.matmul(full.reshape(k * o * r, n), left.flatten(2)).reshape(len(x), k, o, r, *left.shape[2:])
            turned = torch.einsum("kbmlr,Bnbrs->Bknbmls", table.to(x), right)
            sums.add(c, (mixed.unsqueeze(5) * turned.unsqueeze(2)).sum(dim=(1, 3, 6)))
        return sums.joined(x)


def _pairs_of_copies(source: Fields, a: int, b: int, target: Representation) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of copies (2, P) of parts a and b that are told apart, and the tables C of their products, where there are any."""
    (left, n), (right, m) = source.parts[a], source.parts[b]
    table = clebsch_gordan(source.group, left, right, target)
    if a != b:
        found = [(torch.cartesian_prod(torch.arange(n), torch.arange(m)).T, table)]
    else:
        swapped = table.swapaxes(3, 4)
        found = [
            (torch.triu_indices(n, n), _basis_of(0.5 * (table + swapped))),
            (torch.triu_indices(n, n, 1), _basis_of(0.5 * (table - swapped))),
        ]
    return ((pairs, torch.tensor(one)) for pairs, one in found if len(one) and pairs.shape[1])


def _basis_of(tables: Array) -> Array:
    """Orthonormal tables that span the same as these (K, ...)."""
    shape = tables.shape[1:]
    found = spanning(tables.reshape(len(tables), int(np.prod(shape))))
    return np.array(found).reshape(len(found), *shape)


@torch.no_grad()
def _give_unit_variance(weights: nn.ParameterList, paths: list[tuple[int, Tensor]]) -> None:
    """Divide weights by the size of the sum they are part of: paths are (part of the target, table) of each."""
    variance: dict[int, float] = {}
    for (c, table), weight in zip(paths, weights, strict=True):
        _, basis, dimension, *_ = table.shape
        terms = len(table) * weight.shape[2] / (basis * dimension)  # tables are orthonormal
        variance[c] = variance.get(c, 0.0) + terms
    for (c, _), weight in zip(paths, weights, strict=True):
        weight /= variance[c] ** 0.5


class _Sums:
    """Contributions (B, copies, basis, dimension, sites) to the parts of some fields, summed up."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._sums: list[Tensor | None] = [None] * len(fields.parts)

    def add(self, part: int, values: Tensor) -> None:
        """Add to a part."""
        before = self._sums[part]
        self._sums[part] = values if before is None else before + values

    def joined(self, like: Tensor) -> Tensor:
        """The fields (B, C, cells...) on the cells of `like`; parts that nothing was added to are zero."""
        basis, cells = self._fields.group.basis, like.shape[2:]
        pieces = [
            like.new_zeros(len(like), n * basis * one.dimension, *cells)
            if total is None
            else total.reshape(len(like), -1, *cells)
            for total, (one, n) in zip(self._sums, self._fields.parts, strict=True)
        ]
        return torch.cat(pieces, dim=1)


def _parts(x: Tensor, fields: Fields) -> list[Tensor]:
    """The parts of the channels of x (B, C, cells...) as (B, copies, basis, dimension, sites)."""
    basis = fields.group.basis
    sizes = [n * basis * one.dimension for one, n in fields.parts]
    return [
        part.reshape(len(x), n, basis, one.dimension, -1)
        for part, (one, n) in zip(x.split(sizes, dim=1), fields.parts, strict=True)
    ]
