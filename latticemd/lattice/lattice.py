"""Lattices: a grid of Bravais cells with a basis and boundaries, its neighbours, bonds and symmetry operations.

Sites are numbered in C order of the grid with the basis index fastest: on a square lattice of shape (Lx, Ly) the site
at (x, y) is x * Ly + y.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latticemd.backends import kernels_for
from latticemd.errors import InputError
from latticemd.lattice.boundary import Boundary, boundaries_of, twist_of
from latticemd.lattice.cells import UNIT_CELLS, Offset, Rows, UnitCell, shell_offsets, two_colouring
from latticemd.lattice.symmetry import Operation, Symmetry, operations_of

if TYPE_CHECKING:
    from latticemd.lattice.irreps import Irrep

Array = NDArray[Any]


@dataclass(frozen=True)
class Bonds:
    """Pairs of neighbouring sites, each pair once.

    ========  ======  =================================================================================================
    field     shape   meaning
    ========  ======  =================================================================================================
    i, j      (B,)    sites
    vector    (B, D)  points from i to j [length]
    phase     (B,)    factor of the amplitude H[i, j] of a hop c+_i c_j: 1 but for bonds across an antiperiodic boundary
                      (-1) or a twisted one; real unless a direction is twisted. Forwards across a twisted boundary, from
                      the last cell to the first, an electron picks up exp(i pi theta). For classical couplings it means
                      nothing.
    ========  ======  =================================================================================================
    """

    i: Array
    j: Array
    vector: Array
    phase: Array


@dataclass(frozen=True)
class Stencil:
    """Where the neighbours of all sites are, without a table of sites: kernels walk along rows of the grid's last direction.

    Row n of the grid, C order over all directions but the last, has its k-th neighbour in row `rows[k, n]`. `hops[k]` is
    (basis index of the site, basis index of the neighbour, cells ahead along the row, modulo `length`).
    """

    rows: Array  # (z, rows)
    hops: Array  # (z, 3)
    length: int


@dataclass(frozen=True, init=False)
class Lattice:
    """A lattice of N sites: `type` names the unit cell, `shape` counts cells per direction, `boundary` says how it ends.

    =========  ==========================================================================================================
    type       chain, ladder, square, triangular, honeycomb, kagome, cubic, or custom
    shape      cells along each of the d directions of the grid
    boundary   "periodic", "open", "antiperiodic" or a twist theta in units of pi, for all directions or one for each
    vectors    primitive vectors (d, D) of a custom lattice [length]
    basis      its sites (b, D): fractions of the vectors, then lengths across them where D > d; one at the origin if None
    =========  ==========================================================================================================

    Neighbours of the built-in lattices are at distance 1. Raises InputError when the numbers make no lattice, or when
    neighbours would coincide around a short period. Tables cost O(N) memory and are made on first use.
    """

    type: str
    shape: tuple[int, ...]
    boundary: tuple[Boundary, ...]
    custom: tuple[Rows, Rows] | None  # vectors and basis as they were given

    def __init__(
        self,
        type: str,
        shape: Sequence[int],
        boundary: Boundary | Sequence[Boundary] = "periodic",
        vectors: Sequence[Sequence[float]] | None = None,
        basis: Sequence[Sequence[float]] | None = None,
    ) -> None:
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "custom", _custom(type, vectors, basis))
        directions = len(self.cell.vectors)
        if len(self.shape) != directions:
            raise InputError(
                f"lattice {type} has {directions} directions, but shape {list(self.shape)} has {len(self.shape)}"
            )
        object.__setattr__(self, "boundary", boundaries_of(boundary, directions))
        self.require_cells(1)

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> Lattice:
        """The lattice that `to_dict` described, or an input's block `lattice`; also `Points`."""
        if about["type"] == "points":
            from latticemd.lattice.points import Points

            return Points(about["shape"])
        boundary, vectors, basis = (about.get(key) for key in ("boundary", "vectors", "basis"))
        return cls(about["type"], about["shape"], "periodic" if boundary is None else boundary, vectors, basis)

    def to_dict(self) -> dict[str, Any]:
        """What makes this lattice, in numbers and words that JSON knows; only what differs from the default."""
        about: dict[str, Any] = {"type": self.type, "shape": list(self.shape)}
        if any(one != "periodic" for one in self.boundary):
            about["boundary"] = list(self.boundary)
        if self.custom:
            about |= dict(zip(("vectors", "basis"), ([list(row) for row in rows] for rows in self.custom), strict=True))
        return about

    @property
    def description(self) -> str:
        """In words, such as "square lattice 32x32, 1024 sites"."""
        return f"{self.type} lattice {'x'.join(map(str, self.shape))}, {self.sites} sites"

    def resized(self, shape: Sequence[int]) -> Lattice:
        """The same cells and boundaries with another number of cells."""
        return Lattice(self.type, shape, self.boundary, *(self.custom or ()))

    @cached_property
    def cell(self) -> UnitCell:
        """The unit cell that the grid repeats."""
        if self.custom is None:
            return UNIT_CELLS[self.type]
        from latticemd.lattice.custom import custom_cell

        return custom_cell(*self.custom)

    @property
    def directions(self) -> int:
        """Number of directions d of the grid: the length of `shape`."""
        return len(self.cell.vectors)

    @property
    def dimensions(self) -> int:
        """Number of dimensions D of space: the length of a position. At least d; a ladder has d = 1 and D = 2."""
        return len(self.cell.vectors[0])

    @property
    def sites(self) -> int:
        """Number of sites N."""
        return math.prod(self.shape) * len(self.cell.basis)

    @cached_property
    def periodic(self) -> tuple[bool, ...]:
        """Whether each direction closes upon itself, with whatever phase, (d,)."""
        return tuple(one != "open" for one in self.boundary)

    @cached_property
    def twisted(self) -> bool:
        """Whether any bond may have a phase other than 1."""
        return any(twist_of(one) != 0.0 for one in self.boundary)

    @cached_property
    def vectors(self) -> Array:
        """Primitive vectors as rows, (d, D) [length]."""
        return np.array(self.cell.vectors)

    @cached_property
    def grid(self) -> Array:
        """Grid coordinates of every cell in C order, (cells, d) integers."""
        return np.indices(self.shape).reshape(self.directions, -1).T

    @cached_property
    def cells(self) -> Array:
        """Grid coordinates of the cell of each site, (N, d) integers."""
        return np.repeat(self.grid, len(self.cell.basis), axis=0)

    @property
    def places(self) -> Array:
        """Grid coordinates on the whole lattice of the cell of each site, (N, d) integers."""
        return self.cells

    @cached_property
    def positions(self) -> Array:
        """Positions of the sites, (N, D) [length]."""
        basis = np.tile(np.array(self.cell.basis), (math.prod(self.shape), 1))
        return self.places @ self.vectors + basis

    @property
    def whole(self) -> Lattice:
        """The lattice that this one is a part of: itself, unless it is a `latticemd.lattice.block.Block`."""
        return self

    @property
    def asked(self) -> tuple[tuple[int, int], ...]:
        """The layers (first, last + 1), modulo their number, along each direction at whose sites electrons are asked for; of a
        block, its own. Elsewhere a force field may leave zeros.
        """
        return tuple((0, n) for n in self.shape)

    @property
    def sites_asked(self) -> Array | None:
        """Numbers (n,) of those sites; None if they are all."""
        if all(span == (0, n) for span, n in zip(self.asked, self.shape, strict=True)):
            return None
        sites = np.arange(self.sites).reshape(*self.shape, -1)
        for axis, (first, last) in enumerate(self.asked):
            sites = sites.take(np.arange(first, last), axis, mode="wrap")
        return sites.ravel()

    def asking(self, layers: int) -> Lattice:
        """The same lattice with so many more layers asked for on every side of a block."""
        return self

    def total(self, values: Array) -> Array:
        """The sum over all sites of the whole lattice of (R, N, ...), rounded once, (R,).

        What concerns all sites is asked of the lattice, here and in `highest`: of a rank's part nobody else knows the others.
        """
        out: Array = kernels_for(values).total(values)
        return out

    def highest(self, values: Array) -> Array:
        """The largest value (R,) of (R, N) over all sites of the whole lattice."""
        highest: Array = values.max(axis=1)
        return highest

    def counted(self, numbers: Array) -> Array:
        """Integers that are sums over the sites asked, added up over the whole lattice."""
        return numbers

    def refreshed(self, values: Array) -> Array:
        """Values (R, N, ...) after a step that looked at neighbours: of a block, those around its own sites are fetched anew."""
        return values

    def jobs(self, count: int) -> range:
        """Which of so many jobs, of the same size and for all sites, are for this rank: all, unless it has a crew (`Crewed`)."""
        return range(count)

    def merged(self, results: Array) -> Array:
        """The results (count, ...) of all jobs, from those of this rank and zeros."""
        return results

    @cached_property
    def numbers(self) -> Array:
        """Numbers (N,) of the sites on the whole lattice."""
        return np.arange(self.sites)

    def site(self, cells: Array, basis: Array | int = 0) -> Array:
        """Site numbers of cells (..., d), taken modulo the box in every direction, and a basis index."""
        wrapped = np.mod(cells, self.shape)
        flat = np.ravel_multi_index(tuple(np.moveaxis(wrapped, -1, 0)), self.shape)
        return flat * len(self.cell.basis) + basis

    def offsets(self, shell: int = 1) -> tuple[Offset, ...]:
        """The (basis from, basis to, cell offset) triples at the shell-th smallest distance; O(1) in the lattice size."""
        return shell_offsets(self.cell, shell)

    def layers(self, shell: int = 1) -> int:
        """How many layers of cells away the shell-th neighbours of a site are at most."""
        return max(abs(n) for _, _, offset in self.offsets(shell) for n in offset)

    @property
    def bond_vectors(self) -> Array:
        """The different vectors (z, D) from a site to its nearest neighbours, of all sites of a cell together [length]."""
        basis = np.array(self.cell.basis)
        return np.array([np.array(offset) @ self.vectors + basis[b] - basis[a] for a, b, offset in self.offsets(1)])

    @lru_cache(maxsize=8)  # noqa: B019  (a Lattice is frozen and small; the tables are what is worth keeping)
    def bonds(self, shell: int = 1) -> Bonds:
        """All pairs of sites at the shell-th neighbour distance, each pair once. Raises InputError if a pair is joined twice."""
        self.require_cells(shell)
        parts = [self._parallel_bonds(*offset) for offset in self.offsets(shell) if _first_end(*offset)]
        i, j, vector, phase = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not self.twisted:
            phase = np.broadcast_to(np.ones(1), i.shape)  # as long as i, in the memory of one number
        for table in (i, j):
            table.setflags(write=False)
        return Bonds(i, j, vector, phase)

    @lru_cache(maxsize=8)  # noqa: B019
    def neighbours(self, shell: int = 1) -> Array:
        """Neighbour table (N, z): row i lists the sites at the shell-th neighbour distance from site i.

        z is the largest number of neighbours; sites that have fewer, such as those where an open lattice ends, have -1
        in the last places of their row.
        """
        bonds = self.bonds(shell)
        source = np.concatenate([bonds.i, bonds.j])
        target = np.concatenate([bonds.j, bonds.i])
        order = np.argsort(source, kind="stable")
        count = np.bincount(source, minlength=self.sites)
        place = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        table = np.full((self.sites, count.max(initial=0)), -1, dtype=np.int64)
        table[source[order], place] = target[order]
        table.setflags(write=False)
        return table

    @lru_cache(maxsize=8)  # noqa: B019
    def adjacency(self, shell: int = 1) -> Any:
        """The sparse matrix (N, N) with ones between sites at the shell-th neighbour distance, as scipy.sparse.csr_array.

        It serves every lattice; classical couplings sum over neighbours with it where there is no `stencil`.
        """
        from scipy import sparse

        bonds = self.bonds(shell)
        pairs = np.concatenate([bonds.i, bonds.j]), np.concatenate([bonds.j, bonds.i])
        return sparse.coo_array((np.ones(len(pairs[0])), pairs), shape=(self.sites,) * 2).tocsr()

    @lru_cache(maxsize=8)  # noqa: B019
    def stencil(self, shell: int = 1) -> Stencil:
        """The shell-th neighbours as row shifts: O(N / last extent) memory, and sweeps that stay contiguous.

        Only where every direction is periodic, with whatever phase: rows of an open lattice end, and InputError says so;
        there `adjacency` is the way to sum over neighbours.
        """
        if not all(self.periodic):
            raise InputError(f"a lattice with boundary {list(self.boundary)} has no stencil; use adjacency")
        self.require_cells(shell)
        *leading, length = self.shape
        row = np.indices(leading).reshape(len(leading), math.prod(leading))
        extents = np.array(leading, dtype=np.int64)[:, None]
        rows, hops = [], []
        for a, b, offset in self.offsets(shell):
            shifted = (row + np.array(offset[:-1], dtype=np.int64)[:, None]) % extents
            rows.append(np.ravel_multi_index(tuple(shifted), leading) if leading else np.zeros(1, dtype=np.int64))
            hops.append((a, b, offset[-1] % length))
        table = np.array(rows, dtype=np.int64)
        table.setflags(write=False)
        return Stencil(table, np.array(hops, dtype=np.int64), length)

    def add_neighbours(
        self, x: Array, base: Array, own: float, theirs: float, out: Array, neighbours: Array | None = None
    ) -> None:
        """out_i = base_i + own x_i + theirs sum_{j nn i} x_j, all (R, N, D): along rows where every direction is periodic.

        Elsewhere, or where a table like `neighbours` (N, z) is given, from that: slow on the CPU, where `adjacency` is better.
        """
        kernels = kernels_for(x)
        if neighbours is None and all(self.periodic):
            kernels.neighbour_sum(self.stencil(), x, base, own, theirs, out)
        else:
            kernels.listed_sum(self.neighbours() if neighbours is None else neighbours, x, base, own, theirs, out)

    @cached_property
    def staggered(self) -> Array:
        """Signs (N,) that differ across every nearest-neighbour bond where the endless lattice allows it.

        That is (-1)^(n_1 + ... + n_d) on a chain, square or cubic lattice, and the sublattice on a honeycomb. On lattices
        with odd cycles, such as the triangular one, it is (-1)^(n_1 + ... + n_d) of the cell.
        """
        colours = two_colouring(self._inside(1), len(self.cell.basis), self.directions)
        if colours is None:
            sign = 1.0 - 2.0 * (self.places.sum(axis=1) % 2)
        else:
            basis = np.tile(np.arange(len(self.cell.basis)), math.prod(self.shape))
            sign = colours[(*(self.places % 2).T, basis)]
        sign.setflags(write=False)
        return sign

    @cached_property
    def bipartite(self) -> bool:
        """Whether every nearest-neighbour bond joins sites of opposite `staggered` sign (even extents on a square lattice)."""
        bonds = self.bonds()
        return bool(np.all(self.staggered[bonds.i] != self.staggered[bonds.j]))

    @cached_property
    def point_group(self) -> list[Operation]:
        """The operations that keep the box, one for each rotation, the identity first.

        They are about the point of highest symmetry in the first cell, and about the middle of the box in open directions.
        """
        seen: dict[bytes, Operation] = {}
        for operation in self._operations:
            seen.setdefault(operation.rotation.round(6).tobytes(), operation)
        return list(seen.values())

    def symmetries(self, translations: bool = True) -> Iterator[Symmetry]:
        """The space group of the lattice: every operation after every translation, or those of `point_group` only.

        Translations are along periodic directions. Phases at boundaries are left aside: whether hops with phases are kept,
        up to a change of gauge, is a question about a model.
        """
        steps = (range(n if around else 1) for n, around in zip(self.shape, self.periodic, strict=True))
        shifts = itertools.product(*steps) if translations else [(0,) * self.directions]
        operations = self._operations if translations else self.point_group
        basis = np.tile(np.arange(len(self.cell.basis)), math.prod(self.shape))
        for shift in shifts:
            for operation in operations:
                cells = self.cells @ operation.matrix.T + (operation.shift + np.array(shift))[basis]
                yield Symmetry(
                    f"{operation.name} + {list(shift)}", self.site(cells, operation.image[basis]), operation.rotation
                )

    def irreps(self) -> list[Irrep]:
        """The irreducible representations of `point_group`, matrices in its order, the totally symmetric one first."""
        from latticemd.lattice.irreps import irreps_of

        return irreps_of(self.point_group, self.cell)

    @cached_property
    def _operations(self) -> list[Operation]:
        fitted = (operation.fitted(self.shape, self.periodic) for operation in operations_of(self.cell))
        return [operation for operation in fitted if operation is not None]

    def _inside(self, shell: int) -> list[Offset]:
        """The offsets of a shell that do not lead out of the box in open directions, wherever they start."""
        return [
            triple
            for triple in self.offsets(shell)
            if all(around or abs(o) < n for o, n, around in zip(triple[2], self.shape, self.periodic, strict=True))
        ]

    def _parallel_bonds(self, a: int, b: int, offset: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
        """The bonds from basis site a of every cell to basis site b of the cell at this offset: i, j, vector, phase."""
        grid = self.grid
        ends = grid + np.array(offset)
        if not all(self.periodic):
            stays = ((ends >= 0) & (ends < self.shape) | np.array(self.periodic)).all(axis=1)
            grid, ends = grid[stays], ends[stays]
        vector = np.array(offset) @ self.vectors + np.array(self.cell.basis[b]) - np.array(self.cell.basis[a])
        phase = self._phase(ends // self.shape) if self.twisted else np.ones(1)
        return self.site(grid, a), self.site(ends, b), np.tile(vector, (len(grid), 1)), phase

    def _phase(self, windings: Array) -> Array:
        """Factor of H[i, j] where j lies `windings` (..., d) boxes ahead of i: the electron hops from j back to i."""
        angle = -windings @ np.array([twist_of(one) for one in self.boundary])
        if all(float(twist_of(one)).is_integer() for one in self.boundary):
            return 1.0 - 2.0 * (np.rint(angle) % 2)
        return np.exp(1j * np.pi * angle)

    def require_cells(self, shell: int) -> None:
        """Neighbours of this shell are distinct sites, and there are cells at all."""
        if min(self.shape) < 1:
            raise InputError(f"a lattice needs at least 1 cell per direction, shape is {list(self.shape)}")
        if (shell == 1 and min(self.shape) >= self.cell.smallest) or self._distinct(self.shape, shell):
            return
        smallest = itertools.count(2)
        enough = next(n for n in smallest if self._distinct(self._at_least(n), shell))
        neighbours = "nearest neighbours" if shell == 1 else f"neighbours of shell {shell}"
        raise InputError(
            f"lattice {'x'.join(map(str, self.shape))} is too small: {neighbours} of a periodic {self.type} lattice need "
            f"at least {enough} cells per direction; use shape: {list(self._at_least(enough))} or boundary: open"
        )

    def _at_least(self, cells: int) -> tuple[int, ...]:
        """The shape with at least so many cells along periodic directions."""
        return tuple(max(n, cells) if around else n for n, around in zip(self.shape, self.periodic, strict=True))

    def _distinct(self, shape: tuple[int, ...], shell: int) -> bool:
        """Whether no neighbour is the site itself or another neighbour once more, around a period."""
        found = set()
        for a, b, offset in self._inside(shell):
            wrapped = tuple(o % n if around else o for o, n, around in zip(offset, shape, self.periodic, strict=True))
            if (a, b, wrapped) in found or (a == b and not any(wrapped)):
                return False
            found.add((a, b, wrapped))
        return True


def _custom(
    type: str, vectors: Sequence[Sequence[float]] | None, basis: Sequence[Sequence[float]] | None
) -> tuple[Rows, Rows] | None:
    """What makes a custom lattice, as given; None for the others."""
    if type in UNIT_CELLS:
        if vectors is not None or basis is not None:
            raise InputError(f"a {type} lattice has its own vectors and basis; use type: custom to give others")
        return None
    if type != "custom":
        raise InputError(f"unknown lattice type {type!r}; known: {', '.join(UNIT_CELLS)}, custom")
    if vectors is None:
        raise InputError("a custom lattice needs vectors, such as [[1, 0], [0.5, 0.866]]")
    from latticemd.lattice.custom import rows_of

    rows = rows_of(vectors)
    return rows, rows_of([[0.0] * len(rows[0])] if basis is None else basis)


def _first_end(a: int, b: int, offset: tuple[int, ...]) -> bool:
    """Whether a triple, and not the same bond seen from its other end, stands for the bond."""
    return (b, offset) >= (a, tuple(-n for n in offset))
