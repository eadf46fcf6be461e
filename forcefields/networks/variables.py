"""Between the arrays of the engine, (B, N, D), and the tensors of equivariant layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from forcefields.equivariant import Fields, LatticeGroup


@dataclass(frozen=True, eq=False)
class Variables:
    """The classical variables of a model as features: odd where an internal symmetry turns them, else even."""

    group: LatticeGroup
    fields: Fields
    components: int  # n, internal ones
    odd: bool

    @classmethod
    def of(cls, group: LatticeGroup) -> Variables:
        """Spins that rotate freely are three internal components of a scalar; all else turns with the lattice."""
        if group.internal == "rotation":
            return cls(group, Fields.of(group, [("scalar", 1)]), 3, True)
        return cls(group, Fields.of(group, [("x", 1)]), 1, group.internal == "reversal")

    def gathered(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """x (B, N, D) on cells of a grid, (n B, C, cells...)."""
        grid = x.reshape(len(x), *shape, self.group.basis, self.components, -1)
        d = len(shape)
        # (B, cells, b, n, m) -> (n, B, b, m, cells)
        grid = grid.permute(2 + d, 0, 1 + d, 3 + d, *range(1, 1 + d))
        return grid.reshape(self.components * len(x), -1, *shape)

    def scattered(self, features: Tensor) -> Tensor:
        """What `gathered` would have made these features of, (B, N, D)."""
        n, basis, cells = self.components, self.group.basis, features.shape[2:]
        grid = features.reshape(n, -1, basis, features.shape[1] // basis, *cells)
        d = len(cells)
        # (n, B, b, m, cells) -> (B, cells, b, n, m)
        grid = grid.permute(1, *range(4, 4 + d), 2, 0, 3)
        return grid.reshape(grid.shape[0], -1, n * grid.shape[-1])

    def square(self, features: Tensor) -> Tensor:
        """|x|^2 of each site, (B, b, cells...), from what `gathered` returned."""
        n, basis, cells = self.components, self.group.basis, features.shape[2:]
        return features.reshape(n, -1, basis, features.shape[1] // basis, *cells).square().sum(dim=(0, 3))
