"""Networks of points turn, mirror, shift and permute with their points, also where the axes of a cloud are arbitrary."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from forcefields.points.egnn import EGNN
from forcefields.points.frame_graph import FrameGraph
from forcefields.points.frames import FrameAveraged, Rule, drawn_frames, frames_of, relative_gap
from forcefields.points.graph import DeepSets, GraphNetwork
from forcefields.points.plans import PLANS, network_named
from forcefields.points.predictors import Dynamics, Force
from latticemd.errors import InputError

N = 5
LIMITS = {"float32": 1e-5, "float64": 1e-11}
FRAMED = ("sets", "frames", "frame_graph")
KINDS = ("general", "nearly degenerate", "degenerate", "at the switch")
CASES = [(name, kind) for name in FRAMED for kind in KINDS]
CASES += [(name, KINDS[0]) for name in ("egnn", "second_order", "tensor_products")]


@functools.cache
def made(name, precision="float64", seed=0):
    if name == "tensor_products":
        pytest.importorskip("e3nn")
    return network_named(name, seed).to(getattr(torch, precision)).eval()


def clouds(kind, count=3, seed=0):
    """Positions and velocities (B, N, 3) in double precision and charges (B, N)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, v = normal(count, N, 3), normal(count, N, 3)
    q = torch.sign(normal(count, N))
    if kind != "general":
        x = x - x.mean(dim=1, keepdim=True)
        values, axes = torch.linalg.eigh(torch.einsum("bni,bnj->bij", x, x))
        gaps = {"nearly degenerate": 1e-5, "degenerate": 0.0, "at the switch": 0.04}[kind]
        scales = torch.tensor([1.0, (1.0 + gaps) ** 0.5, 1.5], dtype=torch.float64)
        x = torch.einsum("bni,bi->bni", torch.einsum("bni,bij->bnj", x, axes), scales / values.sqrt())
    return x, v, q


def motion(seed, reflected):
    """A random orthogonal matrix and a shift."""
    generator = torch.Generator().manual_seed(seed)
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    if bool(torch.linalg.det(matrix) > 0) == reflected:
        matrix = -matrix
    return matrix, torch.randn(3, generator=generator, dtype=torch.float64)


def answer(network, x, v, q, precision):
    with torch.no_grad():
        return network(x, v, q.to(getattr(torch, precision))).double()


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_networks_follow_every_motion_of_space_and_every_permutation(name, precision, kind):
    network = made(name, precision)
    x, v, q = clouds(kind)
    plain = answer(network, x, v, q, precision)
    assert plain.abs().max() > 1e-3
    for seed in range(2):
        matrix, shift = motion(seed, reflected=seed % 2 == 1)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        turned = answer(network, (x @ matrix.T + shift)[:, order], (v @ matrix.T)[:, order], q[:, order], precision)
        error = (turned - (plain @ matrix.T)[:, order]).abs().max() / plain.abs().max()
        assert error < LIMITS[precision]


def test_a_plain_graph_network_knows_permutations_only():
    network, (x, v, q) = made("graph"), clouds("general")
    plain = answer(network, x, v, q, "float64")
    order = torch.tensor([3, 1, 0, 4, 2])
    permuted = answer(network, x[:, order], v[:, order], q[:, order], "float64")
    torch.testing.assert_close(permuted, plain[:, order], rtol=0, atol=1e-12)
    matrix, _ = motion(0, reflected=False)
    turned = answer(network, x @ matrix.T, v @ matrix.T, q, "float64")
    assert (turned - plain @ matrix.T).abs().max() > 1e-2


@pytest.mark.parametrize("group", ["E", "SE", "O", "SO"])
def test_each_group_of_motions_is_followed_and_no_larger_one(group):
    torch.manual_seed(1)
    network = FrameAveraged(GraphNetwork(hidden=16, depth=2), Rule(group)).double()
    x, v, q = clouds("general", count=4)
    x = x + 0.5  # away from the origin, about which O and SO turn
    plain = answer(network, x, v, q, "float64")

    def error(matrix, shift):
        return (answer(network, x @ matrix.T + shift, v @ matrix.T, q, "float64") - plain @ matrix.T).abs().max()

    (rotation, shift), (reflection, _) = motion(0, reflected=False), motion(1, reflected=True)
    nothing, still = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert error(rotation, still) < 1e-11
    assert (error(reflection, still) < 1e-11) == (not group.startswith("S"))
    assert (error(nothing, shift) < 1e-11) == ("E" in group)
    for wrong in (error(reflection, still), error(nothing, shift)):
        assert wrong < 1e-11 or wrong > 1e-3


