"""The dynamical structure factor S(q, w): which waves x carries, and how fast they oscillate.

    a_q(t) = N^(-1/2) sum_i x_i(t) exp(-i q.r_i),     S(q, w) = 1/(2 pi) int dt exp(i w t) <a_q(t) a_q*(0)>

One-sided, w >= 0, since x is real and its motion classical: the integral of S over w is the variance of a_q in time. What
stands still, such as the Bragg peak of an ordered state, is taken out. Components of x are summed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.observables import require_transform
from latticemd.output.frames import Frames

Array = NDArray[Any]

FEWEST = 16  # frames of a segment
# Corners of the path through the zone, in halves of the reciprocal vectors.
CORNERS = {1: ("0", "1"), 2: ("00", "10", "11", "00"), 3: ("000", "100", "110", "111", "000")}


@dataclass(frozen=True)
class Path:
    """Wave vectors of a periodic box along straight lines through the zone.

    `q` (K, D) [1/length], `distance` (K,) along the path, `corners` where it turns: number of the point -> name in halves of the
    reciprocal vectors, such as "10" for b_1/2.
    """

    q: Array
    distance: Array
    corners: dict[int, str]


@dataclass(frozen=True)
class Spectrum:
    """S(q, w) of S samples along a path: frequencies `omega` (W,) [1/time] and values (S, K, W) [length^2 time]."""

    path: Path
    omega: Array
    values: Array


def zone_path(lattice: Lattice) -> Path:
    """From the centre of the zone to the middles of its faces and edges and back, at wave vectors that fit the box.

    Raises InputError for lattices with several sites per cell or ends: their waves are not labelled by q alone.
    """
    require_transform(lattice)
    half = [n // 2 for n in lattice.shape]
    reciprocal = 2 * np.pi * np.linalg.pinv(lattice.vectors).T
    corners = [np.array([int(digit) for digit in name]) * half for name in CORNERS[lattice.directions]]
    points, names = [corners[0]], {0: CORNERS[lattice.directions][0]}
    for begin, end, name in zip(corners, corners[1:], CORNERS[lattice.directions][1:], strict=False):
        steps = math.gcd(*(int(n) for n in end - begin))
        points += [begin + (end - begin) // steps * n for n in range(1, steps + 1)]
        names[len(points) - 1] = name
    q = np.array(points) / np.array(lattice.shape) @ reciprocal
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(q, axis=0), axis=1))])
    return Path(q, length, names)


def wave_amplitudes(frames: Frames, chosen: Sequence[int], path: Path) -> Array:
    """a_q of the chosen frames, read one at a time, (F, R, K, D). Memory O(F R K D + N K), cost O(F R N K D)."""
    phase = np.exp(-1j * frames.model.lattice.positions @ path.q.T) / np.sqrt(frames.model.lattice.sites)
    return np.stack([np.einsum("rnd,nk->rkd", frames.displacement(frame), phase, optimize=True) for frame in chosen])


def dynamical_structure(amplitudes: Array, spacing: float, segments: int = 4) -> tuple[Array, Array]:
    """(omega (W,), S (R, K, W)) from a_q (F, R, K, D) at evenly spaced times.

    The mean over `segments` half-overlapping stretches, each under a Hann window: lines are 2 pi/T wide for stretches of length
    T = 2 F dt/(segments + 1), so fewer segments resolve finer and are noisier. Frequencies beyond pi/dt appear at wrong places:
    frames must be closer than half a period. Source: Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967),
    doi:10.1109/TAU.1967.1161901.
    """
    length = 2 * len(amplitudes) // (segments + 1)
    if length < FEWEST:
        raise InputError(
            f"S(q, w) needs at least {FEWEST * (segments + 1) // 2} evenly spaced frames, there are {len(amplitudes)}"
        )
    moving = amplitudes - amplitudes.mean(axis=0)
    window = np.hanning(length + 1)[:-1]
    norm = spacing / (2 * np.pi * (window**2).sum())
    total = np.zeros((length, *amplitudes.shape[1:3]))
    for n in range(segments):
        begin = n * length // 2
        waves = np.fft.fft(moving[begin : begin + length] * window[:, None, None, None], axis=0)
        total += norm * (np.abs(waves) ** 2).sum(axis=3) / segments
    omega = 2 * np.pi * np.fft.fftfreq(length, spacing)
    positive = slice(0, (length + 1) // 2)
    both = total[positive].copy()
    both[1:] += total[: -len(both) : -1] if len(both) > 1 else 0.0
    return omega[positive], np.moveaxis(both, 0, -1)


def joined(spectra: Sequence[Spectrum]) -> Spectrum | None:
    """The samples of several runs side by side, None of none. Raises InputError where frequencies or waves differ."""
    if not spectra:
        return None
    first = spectra[0]
    for other in spectra[1:]:
        if first.values.shape[1:] != other.values.shape[1:] or not np.allclose(first.omega, other.omega):
            raise InputError("S(q, w): runs that are put together need one shape and the same evenly spaced frames")
    return Spectrum(first.path, first.omega, np.concatenate([one.values for one in spectra]))


def evenly_spaced(time: Array, start: float, end: float) -> tuple[list[int], float]:
    """Frames between two times, and their spacing. Raises InputError where they are not evenly spaced."""
    chosen = np.flatnonzero((time >= start) & (time <= end))
    gaps = np.diff(time[chosen])
    if len(gaps) < 2 or np.ptp(gaps) > 1e-6 * gaps.mean():
        raise InputError(
            f"S(q, w) needs evenly spaced frames between t = {start:g} and {end:g}, there are {len(chosen)}"
        )
    return chosen.tolist(), float(gaps.mean())
