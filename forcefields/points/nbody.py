"""The charged-particle benchmark of equivariant networks: where are five charges a long time later?

Positions are standard normals, speeds 1/2 in random directions, charges +-1, forces those of Coulomb's law cut at 100 per
component, time steps 1e-3. A sample is a trajectory: input at frame 30, answer at frame 40, with a frame every 100 steps, so
that a time of 1 lies between them. The set is small on purpose, 3000 trajectories to learn from and 2000 each to
validate and to test.

Reference: Satorras, Hoogeboom and Welling, arXiv:2102.09844, after Kipf et al., arXiv:1802.04687. Trajectories here come
from velocity Verlet and from a seed of one's own, so errors compare with published ones up to the noise of the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from cuda_kernels import pairs
from forcefields.pairs import sweep_of
from latticemd.backends import kernels_for
from latticemd.errors import InputError
from latticemd.forcefield import Array
from latticemd.output.directory import replace_atomically
from latticemd.rng import Stream

PARTICLES, SPEED, DT, CLIP = 5, 0.5, 1e-3, 100.0
EVERY, FIRST, LAST = 100, 30, 40  # steps between frames; the frames of input and answer
HORIZON = (LAST - FIRST) * EVERY * DT  # time from input to answer
SETS = {"train": (0, 3000), "validation": (3000, 2000), "test": (5000, 2000)}  # first trajectory and how many

KIND = "latticemd charged particles"


@dataclass(frozen=True)
class Charged:
    """S trajectories of N particles at two times.

    =========  ==========  ================================================
    field      shape       meaning
    =========  ==========  ================================================
    x, v       (S, N, 3)   positions and velocities at frame 30
    q          (S, N)      charges
    target     (S, N, 3)   positions at frame 40
    later      (S, N, 3)   velocities at frame 40
    =========  ==========  ================================================
    """

    x: Array
    v: Array
    q: Array
    target: Array
    later: Array

    def __len__(self) -> int:
        return len(self.x)

    def both_ways(self) -> Charged:
        """These, and as many that go back in time from the end to the start: what reversible motion teaches for nothing."""
        back = Charged(self.target, -self.later, self.q, self.x, -self.v)
        return Charged(
            *(np.concatenate([one, other]) for one, other in zip(vars(self).values(), vars(back).values(), strict=True))
        )


class Trajectories:
    """Independent trajectories number first, first + 1, ... of a seed, which move together and never see each other.

    `x`, `v` (S, N, 3) and `q` (S, N) are the present state; those of a number are the same in any company.
    """

    def __init__(self, seed: int, first: int, count: int, particles: int = PARTICLES, clip: float = CLIP) -> None:
        shape = (count, particles, 3)
        self.x = _normals(seed, Stream.INITIAL_POSITIONS, first, shape)
        directions = _normals(seed, Stream.INITIAL_VELOCITIES, first, shape)
        self.v = SPEED * directions / np.linalg.norm(directions, axis=2, keepdims=True)
        self.q = np.where(_normals(seed, Stream.DISORDER, first, shape)[..., 0] < 0.0, -1.0, 1.0)
        self.clip = clip
        self.force = np.empty(shape)
        self.energy = np.empty(count)
        self._update()

    def advance(self, steps: int, dt: float = DT) -> None:
        """Velocity Verlet: kick half, drift, kick half."""
        for _ in range(steps):
            self.v += 0.5 * dt * self.force
            self.x += dt * self.v
            self._update()
            self.v += 0.5 * dt * self.force

    def _update(self) -> None:
        sweep_of(pairs.coulomb)(self.x, self.q, 1.0, 0.0, self.force, self.energy)
        np.clip(self.force, -self.clip, self.clip, out=self.force)


def charged(seed: int, first: int, count: int, batch: int = 500) -> Charged:
    """Samples number first to first + count. Cost: about a millisecond for each."""
    parts = []
    for start in range(first, first + count, batch):
        moving = Trajectories(seed, start, min(batch, first + count - start))
        moving.advance(FIRST * EVERY)
        x, v = moving.x.copy(), moving.v.copy()
        moving.advance((LAST - FIRST) * EVERY)
        parts.append((x, v, moving.q, moving.x, moving.v))
    return Charged(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def write_charged(path: Path, seed: int = 0) -> None:
    """Make all three sets and write them, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as temporary, h5py.File(temporary, "w", libver="v110") as file:
        file.attrs.update({"kind": KIND, "seed": seed, "horizon": HORIZON, "dt": DT, "clip": CLIP})
        for name, (first, count) in SETS.items():
            group = file.create_group(name)
            for field, values in vars(charged(seed, first, count)).items():
                group.create_dataset(field, data=values, track_times=False)


def read_charged(path: Path) -> dict[str, Charged]:
    """The sets of a file by name. Raises InputError if it is none."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("kind") != KIND:
                raise InputError(f"{path}: an HDF5 file, but not of the charged-particle benchmark")
            return {name: Charged(**{field: group[field][()] for field in group}) for name, group in file.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}; tools/nbody.py makes it") from error


def mean_square_error(predicted: Array, target: Array) -> float:
    """Mean over samples, particles and components of the squared error of positions [length^2]."""
    return float(np.mean((predicted - target) ** 2))


def _normals(seed: int, stream: Stream, first: int, shape: tuple[int, ...]) -> Array:
    out = np.empty(shape)
    kernels_for(out).normals(seed, int(stream), 0, 0, first, out)
    return out