@pytest.mark.parametrize("group", ["E", "SO"])
def test_frames_of_clouds_in_the_plane(group):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, N, 2, generator=generator, dtype=torch.float64)
    x[4:, :4] = torch.tensor(
        [[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64
    )  # no axes: both eigenvalues equal
    x[4:, 4] = 0.0
    v = torch.randn(8, N, 2, generator=generator, dtype=torch.float64)

    class Numbers(torch.nn.Module):
        def forward(self, x, v, q):
            return torch.sin(3 * x + v.flip(-1)) * torch.cos(q[..., None] + x[..., :1])

    network, q = FrameAveraged(Numbers(), Rule(group)), torch.ones(8, N, dtype=torch.float64)
    angle = torch.tensor(0.7, dtype=torch.float64)
    matrix = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)]).reshape(2, 2)
    assert set(relative_gap(x, Rule(group))[4:].round(decimals=9).tolist()) == {0.0}
    torch.testing.assert_close(network(x @ matrix.T, v @ matrix.T, q), network(x, v, q) @ matrix.T, rtol=0, atol=1e-11)


def test_frames_are_orthogonal_and_count_as_one():
    x, v, _ = clouds("at the switch", count=7)
    x[:3] = clouds("general", count=3)[0]
    for group, count in (("E", 8), ("SO", 4)):
        frames = frames_of(x, v, Rule(group))
        assert frames[0].axes.shape == (7, count, 3, 3)
        total = torch.zeros(7, dtype=torch.float64)
        for some in frames:
            product = some.axes.transpose(-1, -2) @ some.axes
            torch.testing.assert_close(
                product, torch.eye(3, dtype=torch.float64).expand_as(product), rtol=0, atol=1e-12
            )
            total.index_add_(0, some.clouds, some.weight.sum(dim=1))
            assert (some.weight >= 0).all()
            if group == "SO":
                assert (torch.linalg.det(some.axes[some.weight > 1e-9 * some.weight.max()]) > 0).all()
        torch.testing.assert_close(total, torch.ones(7, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["general", "at the switch", "degenerate"])
def test_drawn_frames_count_as_all_do_on_average(kind):
    x, v, q = clouds(kind, count=1)
    network = FrameAveraged(GraphNetwork(hidden=8, depth=1).double(), drawn=2)
    whole = answer(network.eval(), x, v, q, "float64")
    torch.manual_seed(0)
    many = 4000
    with torch.no_grad():
        copies = network.train()(x.expand(many, -1, -1), v.expand(many, -1, -1), q.expand(many, -1))
    spread = copies.std(dim=0)
    assert spread.max() > 1e-3
    assert ((copies.mean(dim=0) - whole[0]).abs() < 5.0 * spread / many**0.5 + 1e-12).all()
    (drawn,) = drawn_frames(x, v, Rule(), 3)
    assert drawn.axes.shape == (1, 3, 3, 3)
    assert drawn.weight.tolist() == [[1 / 3] * 3]
    (most,) = drawn_frames(x, v, Rule("SE"), 8)
    assert most.axes.shape == (1, 4, 3, 3)


def test_second_order_motion_conserves_momentum_and_rides_along():
    network, (x, v, q) = made("second_order"), clouds("general", count=6)
    missed, gained = network.motion(x, v, q)
    assert gained.abs().max() > 1e-3
    torch.testing.assert_close(gained.sum(dim=1), torch.zeros(6, 3, dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(missed.sum(dim=1), torch.zeros(6, 3, dtype=torch.float64), rtol=0, atol=1e-13)
    boosted = network(x, v + torch.tensor([0.3, -2.0, 1.0], dtype=torch.float64), q)
    torch.testing.assert_close(boosted, missed, rtol=0, atol=1e-12)


def crossing(steps):
    """A cloud whose two smaller eigenvalues change places along the way, (steps, N, 3), and how far a step moves it."""
    x, v, q = clouds("degenerate", count=1, seed=4)
    s = torch.linspace(-0.2, 0.2, steps, dtype=torch.float64)
    scale = torch.stack([1.0 + s, 1.0 - s, torch.ones_like(s)], dim=1)
    sheared = x * scale[:, None]
    sheared[..., 0] += 1e-6 * x[..., 1]  # so that axes turn, and do not only change places
    return sheared, v.expand(steps, -1, -1), q.expand(steps, -1)


@pytest.mark.parametrize("name", ["sets", "frames", pytest.param("frame_graph", marks=pytest.mark.slow)])
def test_nothing_jumps_where_eigenvalues_cross(name):
    # Stated bound: answers of order one change by less than 100 times what the points move, however small the step.
    network = made(name)
    sizes = []
    for steps in (41, 205):
        x, v, q = crossing(steps)
        answers = answer(network, x, v, q, "float64")
        moved = (x[1:] - x[:-1]).flatten(1).norm(dim=1)
        changed = (answers[1:] - answers[:-1]).flatten(1).norm(dim=1)
        sizes.append(float((changed / moved).max()))
    assert max(sizes) < 100.0
    assert sizes[1] < 2.0 * sizes[0]  # a slope, and no jump, which would be five times as steep


def test_axes_alone_would_jump():
    # With four times as many steps along the same way, a slope gives steps a quarter as large, and a jump one as large.
    torch.manual_seed(0)
    backbone = GraphNetwork(hidden=16, depth=2).double()
    for rule, jumps in ((Rule(low=1e-12, high=2e-12), True), (Rule(), False)):
        largest = []
        for steps in (100, 400):
            answers = answer(FrameAveraged(backbone, rule), *crossing(steps), "float64")
            largest.append(float((answers[1:] - answers[:-1]).flatten(1).norm(dim=1).max()))
        share = largest[1] / largest[0]
        assert 0.9 < share < 1.1 if jumps else 0.2 < share < 0.4


def test_a_cloud_without_axes_can_be_refused():
    x, v, q = clouds("degenerate", count=3)
    network = FrameAveraged(GraphNetwork().double(), Rule(refuse=True))
    with pytest.raises(InputError, match=r"differ by .* of the largest, less than 0\.06"):
        network(x, v, q)
    general = clouds("general", count=1, seed=3)
    assert float(relative_gap(general[0], Rule())) > 0.06
    torch.testing.assert_close(network(*general), FrameAveraged(network.network)(*general))
    with pytest.raises(InputError, match="lie on one line"):
        FrameAveraged(GraphNetwork().double())(torch.zeros_like(x), torch.zeros_like(v), q)
    with pytest.raises(InputError, match=r"low 0\.5 and high 0\.1"):
        Rule(low=0.5, high=0.1)
    with pytest.raises(InputError, match="unknown group"):
        Rule("D4")


def test_points_on_a_line_have_frames_by_their_velocities():
    x, v, q = clouds("general", count=4)
    x[..., 1:] = 0.0
    network = FrameAveraged(GraphNetwork(hidden=16, depth=2).double())
    plain = answer(network, x, v, q, "float64")
    matrix, shift = motion(2, reflected=True)
    turned = answer(network, x @ matrix.T + shift, v @ matrix.T, q, "float64")
    torch.testing.assert_close(turned, plain @ matrix.T, rtol=0, atol=1e-11)


def test_gradients_are_finite_where_axes_are_arbitrary():
    x, v, q = clouds("degenerate")
    x.requires_grad_(True)
    network = made("frame_graph")
    network(x, v, q).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


@pytest.mark.parametrize("name", PLANS)
def test_predictors_give_forces_and_later_positions(name):
    x, v, q = clouds("general")
    network = made(name)
    later = Dynamics(network, horizon=0.5)(x, v, q)
    torch.testing.assert_close(later, x + 0.5 * v + network(x, v, q))
    assert Force(network)(x, q).shape == x.shape
    if name == "straight":
        torch.testing.assert_close(later, x + 0.5 * v)


SLOW = ("frames", "frame_graph", "tensor_products")  # eight graphs and more for every step


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PLANS if name != "straight"]
)
def test_networks_learn(name):
    # A few steps on the motion of two opposite charges: the error falls well below that of straight motion.
    x, v, q = clouds("general", count=8)
    network = Dynamics(made(name, seed=1), horizon=1.0)
    away = x[:, :, None] - x[:, None]
    pull = (q[:, :, None] * q[:, None])[..., None] * away / (0.5 + (away**2).sum(-1, keepdim=True))
    target = x + v + 0.3 * pull.sum(dim=2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(120):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x, v, q), target)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.min(losses) < 0.5 * float(torch.mean((x + v - target) ** 2))


def test_sizes_are_those_of_the_literature():
    assert FrameGraph().vectors == 20
    assert len(FrameGraph().convolutions) == len(EGNN().layers) == len(GraphNetwork().convolutions) == 4
    assert sum(weight.numel() for weight in DeepSets().parameters()) < 200_000
    with pytest.raises(InputError, match="known: straight, graph"):
        network_named("transformer")
