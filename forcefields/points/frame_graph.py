"""A graph network of vectors whose every layer is averaged over frames, and finds new frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forcefields.points.frames import Frames, Rule, averaged, centre_of, drawn_frames, frames_of
from forcefields.points.graph import GraphConvolution, layers, pair_features


class FrameGraph(nn.Module):
    """Points carry K vectors each, 3 K numbers in a frame, on which graph convolutions act as on any numbers.

    h^0 = <embed(x - t, v, q)>,  h^(l+1) = <convolve_l(h^l)>,  x^(l+1) = x^l + h_1^(l+1)

    <.> is the average over the frames of the cloud x^l (`forcefields.points.frames`), so that every layer
    has the symmetry and none needs to see all sign choices of the layers before it. The first of the K vectors moves the
    points; what moved them is the answer.

    Cost: eight graph convolutions on 3 K numbers per layer; more for clouds whose axes are arbitrary. While it trains it may see
    `drawn` frames of each cloud only, other ones in every layer and every time.

    Reference: Puny et al., arXiv:2110.03336, sec. 4.3 (n-body).
    """

    def __init__(self, vectors: int = 20, depth: int = 4, rule: Rule | None = None, drawn: int | None = None) -> None:
        super().__init__()
        self.vectors = vectors
        self.rule = rule or Rule()
        self.drawn = drawn
        hidden = 3 * vectors
        self.first = layers([7, hidden, hidden])
        self.convolutions = nn.ModuleList(GraphConvolution(hidden) for _ in range(depth))

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, 3) of points x, v (B, N, 3) with charges q (B, N)."""
        start, v = x.double() - centre_of(x, self.rule), v.to(q.dtype)

        def embed(pair: Tensor, charges: Tensor) -> Tensor:
            flat = torch.cat([pair.flatten(2), charges[..., None]], dim=-1)
            return self.first(flat).unflatten(-1, (self.vectors, 3))

        given = torch.stack([start.to(q.dtype), v], dim=2)
        h = averaged(self._frames(start, v), embed, given, q)
        moved = torch.zeros_like(start)
        for convolution in self.convolutions:

            def convolve(vectors: Tensor, pairs: Tensor, layer: nn.Module = convolution) -> Tensor:
                return layer(vectors.flatten(2), pairs).unflatten(-1, (self.vectors, 3))

            cloud = start + moved
            h = averaged(self._frames(cloud, v), convolve, h, pair_features(cloud.to(q.dtype), q))
            moved = moved + h[:, :, 0].double()
        return moved.to(q.dtype)

    def _frames(self, x: Tensor, v: Tensor) -> list[Frames]:
        if self.training and self.drawn:
            return drawn_frames(x, v, self.rule, self.drawn)
        return frames_of(x, v, self.rule)
