"""What every kernel computes, in NumPy: the specification that `latticemd.backends.cpu` is tested against.

Arrays are C-ordered; x, p, f are (R, N, D). Kernels write to their arguments and return None, reductions return (R,).
Those with noise or sums take as a last argument the `Place` of their sites on the whole lattice; here they are all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuda_kernels import spins, thermostats
from cuda_kernels.letters import DRIFT, KICK, ROTATION
from cuda_kernels.philox import normal_pair
from latticemd.lattice import Stencil

Array = NDArray[Any]

# About 1e18: beyond it a sum forgets every physical term beside it, and an instability would take hundreds of steps more, if
# not the rest of the run, to reach infinity.
LARGEST = 2.0**60


def normals(key: int, stream: int, occurrence: int, step: int, first_replica: int, out: Array) -> None:
    """Fill `out` (R, N, D) with standard normals; element e of replica r is set by the counter alone."""
    replicas, elements = len(out), out[0].size
    pair = np.arange((elements + 1) // 2, dtype=np.uint64)
    words = (np.uint64(key), np.uint64(stream), np.uint64(occurrence), np.uint64(step))
    for r in range(replicas):
        even, odd = normal_pair(*words, np.uint64(first_replica + r), pair)
        out[r] = np.stack([even, odd], axis=1).ravel()[:elements].reshape(out.shape[1:])


def split(
    letters: Array,
    coefficients: Array,
    x: Array,
    p: Array,
    f: Array,
    noise: tuple[int, int, int, int],
    occurrence: int,
    inverse_mass: float,
    heat: Array,
) -> None:
    """Apply pointwise letters in order; add to `heat` (R,) the kinetic energy that O letters give.

    ==================  ========================================================
    letter              step, with coefficients (a, b, c) of its row
    ==================  ========================================================
    DRIFT               x <- x + a p
    KICK                p <- p + a f + b x
    ORNSTEIN_UHLENBECK  p <- a p + b xi
    ROTATION            (x, p) <- (a x + b p, a p - c x)
    ==================  ========================================================

    `noise` is (key, stream, step, first replica); `occurrence` numbers the first O of this call within the step.
    """
    key, stream, step, first_replica = noise
    xi = np.empty_like(p)
    drawn = 0
    for letter, (a, b, c) in zip(letters, coefficients, strict=True):
        if letter == DRIFT:
            x += a * p
        elif letter == KICK:
            p += a * f + b * x
        elif letter == ROTATION:
            turned = a * x + b * p
            p[...] = a * p - c * x
            x[...] = turned
        else:
            normals(key, stream, occurrence + drawn, step, first_replica, xi)
            before = p * p
            p[...] = a * p + b * xi
            heat += 0.5 * inverse_mass * total(p * p - before)
            drawn += 1


def overdamped(
    x: Array, f: Array, mobility: float, amplitudes: tuple[float, float], noise: tuple[int, int, int, int], moved: Array
) -> None:
    """x <- x + moved, moved = mobility f + b_0 xi(step) + b_1 xi(step + 1); the normals of a step are functions of it."""
    key, stream, step, first_replica = noise
    moved[...] = mobility * f
    xi = np.empty_like(x)
    for later, amplitude in enumerate(amplitudes):
        if amplitude:
            normals(key, stream, 0, step + later, first_replica, xi)
            moved += amplitude * xi
    x += moved


def spins_first_half(
    x: Array,
    f: Array,
    time: float,
    damping: float,
    amplitude: float,
    noise: tuple[int, int, int, int],
    base: Array,
    moved: Array,
    heat: Array,
) -> None:
    """The first half of a step of unit spins x in the field f, and the thermal rotation by `amplitude` normals.

    Leaves in x the guess at which the field of the second half is to be found, in `base` the spins after the thermal
    rotation and in `moved` how far that moved them, all (R, N, 3); takes the work along the way from `heat` (R,).
    `noise` is (key, stream, step, first replica). See `cuda_kernels.spins.first_half`.
    """
    key, stream, step, first_replica = noise
    moved[...] = 0.0
    if amplitude:
        normals(key, stream, 0, step, first_replica, moved)
        moved *= amplitude
    *after, work = spins.first_half(*_components(x), *_components(f), *_components(moved), time, damping)
    for n, out in enumerate((base, moved, x)):
        out[...] = np.stack(after[3 * n : 3 * n + 3], axis=-1)
    heat -= total(work)


def spins_second_half(x: Array, f: Array, time: float, damping: float, base: Array, moved: Array, heat: Array) -> None:
    """The second half: x from the guess x, the field f there, and what `spins_first_half` has left in `base` and `moved`."""
    *after, work = spins.second_half(
        *_components(base), *_components(moved), *_components(x), *_components(f), time, damping
    )
    x[...] = np.stack(after, axis=-1)
    heat -= total(work)


def neighbour_sum(stencil: Stencil, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """out_i = base_i + own x_i + theirs sum_{j nn i} x_j, with the neighbours of a periodic grid."""
    # (replica, row, cell, basis, component)
    cells = x.reshape(len(x), stencil.rows.shape[1], stencil.length, -1, x.shape[2])
    total = np.zeros_like(cells)
    for rows, (target, source, ahead) in zip(stencil.rows, stencil.hops, strict=True):
        total[:, :, :, target] += np.roll(cells[:, rows][:, :, :, source], -ahead, axis=2)
    out[...] = base + own * x + theirs * total.reshape(x.shape)


def listed_sum(neighbours: Array, x: Array, base: Array, own: float, theirs: float, out: Array) -> None:
    """out_i = base_i + own x_i + theirs sum_k x_j with j = neighbours[i, k], a read-only table (N, z) with -1 for none."""
    there = (neighbours >= 0)[..., None]
    out[...] = base + own * x + theirs * np.where(there, x[:, neighbours], 0.0).sum(axis=2)


def nose_hoover(
    velocity: Array, position: Array, ratio: Array, degrees: int, tau: float, time: float
) -> tuple[Array, Array]:
    """Let the chains (R, M) act for `time` at 2K/(N_f kT) = ratio (R,): factors of the momenta and energies over kT gained."""
    factor, gained = np.empty(len(ratio)), np.empty(len(ratio))
    for r in range(len(ratio)):
        before = thermostats.chain_energy(velocity[r], position[r], degrees, tau)
        factor[r] = thermostats.chain_factor(velocity[r], position[r], ratio[r], degrees, tau, time)
        gained[r] = thermostats.chain_energy(velocity[r], position[r], degrees, tau) - before
    return factor, gained


def resampling(noise: tuple[int, int, int, int, int], degrees: int, keep: float, ratio: Array) -> Array:
    """Factors of the momenta for stochastic velocity rescaling at kT/2K = ratio (R,).

    `noise` is (key, stream, occurrence, step, first replica).
    """
    key, stream, occurrence, step, first = (np.uint64(word) for word in noise)
    return np.array([
        thermostats.resampling_factor(key, stream, occurrence, step, first + np.uint64(r), degrees, keep, ratio[r])
        for r in range(len(ratio))
    ])  # fmt: skip


def total(values: Array) -> Array:
    """Sums (R,) over all the rest of (R, ...), rounded once."""
    return np.array([math.fsum(one) for one in values.reshape(len(values), -1)])


def dot(a: Array, b: Array) -> Array:
    """sum over sites and components of a b, (R, N, D) -> (R,); the sum of the rounded products is rounded once."""
    return total(a * b)


def kinetic_energy(p: Array, inverse_mass: float) -> Array:
    """sum p^2/2m, (R, N, D) -> (R,) [energy]."""
    return 0.5 * inverse_mass * dot(p, p)


def cut_bonds(field: Array, i: Array, j: Array) -> Array:
    """How many of the bonds (B,) between sites i and j join opposite signs of a field (R, N), (R,) integers."""
    return np.count_nonzero(field[:, i] * field[:, j] < 0, axis=1)


def group_sums(values: Array, members: Array, first: Array) -> Array:
    """Sums (R, G) of values (R, n) over groups, none empty: members[first[g]] ... members[first[g + 1] - 1] are in group g."""
    return np.add.reduceat(values[:, members], first[:-1], axis=1)


def all_bounded(x: Array) -> bool:
    """Whether every element is a number of modulus below LARGEST."""
    return bool((np.abs(x) < LARGEST).all())  # also false for NaN


def _components(vectors: Array) -> tuple[Array, Array, Array]:
    return vectors[..., 0], vectors[..., 1], vectors[..., 2]
