"""Frames: axes that a cloud of points brings with it, in which any network may look at it and stay equivariant.

    F(x) = sum_f w_f R_f phi(R_f^T (x - t)),       t the centre of the cloud

The R_f are the axes of its covariance (principal component analysis, PCA) with every choice of signs, so that the average
turns, reflects and moves as the cloud does, whatever phi is. Where two eigenvalues of the covariance nearly coincide, its axes are
arbitrary, and would jump from one cloud to the next. There the average passes smoothly to other frames, made of the
vectors of the cloud by orthonormalising each two of them, with weights |a x b|^2 that vanish where two are parallel.

Frames are found in double precision, and gradients do not pass through them. Turning the cloud turns the frames up to the
rounding error of the coordinates over the smallest gap that PCA is trusted at, `low`: give coordinates in double
precision where that matters.

References: Puny et al., arXiv:2110.03336 (frame averaging); Dym, Lawrence and Siegel, arXiv:2402.16077 (weighted frames, which
are continuous where unweighted ones cannot be).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latticemd.errors import InputError

GROUPS = ("E", "SE", "O", "SO")  # with (E) and without shifts; S: without reflections

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Rule:
    """Which motions of space a network shall follow, and from where on PCA is trusted.

    ==========  =========================================================================================================
    group       E: shifts, rotations, reflections; SE: shifts, rotations; O and SO: the same without shifts
    low, high   gaps between eigenvalues over the largest of them: below `low` only the other frames count, above `high`
                only those of PCA
    refuse      raise InputError below `high` instead
    ==========  =========================================================================================================
    """

    group: str = "E"
    low: float = 0.02
    high: float = 0.06
    refuse: bool = False

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise InputError(f"unknown group {self.group!r} of motions; known: {', '.join(GROUPS)}")
        if not 0.0 < self.low < self.high:
            raise InputError(f"expected 0 < low < high, got low {self.low:g} and high {self.high:g}")

    @property
    def reflections(self) -> bool:
        """Whether reflections count."""
        return not self.group.startswith("S")

    @property
    def shifts(self) -> bool:
        """Whether shifts count."""
        return "E" in self.group


@dataclass(frozen=True)
class Frames:
    """Axes of some of B clouds.

    ========  =============  =================================================================
    field     shape          meaning
    ========  =============  =================================================================
    clouds    (B',)          numbers of the clouds that these belong to
    axes      (B', F, d, d)  orthogonal matrices whose columns are the axes, in double precision
    weight    (B', F)        what each counts; with those of other `Frames`, 1 for each cloud
    ========  =============  =================================================================
    """

    clouds: Tensor
    axes: Tensor
    weight: Tensor


def centre_of(x: Tensor, rule: Rule) -> Tensor:
    """t (B, 1, d): the mean of the points in double precision, or the origin where shifts do not count."""
    centre = x.double().mean(dim=1, keepdim=True)
    return centre if rule.shifts else torch.zeros_like(centre)


def relative_gap(x: Tensor, rule: Rule) -> Tensor:
    """The smallest difference of two eigenvalues of the covariance over the largest of them, (B, N, d) -> (B,)."""
    return _principal(x.double() - centre_of(x, rule))[1]


def frames_of(x: Tensor, v: Tensor | None, rule: Rule) -> list[Frames]:
    """Frames of clouds x (B, N, d), d = 2 or 3, whose vectors v (B, N, d) help where points alone lie on a line.

    PCA gives 2^d frames for each cloud, half as many without reflections; near coincident eigenvalues come up to
    N (2 N - 1) pairs of vectors in three dimensions, N vectors in two, each once or, with reflections, twice. Raises InputError
    for a cloud that has no direction at all, or one below the gap `high` where the rule says to refuse.
    """
    with torch.no_grad():
        centred = x.double() - centre_of(x, rule)
        axes, gap = _principal(centred)
        trust = _smooth_step((gap - rule.low) / (rule.high - rule.low))
        if rule.refuse and bool((trust < 1.0).any()):
            worst = int(gap.argmin())
            raise InputError(
                f"cloud {worst}: two eigenvalues of its covariance differ by {float(gap[worst]):.2g} of the largest, less than "
                f"{rule.high:g}, so that its axes are arbitrary; allow the smooth average"
            )
        signs = _signs(axes.shape[-1], axes)
        signed = axes[:, None] * signs[None, :, None, :]
        weight = torch.ones(signed.shape[:2], dtype=axes.dtype, device=axes.device)
        if not rule.reflections:
            weight = (torch.linalg.det(signed) > 0).to(axes.dtype)
            kept = weight.bool()
            signed = signed[kept].reshape(len(x), -1, *axes.shape[1:])
            weight = weight[kept].reshape(len(x), -1)
        everyone = torch.arange(len(x), device=x.device)
        found = [Frames(everyone, signed, weight * (trust / weight.shape[1])[:, None])]
        doubted = everyone[trust < 1.0]
        if len(doubted):
            more = centred[doubted] if v is None else torch.cat([centred[doubted], v[doubted].double()], dim=1)
            axes, weight = _of_vectors(centred[doubted], more, rule.reflections)
            found.append(Frames(doubted, axes, weight * (1.0 - trust[doubted])[:, None]))
        return found


def drawn_frames(x: Tensor, v: Tensor | None, rule: Rule, count: int) -> list[Frames]:
    """`count` of the frames of each cloud, drawn from torch's generator; on average they count as all do.

    For trainings, where all of them would be too slow. Signs of PCA are drawn without repetition, at most as many as there
    are; near coincident eigenvalues a cloud is seen in other frames as often as these count in the smooth average.
    """
    principal, *others = frames_of(x, v, rule)
    chosen = torch.rand(principal.weight.shape, device=x.device).argsort(dim=1)[:, :count]
    axes = principal.axes[principal.clouds[:, None], chosen]
    for some in others:
        now = torch.rand(len(some.clouds), device=x.device) < some.weight.sum(dim=1)
        if bool(now.any()):
            picked = torch.multinomial(some.weight[now], chosen.shape[1], replacement=True)
            axes[some.clouds[now]] = torch.take_along_dim(some.axes[now], picked[..., None, None], dim=1)
    return [Frames(principal.clouds, axes, torch.full_like(axes[..., 0, 0], 1.0 / chosen.shape[1]))]


def averaged(frames: list[Frames], function: Function, vectors: Tensor, *invariant: Tensor) -> Tensor:
    """sum_f w_f R_f function(R_f^T vectors, invariant): vectors (B, N, K, d) to vectors (B, N, K', d).

    `function` takes (M, N, K, d) in the precision of `vectors`, which come centred, and invariants (M, ...); M counts
    clouds and frames.
    """
    result: Tensor | None = None
    for some in frames:
        b, f = some.weight.shape
        seen = torch.einsum("bfij,bnki->bfnkj", some.axes, vectors[some.clouds].double()).to(vectors.dtype)
        same = [values[some.clouds].repeat_interleave(f, dim=0) for values in invariant]
        answer = function(seen.flatten(0, 1), *same)
        turned = (some.axes * some.weight[..., None, None]).to(answer.dtype)
        back = torch.einsum("bfij,bfnkj->bnki", turned, answer.reshape(b, f, *answer.shape[1:]))
        if result is None:
            result = back.new_zeros(len(vectors), *back.shape[1:])
        result = result.index_add(0, some.clouds, back)
    assert result is not None, "PCA has frames for every cloud"
    return result


class FrameAveraged(nn.Module):
    """Any network of points made equivariant: module(x, v, q) -> vectors (B, N, d).

    The network sees positions from the centre of their cloud, and v and its answer as vectors. Where the average over
    frames would be too slow, a network that is equivariant layer by layer, such as `EGNN`, asks for one evaluation instead of 2^d.
    While it trains it may see `drawn` frames of each cloud only, other ones every time.
    """

    def __init__(self, network: nn.Module, rule: Rule | None = None, drawn: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.rule = rule or Rule()
        self.drawn = drawn

    def forward(self, x: Tensor, v: Tensor, q: Tensor) -> Tensor:
        """Vectors (B, N, d) of points x, v (B, N, d) with charges q (B, N)."""
        centred = (x.double() - centre_of(x, self.rule)).to(q.dtype)
        vectors = torch.stack([centred, v.to(q.dtype)], dim=2)

        def seen(pair: Tensor, charges: Tensor) -> Tensor:
            return self.network(pair[:, :, 0], pair[:, :, 1], charges)[:, :, None]

        frames = (
            drawn_frames(x, v, self.rule, self.drawn) if self.training and self.drawn else frames_of(x, v, self.rule)
        )
        return averaged(frames, seen, vectors, q)[:, :, 0]


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Axes (B, d, d) of the covariance as columns, and the relative gap (B,); zero for a cloud that is one point."""
    covariance = torch.einsum("bni,bnj->bij", centred, centred) / centred.shape[1]
    values, axes = torch.linalg.eigh(covariance)
    largest = values[:, -1]
    gap = (values[:, 1:] - values[:, :-1]).amin(dim=1)
    return axes, torch.where(largest > 0.0, gap / largest.clamp_min(1e-300), torch.zeros_like(gap))


def _signs(dimensions: int, like: Tensor) -> Tensor:
    """All choices of signs, (2^d, d)."""
    return torch.tensor(list(itertools.product((1.0, -1.0), repeat=dimensions)), dtype=like.dtype, device=like.device)


def _smooth_step(t: Tensor) -> Tensor:
    """0 below 0, 1 above 1, with two continuous derivatives."""
    t = t.clamp(0.0, 1.0)
    return t**3 * (t * (6.0 * t - 15.0) + 10.0)


def _of_vectors(first: Tensor, second: Tensor, reflections: bool) -> tuple[Tensor, Tensor]:
    """Frames from pairs of one vector of `first` and one of `second`, or in two dimensions from `second` alone, and weights."""
    if first.shape[-1] == 2:
        a = second
        across = torch.stack([-a[..., 1], a[..., 0]], dim=-1)
        axes, weight = torch.stack([_unit(a), _unit(across)], dim=-1), (a**2).sum(dim=-1)
    else:
        n, m = first.shape[1], second.shape[1]
        i, j = torch.cartesian_prod(torch.arange(n, device=first.device), torch.arange(m, device=first.device)).T
        i, j = i[i != j], j[i != j]
        a, b = first[:, i], second[:, j]
        normal = torch.linalg.cross(a, b)
        e1, e3 = _unit(a), _unit(normal)
        axes, weight = torch.stack([e1, torch.linalg.cross(e3, e1), e3], dim=-1), (normal**2).sum(dim=-1)
    if reflections:
        mirrored = torch.cat([axes[..., :-1], -axes[..., -1:]], dim=-1)
        axes, weight = torch.cat([axes, mirrored], dim=1), weight.repeat(1, 2)
    total = weight.sum(dim=1, keepdim=True)
    if not bool((total > 0.0).all()):
        empty = int((total[:, 0] <= 0.0).nonzero()[0, 0])
        raise InputError(
            f"the points and vectors of cloud {empty} of those without axes lie on one line, and have no frame"
        )
    return axes, weight / total


def _unit(a: Tensor) -> Tensor:
    return a / torch.linalg.vector_norm(a, dim=-1, keepdim=True).clamp_min(1e-300)
