"""Particles as a page carries them: three numbers for each, which a small script looks at from any side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.clouds import pair_densities_in, reach
from latticemd.analysis.measuring import Measure
from latticemd.errors import InputError
from latticemd.figures.particles import SOFTER, half_edge, viewing_axes
from latticemd.figures.reading import evenly_chosen
from latticemd.models.particles import Particles
from latticemd.output.frames import Frames
from latticemd.report.fields import frames_allowed, packed

Array = NDArray[Any]

NUMBER = np.dtype("<f4")  # as a browser reads it, wherever the page was written
BINS = 60  # of distances of pairs


def cloud_frames(frames: Frames, runs: int, most: int) -> list[int]:
    """The frames of a run of particles on a page with so many runs, evenly in time, since particles never stop moving.

    Raises InputError where frames hold no positions, or where not even one has room.
    """
    if not frames.has("displacement"):
        raise InputError(
            f"{frames.trajectory.path}: its frames hold no positions; the run needs output.fields displacement"
        )
    needed = 3 * NUMBER.itemsize * frames.model.lattice.sites
    allowed = frames_allowed(needed, f"{frames.model.lattice.sites} particles", runs, most)
    return evenly_chosen(len(frames), allowed)


def cloud(frames: Frames, chosen: list[int], model: Particles) -> dict[str, Any]:
    """Positions (K, N, 3) of the first replica at the chosen frames about their mean, read one by one, and how to look at them.

    ==========  ========================================================================================
    key         meaning
    ==========  ========================================================================================
    `bytes`     the positions, single precision, see `latticemd.report.fields.packed`
    `centre`    (3,) their mean over all particles and frames, to be added for what is read of them [length]
    `axes`      rows (3, 3): to the right, up and towards the viewer, see `viewing_axes`
    `edge`      half the edge of the picture [length]
    `charges`   (N,) [charge]; `limit` is the end of their colours
    ==========  ========================================================================================

    Memory O(frames x particles).
    """
    x = np.stack([frames.displacement(frame)[0] for frame in chosen])
    centre = x.mean(axis=(0, 1))
    x -= centre
    axes = viewing_axes(x)
    return {
        "kind": "particles",
        "cells": x.shape[1],
        "block": 1,
        "bytes": packed(x.astype(NUMBER).tobytes()),
        "centre": centre,
        "axes": axes,
        "edge": half_edge(x @ axes[:2].T),
        "charges": model.q,
        "limit": SOFTER * float(np.abs(model.q).max()) or 1.0,
    }


def cloud_measures(edge: float) -> list[Measure]:
    """What is measured of every frame that is shown; distances of pairs up to the edge of the picture."""
    return [reach, pair_densities_in(np.linspace(0.0, 2.0 * edge, BINS + 1))]
