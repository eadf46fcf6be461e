"""What flows through an equivariant network: features of sites with a known behaviour under the group, as torch tensors.

Features are either *even*: internal symmetries leave them alone; or *odd*: they turn as the classical variables do under
x -> -x (one component), or under rotations of all spins (three). Tensors are

    even  (B, C, cells...)       odd  (n B, C, cells...), the n internal components one after the other along the batch

with C = sum over representations of multiplicity x basis sites x dimension, the dimension fastest. Linear maps act on the
n components alike, so what is linear in odd features is one convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forcefields.equivariant.group import LatticeGroup
from forcefields.equivariant.representations import Representation, representation

INTERNAL_COMPONENTS = {"none": 0, "reversal": 1, "rotation": 3}  # n, by `LatticeGroup.internal`


@dataclass(frozen=True, eq=False)
class Fields:
    """A list of (representation, multiplicity): the meaning of the channels of a tensor."""

    group: LatticeGroup
    parts: tuple[tuple[Representation, int], ...]

    @classmethod
    def of(cls, group: LatticeGroup, multiplicities: Sequence[tuple[str | Representation, int]]) -> Fields:
        """From names of representations, see `representation`, or representations themselves; zero copies are left out."""
        named = [
            (one if isinstance(one, Representation) else representation(group, one), n) for one, n in multiplicities
        ]
        return cls(group, tuple((one, n) for one, n in named if n > 0))

    @property
    def channels(self) -> int:
        """C."""
        return sum(n * self.group.basis * one.dimension for one, n in self.parts)

    @property
    def permutes(self) -> bool:
        """Whether functions may be applied to each channel by itself."""
        return all(one.permutes for one, _ in self.parts)

    def __add__(self, other: Fields) -> Fields:
        return Fields(self.group, self.parts + other.parts)

    def turned(self, features: Tensor, g: int) -> Tensor:
        """What operation g makes of features (B, C, cells...) on a periodic lattice that it keeps; for tests and for people."""
        group, cells = self.group, features.shape[2:]
        grid = torch.cartesian_prod(*(torch.arange(n) for n in cells)).reshape(-1, len(cells))
        matrix = torch.as_tensor(group.matrix[g])
        pieces, first = [], 0
        for one, n in self.parts:
            size = n * group.basis * one.dimension
            part = features[:, first : first + size].reshape(len(features), n, group.basis, one.dimension, *cells)
            moved = torch.empty_like(part)
            for b in range(group.basis):
                there = (grid @ matrix.T + torch.as_tensor(group.shift[g, b])) % torch.tensor(cells)
                rho = torch.as_tensor(one.matrices[g, b], dtype=features.dtype)
                values = torch.einsum("ij,Bnj...->Bni...", rho, part[:, :, b])
                index = (slice(None), slice(None), int(group.image[g, b]), slice(None), *there.T)
                moved[index] = values.reshape(*values.shape[:3], -1)
            pieces.append(moved.reshape(len(features), size, *cells))
            first += size
        return torch.cat(pieces, dim=1)
