"""Runs opened for reading, and what several of them must have in common for their distributions to be put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.distributions import edges_for
from latticemd.analysis.quantity import Quantity, common_times
from latticemd.analysis.spectra import Window, level_bounds
from latticemd.build import build_model
from latticemd.config import RunInput, stored_input
from latticemd.errors import InputError
from latticemd.figures.reading import chosen_frames
from latticemd.output.frames import Frames
from latticemd.output.trajectory import read_trajectory

Array = NDArray[Any]

DISTRIBUTIONS, SPECTRA = 12, 4  # times at which histograms and densities of states are taken, evenly in ln t


@contextmanager
def opened(directory: Path) -> Iterator[tuple[RunInput, Frames]]:
    """The resolved input and the frames of the run in a directory. Raises InputError where there is none."""
    path = Path(directory) / "trajectory.h5"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the directory of a run")
    with read_trajectory(path) as trajectory:
        run_input = stored_input(trajectory.attributes["input"], path)
        yield run_input, Frames(trajectory, *build_model(run_input))


@dataclass(frozen=True)
class Shared:
    """A few times (T,) that all runs have, bins of x that hold it at these times, and energies that hold all levels then.

    `window` is None where frames hold no x, or where levels follow from fields that frames do not hold (interacting electrons).
    """

    times: Array
    edges: Array
    window: Window | None

    @classmethod
    def by(cls, directories: Sequence[Path]) -> Shared:
        """Look through the frames of all runs at times that they share. Raises InputError for what is no run."""
        every = []
        for directory in directories:
            with opened(directory) as (_, frames):
                every.append(Quantity(frames.time, np.zeros((len(frames), 1)), "1"))
        common = common_times(every)
        times = common[chosen_frames(common, DISTRIBUTIONS)] if len(common) else common
        largest, levels, temperatures = [0.0], [], []
        for directory in directories:
            with opened(directory) as (_, frames):
                if not frames.has("displacement"):
                    continue
                temperatures.append(frames.model.electronic_temperature)
                for frame in frames_at(frames, times):
                    x = frames.displacement(frame)
                    largest.append(float(np.abs(x).max()))
                    if not frames.model.interacting:
                        levels.append(level_bounds(frames.model_at(frame), x))
        return cls(times, edges_for(largest), Window.holding(levels, min(temperatures)) if levels else None)

    @property
    def few_times(self) -> Array:
        """The times of what takes long."""
        return self.times[chosen_frames(self.times, SPECTRA)] if len(self.times) else self.times


def frames_at(frames: Frames, times: Array) -> list[int]:
    """The numbers of the frames at times that they have."""
    return [int(np.abs(frames.time - time).argmin()) for time in times]
