"""States turned by random symmetries of their model, for networks that do not keep these by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latticemd.errors import InputError
from latticemd.learning.data import Group
from latticemd.models.model import Model

if TYPE_CHECKING:
    import torch

_STREAM = 1  # tells the generator of a step apart from that of an epoch


class Augmentation:
    """x -> S x and F -> S F with S drawn for each state from the operations about a site times the internal symmetries.

    What is drawn is a pure function of seed and step. Translations are left out: networks keep them.
    """

    def __init__(self, groups: Sequence[Group], seed: int) -> None:
        self._seed = seed
        self._tables = [_Operations(group.model, group.x.dtype) for group in groups]

    def turned(self, group: int, states: Group, step: int) -> Group:
        """The states of a batch, each turned by an operation of its own."""
        table = self._tables[group]
        drawn = np.random.default_rng([self._seed, step, _STREAM]).integers(table.count, size=len(states))
        x = table.applied(states.x, drawn, shifted=True)
        force = table.applied(states.force, drawn, shifted=False)
        reference = None if states.reference is None else table.applied(states.reference, drawn, shifted=False)
        return Group(states.model, x, force, states.weight, reference)


class _Operations:
    """Site permutations and matrices of all operations of a model."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        import torch

        sources, matrices, shifts = [], [], []
        identity = np.eye(model.components)
        internal = [(identity, 0.0)] + [(one.matrix, one.shift) for one in model.internal_symmetries()]
        for operation in model.symmetries(translations=False):
            matrix = model.representation(operation)
            if matrix is None:
                raise InputError(
                    f"augment: {type(model).__name__} does not say how {operation.name} turns its variables"
                )
            for inner, shift in internal:
                sources.append(np.argsort(operation.permutation))  # image[permutation] = x is image = x[source]
                matrices.append(inner @ matrix)
                shifts.append(shift)
        self.count = len(sources)
        self._source = torch.from_numpy(np.array(sources))
        self._matrix = torch.as_tensor(np.array(matrices), dtype=dtype)
        self._shift = torch.as_tensor(np.array(shifts), dtype=dtype)

    def applied(self, values: torch.Tensor, drawn: np.ndarray, shifted: bool) -> torch.Tensor:
        """The values (B, N, D) that the drawn operations (B,) make of them."""
        import torch

        chosen = torch.from_numpy(drawn)
        moved = torch.gather(values, 1, self._source[chosen][:, :, None].expand_as(values))
        turned = torch.einsum("bij,bnj->bni", self._matrix[chosen], moved)
        return turned + self._shift[chosen][:, None, None] if shifted else turned
