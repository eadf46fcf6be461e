"""UncertaintyReporter: halts a run where its force field is too uncertain, and keeps the states worth labelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latticemd.output.h5md import TrajectoryHeader
from latticemd.output.states import StoredState, read_states, write_states
from latticemd.reporters.trajectory import group_name
from latticemd.schedules import When
from latticemd.simulation import Frame
from latticemd.state import Array

WORTH = 0.5  # of the limit: states below it are close to what the force field knows


@dataclass(frozen=True)
class Limits:
    """Largest uncertainties that are accepted: rms over sites, and of any site [energy/length]; None for no limit."""

    rms: float | None = None
    largest: float | None = None

    def levels(self, rms: Array, largest: Array) -> Array:
        """Uncertainties (R,) of replicas, each in units of the limit that it comes closest to, or exceeds most."""
        levels = [rms / self.rms] if self.rms is not None else []
        levels += [largest / self.largest] if self.largest is not None else []
        return np.asarray(np.max(levels, axis=0))

    def level(self, uncertainty: Array) -> float:
        """The same of the sites (N,) of one replica."""
        return float(self.levels(np.sqrt(np.mean(uncertainty**2)), uncertainty.max()))

    def explained(self, uncertainty: Array) -> str:
        """What exceeds which limit, in words."""
        rms, site = float(np.sqrt(np.mean(uncertainty**2))), int(uncertainty.argmax())
        words = f"the force is uncertain by {rms:.4g} [energy/length] rms"
        words += f" (limit {self.rms:g})" if self.rms is not None else ""
        words += f" and by {uncertainty[site]:.4g} at site {site}"
        return words + (f" (limit {self.largest:g})" if self.largest is not None else "")


@dataclass
class UncertaintyReporter:
    """Compares the uncertainty of every replica with limits when due; `reason` says why the run should halt.

    Worth keeping are states that reach half of a limit: those of the trajectory's frames (`frames`), so that they are not all
    alike, and the one that exceeds it; of them the `most` uncertain ones. That is a set which no kill or restart changes, since
    the same steps come again with the same states.

    Ranks agree on how uncertain each replica is; states worth keeping come to the first rank, which keeps and writes them.
    """

    limits: Limits
    when: When
    frames: When
    most: int
    path: Path
    header: TrajectoryHeader
    first_replica: int = 0
    reason: str = ""
    kept: dict[tuple[str, int], StoredState] = field(default_factory=dict)

    def report(self, frame: Frame) -> None:
        """Look at one frame."""
        share, uncertainty = frame.share, frame.uncertainty
        rms = np.sqrt(share.total(uncertainty**2) / share.whole.sites)
        levels = share.world.told(share.collected(self.limits.levels(rms, share.highest(uncertainty))))
        worth = levels > 1.0
        if self.frames.due(frame.step):
            worth |= levels >= WORTH
        if not worth.any():
            return
        x, uncertain, replicas = share.gathered(frame.positions), share.gathered(uncertainty), len(levels)
        if x is not None and uncertain is not None:
            for r in np.flatnonzero(worth).tolist():
                group = group_name(self.first_replica + r, replicas)
                self._keep(StoredState(group, frame.step, frame.time, x[r].copy(), uncertain[r].copy()))
                if levels[r] > 1.0 and not self.reason:
                    place = f" in replica {self.first_replica + r}" if replicas > 1 else ""
                    self.reason = self.limits.explained(uncertain[r]) + place
        self.reason = share.world.told(self.reason)

    def restore(self) -> None:
        """Take up what an earlier part of the run has kept."""
        if self.path.is_file():
            self.kept = {(state.group, state.step): state for state in read_states(self.path)}

    def save(self) -> None:
        """Write what is kept, if anything is."""
        if self.kept:
            write_states(self.path, list(self.kept.values()), self.header)

    def _keep(self, state: StoredState) -> None:
        self.kept[state.group, state.step] = state
        if len(self.kept) > self.most:
            del self.kept[min(self.kept, key=lambda key: (self._level(key), key))]

    def _level(self, key: tuple[str, int]) -> float:
        uncertainty = self.kept[key].uncertainty
        assert uncertainty is not None
        return self.limits.level(uncertainty)
