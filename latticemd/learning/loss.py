"""The loss of a batch and its gradient, which ranks share through torch's DistributedDataParallel.

    L = 1/B sum_s w_s |F_s - F^(x_s)|^2        over the B states s of a batch, |.|^2 a mean over sites and components
    L = 1/K sum_k L_k,   L_k = K/B sum_(s of k) w_s |F_s - F^(x_s)|^2

A rank k of K has every K-th state. DistributedDataParallel takes the mean of the gradients of L_k, which is that of L whether or
not K divides B: ranks with more states have more of the sum.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from latticemd.learning.data import Group, predicted
from latticemd.learning.networks import Bound
from latticemd.parallel.comm import Alone


class BatchLoss(nn.Module):
    """L_k of the states of one rank, times how many times more of the batch it has than a rank has on average."""

    def __init__(self, bound: Bound) -> None:
        super().__init__()
        # All modules of `bound` share them. Buffers are left out: no step changes them, so nobody need be told of them.
        self.parameters_of_network = nn.ParameterList(bound.module.parameters())
        self._bound = bound

    def forward(self, states: Group, times: float) -> Tensor:
        """The loss, a number."""
        return times * (states.weight[:, None, None] * (predicted(self._bound, states) - states.force) ** 2).mean()


def shared_loss(bound: Bound, world: Alone) -> nn.Module:
    """A `BatchLoss` after whose `backward()` parameters have the gradient of the whole batch on every rank of `world`.

    All ranks begin with the weights of the first. Parameters that a batch does not need, such as those of a constant energy, are
    looked for in each step; gradients then have the same places in messages from the first step to the last, and a resumed
    training adds them in the same order.
    """
    loss = BatchLoss(bound)
    if world.size == 1:
        return loss
    # About directions of length 1, whose strides mean nothing; and that no parameter was left out, which the next batch may do.
    for words in ("Grad strides do not match", "find_unused_parameters=True was specified"):
        warnings.filterwarnings("ignore", words)
    return nn.parallel.DistributedDataParallel(loss, find_unused_parameters=True)


def states_of_rank(batch: Group, world: Alone) -> tuple[Group, float]:
    """The states of a batch that are this rank's, and K/B times their number.

    A rank for which none is left takes the first one, 0 times: it has to take part in what all ranks do.
    """
    mine = torch.arange(len(batch))[world.rank :: world.size]
    if len(mine) == 0:
        return batch.taken(slice(1)), 0.0
    return batch.taken(mine), world.size * len(mine) / len(batch)
