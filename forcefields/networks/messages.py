"""Cavity Green's functions on directed bonds as differentiable tensors: what `forcefields.cavity` iterates, for networks.

Complex numbers are pairs of real tensors: that is faster, and torch compiles it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forcefields.equivariant import LatticeGroup
from forcefields.equivariant.representations import neighbours_of
from latticemd.errors import InputError
from latticemd.models.model import Model

Complex = tuple[Tensor, Tensor]


def inverse(z: Complex) -> Complex:
    """1/z."""
    norm = z[0].square() + z[1].square()
    return z[0] / norm, -z[1] / norm


def uniform_hopping(model: Model) -> float:
    """The amplitude t^2 > 0 of hops that are the same between all nearest neighbours, as t; InputError for other models."""
    hops = model.hops()
    bonds = model.lattice.bonds()
    amplitude = np.asarray(hops.amplitude)
    same = amplitude.ndim == 1 and len(hops.i) == len(bonds.i) and not np.iscomplexobj(amplitude)
    if not same or model.orbitals != 1 or model.needs_bonds or np.ptp(np.abs(amplitude)) > 1e-12:
        raise InputError(
            f"features: cavity and network cavity_gnn are for one orbital and equal hops between nearest neighbours; "
            f"{type(model).__name__} has others: use features: saturated, and base: cavity if you like"
        )
    return float(abs(amplitude[0]))


@dataclass(frozen=True, eq=False)
class Messages:
    """M_{y -> x} = 1/(e_y - i w - t^2 sum_{u != x} M_{u -> y}) on every bond into every site, at frequencies w.

    Tensors of messages are (B, P, b z, cells...): for each of z neighbours y of a site x of the basis, in the order of
    `directed` features.
    """

    group: LatticeGroup
    hopping: float
    sweeps: int

    @property
    def reach(self) -> int:
        """How many cells away a message depends on the levels."""
        return (self.sweeps + 1) * max(abs(n) for *_, offset in self.group.lattice.offsets(1) for n in offset)

    def into(self, levels: Tensor, frequencies: Tensor) -> Complex:
        """Messages for levels (B, b, cells...) measured from mu and frequencies (P,), one 1 x 1 ... dimension per cell axis."""
        neighbours = neighbours_of(self.group)
        basis, z, square = len(neighbours), len(neighbours[0]), self.hopping**2
        d = levels.ndim - 2
        w = frequencies.reshape(1, -1, 1, *(1,) * d)
        e = levels[:, None]  # (B, 1, b, cells)
        bare = e.expand(-1, len(frequencies), *e.shape[2:]), -w.expand(len(levels), -1, *e.shape[2:])
        first = inverse((bare[0], bare[1]))
        outward = [[tuple(part[:, :, b] for part in first)] * z for b in range(basis)]
        inward = self._arriving(outward, neighbours)
        for _ in range(self.sweeps):
            outward = []
            for b in range(basis):
                real, imaginary = (sum(one[part] for one in inward[b]) for part in (0, 1))
                outward.append(
                    [
                        inverse(
                            (
                                bare[0][:, :, b] - square * (real - one[0]),
                                bare[1][:, :, b] - square * (imaginary - one[1]),
                            )
                        )
                        for one in inward[b]
                    ]
                )
            inward = self._arriving(outward, neighbours)
        flat = [one for around in inward for one in around]
        return torch.stack([one[0] for one in flat], dim=2), torch.stack([one[1] for one in flat], dim=2)

    def _arriving(self, outward: list, neighbours: list) -> list:
        """What the neighbours send: outward[b][k] leaves b towards its k-th neighbour."""
        inward = []
        for b, around in enumerate(neighbours):
            arriving = []
            for source, offset in around:
                back = neighbours[source].index((b, tuple(-n for n in offset)))
                arriving.append(tuple(shifted(part, offset) for part in outward[source][back]))
            inward.append(arriving)
        return inward


def shifted(values: Tensor, offset: tuple[int, ...]) -> Tensor:
    """The tensor whose value at a cell is that of `values` (..., cells...) `offset` cells further, periodically."""
    d = len(offset)
    return torch.roll(values, tuple(-n for n in offset), dims=tuple(range(-d, 0)))
