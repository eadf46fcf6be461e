"""`poles`: exact forces from Green's functions at a few imaginary energies, without eigenstates."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numba
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from forcefields.dissection import Elimination, dissect
from forcefields.exchange import exchanged
from forcefields.fermi import MOST_POLES, SMALLEST_TOLERANCE, FermiPoles, fermi_poles
from forcefields.hopping import plain_matrix
from forcefields.lanes import LANE_BYTES
from forcefields.memory import require_memory
from forcefields.selected_inversion import Workspace, selected_entries, selected_inverse, work_entries, workspace
from forcefields.spectrum import spectral_reach
from latticemd.backends import on_device
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.models.model import Model
from latticemd.parameters import parameter

T = TypeVar("T")

FILLING_TOLERANCE = 1e-13  # electrons per orbital


@dataclass(frozen=True)
class PoleExpansion:
    """The Fermi function as a sum over P imaginary poles, and the entries of the Green's functions it needs.

    n_i   = 1/2 - slope (H_ii - mu) - sum_p c_p Re (G_p)_ii,        G_p = (H_el - mu - i w_p)^-1
    Omega = C + N offset + Tr(H_el - mu)/2 - slope Tr(H_el - mu)^2 / 2 - sum_p c_p log|det(H_el - mu - i w_p)|

    and Omega + mu N_el at fixed filling. w_p, c_p, slope and offset come from `forcefields.fermi`. The force is the exact
    gradient of this energy, however coarse the expansion; the error of n_i is at most `tolerance` plus rounding. Neither
    depends on a gap or on the locality of the electrons.

    The diagonal of G_p is found by nested dissection and selected inversion, all poles at once.

    Cost: O(P N^1.5) time and O(P N log N) memory for short-ranged hops in two dimensions, in one dimension O(P N); any other
    pattern of hops is served as well, only slower. N = 2500 takes about a hundredth of the time of `ed`; below N = 100 there
    is little to gain. At fixed filling each replica costs about eight times as much. Complex hops cost twice as much as
    real ones. When lattices have more than about 10^5 sites, choose a local force field.

    Poles are chosen for an interval that follows the spectrum in steps of 2^(1/4); where it steps, the density changes by no
    more than the tolerance. The answer depends on nothing but the model and x.

    `precision: mixed` computes Green's functions in single precision and sums in double: half the time, errors of 1e-7 to
    1e-6 in the density and in its lattice symmetries; the energy is then too coarse to be differentiated. Use it with a
    tolerance of 1e-6 or so.

    References: Lin, Lu, Ying and E, Chin. Ann. Math. B 30, 729 (2009), doi:10.1007/s11401-009-0201-7 (pole expansion);
    Lin, Yang, Meza, Lu, Ying and E, doi:10.1145/1916461.1916464 (selected inversion).
    """

    tolerance: float = parameter(
        5e-10, doc="largest error of the Fermi function, and so of a density", ge=SMALLEST_TOLERANCE, lt=0.1
    )
    poles: int | None = parameter(None, doc="number of poles instead of a tolerance", ge=1, le=MOST_POLES)
    precision: Literal["float64", "mixed"] = parameter(
        "float64", doc="float64, or mixed: Green's functions in single precision"
    )
    ladder: ClassVar[tuple[dict[str, Any], ...]] = ({"tolerance": 1e-6, "precision": "mixed"}, {})
    _prepared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Conservative (in float64) and global; memory for one set of fronts per thread."""
        undistorted = Hamiltonian.undistorted(model)
        numbers = sum(work_entries(self._elimination(model, undistorted), not undistorted.is_complex))
        chunks = -(-MOST_POLES // self._lanes) * replicas
        answers = chunks * (undistorted.size + 2 * len(undistorted.i)) * 8
        return Capabilities(
            conservative=self.precision == "float64",
            deterministic=True,
            energy=True,
            density=True,
            halo=None,
            bytes_needed=numba.get_num_threads() * numbers * 2 * LANE_BYTES + answers,
            single=self.precision == "mixed",
            shares_work=True,
            cuda=plain_matrix(model),
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Find the order of elimination and allocate. Raises InputError when the machine cannot hold the fronts."""
        threads = numba.get_num_threads()
        require_memory(
            self.capabilities(model, replicas).bytes_needed,
            f"forcefield poles with {model.lattice.sites} sites and {threads} threads",
            "use a smaller lattice or fewer threads (NUMBA_NUM_THREADS)",
        )
        self.close()
        undistorted = Hamiltonian.undistorted(model)
        tree, symmetric = self._elimination(model, undistorted), not undistorted.is_complex
        free: SimpleQueue[Workspace] = SimpleQueue()
        for _ in range(threads):
            free.put(workspace(tree, symmetric, self._number))
        self._prepared.update(tree=tree, free=free, threads=ThreadPoolExecutor(threads))

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Energies, densities and forces of all replicas at x (R, N, D)."""
        if on_device(x):
            from forcefields import dense_device

            found = dense_device.by_poles(model, model.onsite(x), lambda width: self._fit(model, width))
            dense_device.write(model, x, found, out)
            return
        hamiltonian = Hamiltonian.of(model, x)
        out.mu[...], answer = self._answer(model, hamiltonian)
        out.energy[...] = answer.energy + model.electron_constant(x)
        if model.filling is not None:
            out.energy += out.mu * model.filling * hamiltonian.size
        rho = hamiltonian.density_matrix(answer.density, answer.bonds if hamiltonian.wants_pairs else None)
        out.density[...] = rho.density
        model.electronic_force(rho, x, out.force)

    def bonds(self, model: Model, x: Array) -> Array:
        """<c+_j c_i> for the hops (i, j) of a model of one orbital at x (R, N, D), complex (R, B); the density matrix rho_ij."""
        return self._answer(model, Hamiltonian.of(model, x))[1].bonds

    def exchange_energies(self, model: Model, x: Array) -> Array:
        """What exchanging the levels H_ii and H_jj of the two sites of each hop would add to the free energy, (R, B) [energy].

        Exact at fixed mu, by determinants (see `forcefields.exchange`); x (R, N, D). Cost: a little more than `evaluate`.
        Raises InputError at fixed filling, where mu would follow each exchange, and for several orbitals on a site.
        """
        if model.filling is not None or model.orbitals > 1:
            raise InputError(
                "energies of exchanges need a fixed mu and one orbital per site; evaluate attempts instead"
            )
        hamiltonian = Hamiltonian.of(model, x).measured_from(model.mu or 0.0)
        jobs = _jobs([self._fit(model, reach) for reach in spectral_reach(hamiltonian, model.lattice)], self._lanes)

        def do(q: int, work: Workspace) -> Array:
            one = hamiltonian.replica(jobs[q].replica)
            entries = selected_entries(self._prepared["tree"], one.levels[0], one.amplitude, jobs[q].poles, work)
            return exchanged(one.levels[0], one.i, one.j, entries, jobs[q].weights)

        energies = np.zeros((len(x), len(hamiltonian.i)))
        mine, shares = model.lattice.jobs(len(jobs)), np.zeros((len(jobs), energies.shape[1]))
        for q, share in zip(mine, self._side_by_side(do, mine), strict=True):
            shares[q] = share
        for job, share in zip(jobs, model.lattice.merged(shares), strict=True):
            energies[job.replica] += share
        return energies

    def close(self) -> None:
        """Drop the order of elimination, the fronts and the threads."""
        if "threads" in self._prepared:
            self._prepared["threads"].shutdown()
        self._prepared.clear()

    @property
    def _lanes(self) -> int:
        """Poles that are computed together."""
        return LANE_BYTES // self._number.itemsize

    @property
    def _number(self) -> np.dtype[Any]:
        return np.dtype(np.float64 if self.precision == "float64" else np.float32)

    def _elimination(self, model: Model, undistorted: Hamiltonian) -> Elimination:
        if "tree" in self._prepared:
            return self._prepared["tree"]
        return dissect(np.repeat(model.lattice.cells, model.orbitals, axis=0), undistorted.i, undistorted.j)

    def _fit(self, model: Model, half_width: float) -> FermiPoles:
        return fermi_poles(model.electronic_temperature, half_width, tolerance=self.tolerance, count=self.poles)

    def _answer(self, model: Model, hamiltonian: Hamiltonian) -> tuple[Array | float, _Answer]:
        """mu of every replica, and everything at it."""
        if model.filling is None:
            mu = model.mu or 0.0
            levels = hamiltonian.measured_from(mu)
            return mu, self._solve(
                model.lattice, levels, [self._fit(model, reach) for reach in spectral_reach(levels, model.lattice)]
            )
        each = [
            self._at_fixed_filling(model, model.filling, hamiltonian.replica(r)) for r in range(len(hamiltonian.levels))
        ]
        return np.array([mu for mu, _ in each]), _Answer.stacked([answer for _, answer in each])

    def _at_fixed_filling(self, model: Model, filling: float, hamiltonian: Hamiltonian) -> tuple[float, _Answer]:
        """mu and everything for one replica: a bracketed search that starts from isolated sites."""
        kt, levels = model.electronic_temperature, hamiltonian.levels
        middle = 0.5 * (levels.max() + levels.min())
        reach = float(spectral_reach(hamiltonian.measured_from(middle), model.lattice)[0])
        shift = kt * float(logit(filling))  # from the edges of the spectrum to those of the interval that mu lies in
        # One fit for all mu that can occur, so that the number of electrons is a smooth function of mu.
        fit = self._fit(model, 2.0 * reach + abs(shift))
        answers: dict[float, _Answer] = {}

        def excess(mu: float) -> float:
            answers[mu] = self._solve(model.lattice, hamiltonian.measured_from(mu), [fit])
            difference = float(answers[mu].density.mean()) - filling
            return difference if abs(difference) > FILLING_TOLERANCE else 0.0

        def isolated(mu: float) -> float:
            return float(expit((mu - levels) / kt).mean()) - filling

        guess = float(brentq(isolated, levels.min() + shift - kt, levels.max() + shift + kt, xtol=1e-12))
        low, high = _bracket(excess, guess, 0.25, middle + shift - reach, middle + shift + reach)
        mu = low if low == high else float(brentq(excess, low, high, xtol=4e-16, rtol=8.9e-16, maxiter=100))
        if mu not in answers:
            excess(mu)
        return mu, answers[mu]

    def _solve(self, lattice: Lattice, hamiltonian: Hamiltonian, fits: list[FermiPoles]) -> _Answer:
        """Sums at mu = 0 over the poles of each replica's fit; replicas and chunks of poles are independent jobs."""
        levels, amplitude = hamiltonian.levels, hamiltonian.amplitude
        jobs = _jobs(fits, self._lanes)
        diagonal, log_det = np.zeros((len(jobs), hamiltonian.size)), np.zeros(len(jobs))
        bonds = np.zeros((len(jobs), len(hamiltonian.i)), dtype=complex)

        def do(q: int, work: Workspace) -> float:
            job = jobs[q]
            return selected_inverse(
                self._prepared["tree"],
                levels[job.replica],
                amplitude if amplitude.ndim == 1 else amplitude[job.replica],
                job.poles,
                job.weights,
                work,
                diagonal[q],
                bonds[q],
            )

        mine = lattice.jobs(len(jobs))
        log_det[mine] = self._side_by_side(do, mine)
        diagonal, bonds, log_det = (lattice.merged(each) for each in (diagonal, bonds, log_det))
        if not np.isfinite(log_det).all():
            raise ArithmeticError("the Green's functions are not finite; are the positions?")
        # At the start of the sums: what the fit has beside its poles, 1/2 - slope H.
        slope, offset = (np.array([getattr(fit, name) for fit in fits])[:, None] for name in ("slope", "offset"))
        square = np.square(levels).sum(axis=1) + 2.0 * np.atleast_2d(np.abs(amplitude) ** 2).sum(axis=1)
        answer = _Answer(
            0.5 - slope * levels,
            hamiltonian.size * offset[:, 0] + 0.5 * levels.sum(axis=1) - 0.5 * slope[:, 0] * square,
            -slope * np.atleast_2d(amplitude).astype(complex),
        )
        for q, job in enumerate(jobs):  # in this order, whichever was done first
            answer.density[job.replica] -= diagonal[q]
            answer.bonds[job.replica] -= bonds[q]
            answer.energy[job.replica] -= log_det[q]
        return answer

    def _side_by_side(self, do: Callable[[int, Workspace], T], jobs: range) -> list[T]:
        """do(q, fronts of its own) for these jobs q, in as many threads as there are fronts."""

        def one(q: int) -> T:
            work = self._prepared["free"].get()
            try:
                return do(q, work)
            finally:
                self._prepared["free"].put(work)

        spread = self._prepared["threads"].map if len(jobs) > 1 else map
        return list(spread(one, jobs))


@dataclass
class _Answer:
    """Diagonal of rho (R, n), Omega without C (R,), and rho of the pairs of orbitals that H_el joins (R, P)."""

    density: Array
    energy: Array
    bonds: Array

    @classmethod
    def stacked(cls, answers: list[_Answer]) -> _Answer:
        """The answers of several replicas as one."""
        fields = ("density", "energy", "bonds")
        return cls(*(np.concatenate([getattr(answer, name) for answer in answers]) for name in fields))


class _Job(NamedTuple):
    """Poles and weights (lanes,) that are computed together, for one replica."""

    replica: int
    poles: Array
    weights: Array


def _jobs(fits: list[FermiPoles], lanes: int) -> list[_Job]:
    """The poles of each replica in chunks; the last one is filled up with weight 0."""
    jobs = []
    for r, fit in enumerate(fits):
        for first in range(0, len(fit.poles), lanes):
            missing = max(0, first + lanes - len(fit.poles))
            poles = np.pad(fit.poles[first : first + lanes], (0, missing), mode="edge")
            jobs.append(_Job(r, poles, np.pad(fit.weights[first : first + lanes], (0, missing))))
    return jobs


def _bracket(excess: Any, guess: float, width: float, lowest: float, highest: float) -> tuple[float, float]:
    """An interval around or beside `guess` at whose ends the rising function `excess` has opposite signs or vanishes."""
    guess = min(max(guess, lowest), highest)
    value = excess(guess)
    if value == 0.0:
        return guess, guess
    direction = -1.0 if value > 0.0 else 1.0
    near = guess
    while True:
        far = min(max(near + direction * width, lowest), highest)
        if excess(far) * direction >= 0.0:
            return min(near, far), max(near, far)
        if far in (lowest, highest):  # exact levels would have changed sign here; the fit misses it by its error
            return far, far
        near, width = far, 2.0 * width
