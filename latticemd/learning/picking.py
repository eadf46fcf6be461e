"""Which states of a run are worth an exact force."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from latticemd.output.states import StoredState

Pick = Callable[[Sequence[StoredState], int, int], list[StoredState]]


def most_uncertain(states: Sequence[StoredState], count: int, seed: int) -> list[StoredState]:
    """Those of the largest rms uncertainty, the most uncertain first; the seed is not needed."""
    return sorted(states, key=lambda state: (-state.rms, state.group, state.step))[:count]


def at_random(states: Sequence[StoredState], count: int, seed: int) -> list[StoredState]:
    """Any of them alike, drawn without repetition by the seed."""
    order = np.random.default_rng(seed).permutation(len(states))
    return [states[i] for i in order[:count]]


POLICIES: dict[str, Pick] = {"uncertain": most_uncertain, "random": at_random}
