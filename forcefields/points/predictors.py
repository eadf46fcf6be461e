"""What networks of points are asked: the force now, or where the points are a long time later; and the networks by name.

A network returns vectors (B, N, 3) that turn with the points and do not see shifts. As a force they are what they are; as
an answer about the future they are what straight motion misses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from forcefields.points.egnn import EGNN
from forcefields.points.frame_graph import FrameGraph
from forcefields.points.frames import FrameAveraged
from forcefields.points.graph import DeepSets, GraphNetwork
from forcefields.points.tensor_products import TensorProducts
from latticemd.errors import InputError


class Force(nn.Module):
    """module(x, q) -> forces (B, N, 3) [energy/length] of points at rest, such as those of `coulomb`.

    Predicted, and not differentiated from an energy, so they are no gradients.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        """Forces of points x (B, N, 3) with charges q (B, N)."""
        return self.network(x, torch.zeros_like(x), q)


class Dynamics(nn.Module):
    """module(x, v, q) -> positions (B, N, 3) after the time `horizon`: x + horizon v + network(x, v, q).

    Positions are summed in the precision of x; the network works in that of its weights, which is also that of q.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        super().__init__()
        self.network = network
        self.horizon = horizon

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Later positions of points x, v (B, N, 3) with charges q (B, N)."""
        return x + self.horizon * v + self.network(x, v, q).to(x.dtype)


class Straight(nn.Module):
    """Nothing beyond straight motion: zero vectors, and no weights. What any network has to beat."""

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Zeros (B, N, 3)."""
        return torch.zeros_like(x)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "straight": Straight,
    "graph": GraphNetwork,
    "sets": lambda: FrameAveraged(DeepSets()),
    "frames": lambda: FrameAveraged(GraphNetwork()),
    "frame_graph": FrameGraph,
    "egnn": EGNN,
    "tensor_products": TensorProducts,
}


def network_named(name: str, seed: int = 0) -> nn.Module:
    """A network with its standard sizes and the first weights that belong to a seed, in double precision.

    Convert it with `.to(torch.float32)`; the other way round, the coupling coefficients of e3nn would stay rounded. Raises
    InputError for an unknown name.
    """
    if name not in NETWORKS:
        raise InputError(f"unknown network of points {name!r}; known: {', '.join(NETWORKS)}")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        return NETWORKS[name]()
    finally:
        torch.set_default_dtype(before)
