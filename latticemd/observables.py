"""Numbers that characterise a configuration: order, domain walls, structure factor, correlations, temperature.

Pure functions of arrays with the replicas R first; nothing is read, written or remembered. A scalar field on the sites
has shape (R, N) with N in site order, on the host or, where structure factors and correlations of a run on a GPU are asked for,
there; Fourier quantities live on the cell grid in FFT order, so that on a lattice of
shape (L_1, ..., L_d) the entry m belongs to

    q_m = sum_a (m_a / L_a) b_a,     a_i . b_j = 2 pi delta_ij          [1/length]

Fourier functions need a periodic lattice with one site per cell and cost O(R N log N); everything else is O(R N).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for, on_device, on_host, table_beside
from latticemd.errors import InputError
from latticemd.lattice import Bonds, Lattice

Array = NDArray[Any]

# order and domain walls


def order_parameter(order_field: Array) -> Array:
    """|1/N sum_i phi_i|, the global order, (R, N) -> (R,) in the dimension of phi."""
    return np.abs(order_field.mean(axis=1))


def local_amplitude(order_field: Array) -> Array:
    """1/N sum_i |phi_i|, the order inside the domains whatever their signs, (R, N) -> (R,) in the dimension of phi."""
    return np.abs(order_field).mean(axis=1)


def wall_fraction(order_field: Array, bonds: Bonds) -> Array:
    """Share of neighbour pairs that a domain wall cuts, those with phi_i phi_j < 0; (R, N) -> (R,), pure number.

    1/2 for uncorrelated signs, 0 in a single domain. Straight walls a distance l apart cut 1/(d l) of the bonds of a
    hypercubic lattice in d dimensions. A site with phi exactly zero belongs to no domain and bounds no wall.
    """
    return (order_field[:, bonds.i] * order_field[:, bonds.j] < 0).mean(axis=1)


# Fourier space


def wave_vectors(lattice: Lattice) -> Array:
    """The wave vectors q_m of the periodic box, (*lattice.shape, D) in FFT order, not reduced to a zone [1/length]."""
    return _on_grid(lattice) / np.array(lattice.shape) @ _reciprocal(lattice)


def structure_factor(field: Array, lattice: Lattice) -> Array:
    """S(q) = |sum_i phi_i exp(-i q.r_i)|^2 / N at every q of the box, (R, N) -> (R, *lattice.shape) in FFT order.

    The field is the caller's choice and is taken as it is: give n - <n> for charge order, Q for the distortion, or the
    order field, whose peak sits at q = 0. Sum rule (Parseval): the mean of S over q is the mean of phi^2 over sites.
    """
    axes = tuple(range(1, lattice.directions + 1))
    amplitude = np.fft.fftn(_grid(field, lattice), axes=axes)
    return (amplitude.real**2 + amplitude.imag**2) / lattice.sites


def structure_factor_at(field: Array, lattice: Lattice, q: Array) -> Array:
    """S at the wave vectors `q` (K, D) in radians per lattice constant, (R, N) -> (R, K).

    A direct sum for a few q, on lattices with any basis and boundary: O(R N K) time and O(N K) memory. A `q` that does not
    fit the periodic box is allowed, but then the result depends on where the box is cut.
    """
    waves = _waves(lattice, tuple(map(tuple, np.atleast_2d(q).tolist())))
    real, imaginary = (field @ table_beside(wave, field) for wave in waves)
    return (real**2 + imaginary**2) / lattice.sites


def radial_structure_factor(structure: Array, lattice: Lattice) -> tuple[Array, Array]:
    """Average of S(q) (R, *lattice.shape) over rings around q = 0: (|q| (K,) [1/length], S (R, K)).

    Rings are as wide as the coarsest spacing of the grid and end at the largest circle inside the Brillouin zone. To
    average around a peak elsewhere, give the S of a field modulated to bring the peak to q = 0, as the order field is.
    """
    return _rings_of_waves(lattice).average(structure)


def require_transform(lattice: Lattice) -> None:
    """Raise InputError where a lattice has no discrete Fourier transform: with several sites per cell, or where it ends."""
    if len(lattice.cell.basis) != 1:
        raise InputError(
            f"Fourier observables need one site per cell, lattice {lattice.type} has {len(lattice.cell.basis)}; "
            "use the structure factor at chosen q, or give the field of one sublattice"
        )
    if not all(lattice.periodic):
        raise InputError(
            f"Fourier observables need periodic directions, the boundaries are {', '.join(map(str, lattice.boundary))}; "
            "use the structure factor at chosen q"
        )


# real space


def correlation(field: Array, lattice: Lattice) -> tuple[Array, Array]:
    """C(r) = 1/N sum_i phi_i phi_{i+r}, averaged over rings of |r|: (r (K,) [length], C (R, K)).

    No mean is subtracted: C(0) is the mean of phi^2. Rings are one lattice constant wide and end at half the shortest
    period of the box, where a pair and its periodic image are equally far.
    """
    axes = tuple(range(1, lattice.directions + 1))
    pairs = np.fft.ifftn(structure_factor(field, lattice), axes=axes).real
    return _rings_of_cells(lattice).average(pairs)


def correlation_length(
    order_field: Array, lattice: Lattice, definition: Literal["half", "moment", "walls"] = "half"
) -> Array:
    """Size of the ordered domains, (R, N) -> (R,) [length]; nan where it is undefined.

    ========  =========================================================================================
    half      the first r at which C(r)/C(0) falls to 1/2, linear between rings
    moment    2 pi / <k>, <k> = sum_k k S(k) / sum_k S(k) over the rings around the ordering peak
    walls     2 / (wall density): d over the number of cut nearest-neighbour bonds per site
    ========  =========================================================================================

    They differ by constant factors as long as the domains are self-similar, and a growth law should show in all three.
    `half` is the most robust; `moment` converges because the walls make S fall as k^-(d+1) (Porod's law), but thermal
    noise at large k shortens it; `walls` also counts single flipped sites, and is the edge length of a mosaic of
    (hyper)cubes of alternating sign. All are undefined in a single domain that fills the box (`half` already when the
    domain is wider than half the box).

    Source: Bray, Adv. Phys. 43, 357 (1994), doi:10.1080/00018739400101505.
    """
    if definition == "half":
        return half_length(*correlation(order_field, lattice))
    if definition == "moment":
        return moment_length(*radial_structure_factor(structure_factor(order_field, lattice), lattice))
    if definition == "walls":
        return wall_length(wall_fraction(order_field, lattice.bonds()), lattice)
    raise InputError(f"unknown correlation length {definition!r}; known: half, moment, walls")


def half_length(r: Array, c: Array) -> Array:
    """First r where a correlation c (R, K) at distances r (K,) falls to half its value at r = 0, (R,) [length].

    Linear between points; nan where it never does.
    """
    excess = c - 0.5 * c[:, :1]
    below = excess <= 0
    after = np.maximum(below.argmax(axis=1), 1)
    row = np.arange(len(c))
    high, low = excess[row, after - 1], excess[row, after]
    crossing = r[after - 1] + (r[after] - r[after - 1]) * _ratio(high, high - low)
    return np.where(below.any(axis=1), crossing, np.nan)


def moment_length(k: Array, structure: Array) -> Array:
    """2 pi / <k> of ring averages S (R, K) at wave numbers k (K,), weighted by S alone as in one dimension, (R,) [length]."""
    width = np.where(np.arange(len(k)) == 0, 0.5, 1.0)  # the ring at the peak starts at k = 0, not at -dk/2
    # A uniform field leaves only rounding noise beside its peak, which is no length.
    spread = (structure * width) @ k
    return _ratio(2 * np.pi * (structure @ width), spread, smallest=1e-12 * structure[:, 0] * k[-1])


def wall_length(walls: Array, lattice: Lattice) -> Array:
    """d over the number of cut nearest-neighbour bonds per site, from wall fractions (R,), (R,) [length]."""
    cut = np.asarray(walls) * (len(lattice.bonds().i) / lattice.sites)
    return _ratio(np.full_like(cut, lattice.directions), cut)


# temperatures


def kinetic_temperature(kinetic_energy: Array, degrees_of_freedom: int) -> Array:
    """kT = 2 K / (degrees of freedom), the equipartition of momenta, (R,) -> (R,) [energy].

    The degrees of freedom are N D, less the number of conserved momenta.
    """
    return 2.0 * np.asarray(kinetic_energy) / degrees_of_freedom


def virial_temperature(x: Array, f: Array) -> Array:
    """kT = <x dU/dx> = -1/(N D) sum_a x_a f_a, the equipartition of coordinates, (R, N, D) twice -> (R,) [energy].

    Exact in equilibrium for unbounded coordinates that a potential confines, `f` being the total force: it tests the
    sampling of positions as the kinetic temperature tests that of momenta, also where there are no momenta (overdamped
    motion). The value of one configuration fluctuates by about kT (2/ND)^(1/2) for a harmonic potential, so average
    over time. The alternative |grad U|^2 / laplacian U needs second derivatives of the free energy.

    Source: Tolman, Phys. Rev. 11, 261 (1918), doi:10.1103/PhysRev.11.261.
    """
    return -np.einsum("rnd,rnd->r", x, f) / (x.shape[1] * x.shape[2])


# helpers


def _grid(field: Array, lattice: Lattice) -> Array:
    require_transform(lattice)
    if field.ndim != 2 or field.shape[1] != lattice.sites:
        raise ValueError(f"a field on this lattice has shape (R, {lattice.sites}), got {field.shape}")
    return field.reshape(len(field), *lattice.shape)


def _on_grid(lattice: Lattice) -> Array:
    """Grid coordinates of every cell, (*lattice.shape, d) integers."""
    return lattice.grid.reshape(*lattice.shape, lattice.directions)


def _reciprocal(lattice: Lattice) -> Array:
    """Reciprocal primitive vectors b_a as rows, (d, D) [1/length]."""
    return 2 * np.pi * _dual(lattice.vectors)


def _dual(rows: Array) -> Array:
    """The vectors b_a in the space of the rows a_b with a_a . b_b = delta_ab, as rows."""
    return np.asarray(np.linalg.solve(rows @ rows.T, rows))


@dataclass(frozen=True)
class _Rings:
    """Which points of a periodic grid lie in which ring around the origin: `inside` (M,) points, their `ring` (M,)."""

    distance: Array  # (K,) mean distance of the points of each ring
    inside: Array
    ring: Array
    members: Array

    @classmethod
    def around_origin(cls, points: Array, periods: Array, steps: Array) -> _Rings:
        """`points` (..., D) are where values sit, `periods` and `steps` (d, D) the rows that span the period and the grid.

        Rings are centred on multiples of the longest step, so that each holds points in all directions.
        """
        images = np.array(list(itertools.product((-1, 0, 1), repeat=len(periods)))) @ periods
        fraction = points.reshape(-1, points.shape[-1]) @ _dual(periods).T
        wrapped = (fraction - np.rint(fraction)) @ periods
        distance = np.min([np.linalg.norm(wrapped + image, axis=1) for image in images], axis=0)
        width = np.linalg.norm(steps, axis=1).max()
        reach = np.linalg.norm(images, axis=1)
        inside = np.flatnonzero(distance <= 0.5 * reach[reach > 0].min() * (1 + 1e-9))
        ring = np.rint(distance[inside] / width).astype(np.int64)
        members = np.bincount(ring)
        return cls(np.bincount(ring, distance[inside]) / members, inside, ring, members)

    def average(self, values: Array) -> tuple[Array, Array]:
        """(distance (K,), average (R, K)) of values (R, ...) on the grid."""
        flat = values.reshape(len(values), -1)
        if on_device(values):
            return self.distance.copy(), on_host(kernels_for(flat).group_sums(flat, *self._by_ring)) / self.members
        return self.distance.copy(), np.array(
            [np.bincount(self.ring, row) / self.members for row in flat[:, self.inside]]
        )

    @cached_property
    def _by_ring(self) -> tuple[Array, Array]:
        """The points inside, ring after ring, and where each ring begins among them and the last one ends, (K + 1,)."""
        points = self.inside[np.argsort(self.ring, kind="stable")]
        first = np.concatenate([[0], np.cumsum(self.members)])
        for table in (points, first):
            table.setflags(write=False)
        return points, first


@lru_cache(maxsize=4)  # each frame of a run asks for the same waves
def _waves(lattice: Lattice, q: tuple[tuple[float, ...], ...]) -> tuple[Array, Array]:
    """cos q.r_i and sin q.r_i, (N, K)."""
    phase = lattice.positions @ np.array(q).T
    waves = np.cos(phase), np.sin(phase)
    for wave in waves:
        wave.setflags(write=False)
    return waves


@lru_cache(maxsize=4)  # and for the same rings
def _rings_of_cells(lattice: Lattice) -> _Rings:
    vectors = lattice.vectors
    return _Rings.around_origin(_on_grid(lattice) @ vectors, np.array(lattice.shape)[:, None] * vectors, vectors)


@lru_cache(maxsize=4)
def _rings_of_waves(lattice: Lattice) -> _Rings:
    reciprocal = _reciprocal(lattice)
    return _Rings.around_origin(wave_vectors(lattice), reciprocal, reciprocal / np.array(lattice.shape)[:, None])


def _ratio(above: Array, below: Array, smallest: Array | float = 0.0) -> Array:
    """above / below, nan where `below` does not exceed `smallest`."""
    defined = below > smallest
    return np.divide(above, below, out=np.full(len(above), np.nan), where=defined)
