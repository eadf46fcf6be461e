"""MeanField: the fields that electrons make for each other, iterated until they are those they are made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from forcefields.mean_field.dressed import Dressed
from forcefields.mean_field.mixing import FixedPoint, Search
from forcefields.mean_field.seeds import seeded
from latticemd.errors import InputError
from latticemd.forcefield import Array, Capabilities, Electrons, ForceField
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.interaction import Interacting
from latticemd.models.model import Model
from latticemd.parameters import parameter, parameters_of
from latticemd.plugins import load_plugin, nearest

log = logging.getLogger("latticemd.run")

Setting = float | int | bool | str


@dataclass(frozen=True)
class MeanField:
    """Unrestricted Hartree-Fock: densities, spins and bonds in fields that they make for each other.

    Sigma = dPhi/drho,   rho = f(H_el + Sigma),   Omega = Omega[H_el + Sigma] - Tr[rho Sigma] + Phi[rho]

    solved by `solver`, any force field for free electrons, again and again, with damped steps and then Pulay mixing
    (`forcefields.mean_field.mixing`), until the rms of dPhi/drho - Sigma over all entries is at most `residual`. Omega is
    stationary there: its error is of second order in the residual, that of the force of first order, and the force is its
    gradient.

    **Several solutions.** The equations have more than one where phases compete, and none of them is "the" answer. What is found
    depends on where the search starts, so that is stated:

    ===================  =================================================================================================
    `start: previous`    from the fields of the last step, which are part of the State: the run follows the solution it is
                         in, as a metastable phase would, and takes fewer solves. The first step starts from the seed
    `start: seed`        from the seed at every step: the force is a pure function of x, with jumps where the solution
                         found changes, which conserve no energy
    ===================  =================================================================================================

    Seeds are density matrices (`forcefields.mean_field.seeds`). No field breaks a symmetry that seed, x and H all have: spins
    that would order stay disordered from the seed `paramagnet`, which then is a saddle of Omega. To know the ground state, compare
    the free energies from several seeds. Fields are real unless `phases` is true: spins then stay in the xz plane.

    Cost: 5 to 40 solves per force, each that of `solver`, and memory for 2 `history` fields. Where electrons do not interact,
    name the solver itself.

    References: Bach, Lieb and Solovej, J. Stat. Phys. 76, 3 (1994), doi:10.1007/BF02188656 (generalised Hartree-Fock of the
    Hubbard model); Pulay, doi:10.1016/0009-2614(80)80396-4 (mixing).
    """

    solver: str = parameter(
        "ed", doc="force field that solves the electrons in given fields: ed, poles, kpm, window, cavity"
    )
    solver_settings: dict[str, Setting] | None = parameter(
        None, doc="keys of that force field, such as {tolerance: 1e-9}"
    )
    residual: float = parameter(
        1e-10, doc="largest rms difference of the fields made and the fields felt", dimension="energy", gt=0
    )
    iterations: int = parameter(200, doc="most solves per force", ge=1)
    history: int = parameter(8, doc="trials that Pulay mixing combines; 1 is linear mixing", ge=1, le=50)
    mixing: float = parameter(0.7, doc="share beta of the residual that is added to a trial", gt=0, le=1)
    start: Literal["previous", "seed"] = parameter(
        "previous", doc="fields a search starts from: those of the previous step, or the seed at every step"
    )
    seed: Literal["paramagnet", "antiferromagnet", "charge", "random"] = parameter(
        "antiferromagnet", doc="order of the density matrix that the first search starts from"
    )
    seed_amplitude: float = parameter(1.0, doc="size of that order; 1 is saturated", ge=0, le=1)
    seed_number: int = parameter(0, doc="number that the seed random is made from", ge=0, lt=2**64)
    phases: bool = parameter(
        False, doc="whether fields may be complex: spins along y, currents; twice to four times the cost"
    )

    ladder: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"solver": "poles"})
    _prepared: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def capabilities(self, model: Model, replicas: int) -> Capabilities:
        """Those of the solver, without its locality, and memory for the trials."""
        model = _interacting(model)
        fields = self._vector(model, seeded("paramagnet", model, 0.0, 0, self._is_complex(model)))
        of_solver = self._made_solver().capabilities(self._dressed(model, fields), 1)
        return Capabilities(
            conservative=of_solver.conservative and of_solver.energy,
            deterministic=of_solver.deterministic,
            energy=of_solver.energy,
            density=of_solver.density,
            halo=None,
            bytes_needed=of_solver.bytes_needed + (4 * self.history + 16 + 2 * replicas) * fields.nbytes,
            interactions=True,
        )

    def prepare(self, model: Model, replicas: int) -> None:
        """Prepare the solver. Raises InputError for electrons that do not interact, and where the solver does not serve."""
        model = _interacting(model)
        solver = self._made_solver()
        solver.prepare(self._dressed(model, self._seed(model)), 1)
        self._prepared["solver"] = solver

    def memory(self, model: Model, replicas: int) -> dict[str, Array]:
        """The fields of the seed, the same for all replicas; nothing where every search starts from it anyway."""
        if self.start == "seed":
            return {}
        return {"mean_field": np.repeat(self._seed(_interacting(model))[None], replicas, axis=0)}

    def evaluate(self, model: Model, x: Array, step: int, out: Electrons) -> None:
        """Free energies, densities and forces of all replicas at x (R, N, D), found from the seed."""
        start = self._seed(_interacting(model))
        self.evaluate_from({"mean_field": np.repeat(start[None], len(x), axis=0)}, model, x, step, out)

    def evaluate_from(
        self, start: Mapping[str, Array], model: Model, x: Array, step: int, out: Electrons
    ) -> dict[str, Array]:
        """The same, found from fields of each replica, (R, M) numbers [energy]; returns those they became."""
        model, fields = _interacting(model), np.empty_like(start["mean_field"])
        solves, residual = np.empty(len(x)), np.empty(len(x))
        moments: list[dict[str, Array]] = []
        for r in range(len(x)):
            search = _Fields(self, model, x[r : r + 1], step)
            found = search.solve(start["mean_field"][r])
            if not found.converged:
                raise ArithmeticError(
                    f"the mean field of replica {r} has a residual of {found.residual:.2e} after {found.evaluations} solves, "
                    f"the limit is {self.residual:g}; try mixing below {self.mixing:g}, another seed, or more iterations"
                )
            search.answer(out, r)
            fields[r], solves[r], residual[r] = found.trial, found.evaluations, found.residual
            moments.append(model.moments(search.rho))
        out.details = {"solves": (solves, "1"), "residual": (residual, "energy")}
        out.details |= {name: (np.concatenate([one[name] for one in moments]), "1") for name in moments[0]}
        self._announce(solves, residual)
        return {"mean_field": fields}

    def close(self) -> None:
        """Release the solver."""
        if "solver" in self._prepared:
            self._prepared["solver"].close()
        self._prepared.clear()

    def _made_solver(self) -> ForceField:
        """The solver, prepared or not. Raises InputError for settings it does not have."""
        if "solver" in self._prepared:
            return self._prepared["solver"]
        component, settings = load_plugin("forcefield", self.solver), self.solver_settings or {}
        known = [each.name for each, _ in parameters_of(component)]
        for name in settings:
            if name not in known:
                raise InputError(
                    f"solver_settings: force field {self.solver} has no key {name!r}{nearest(name, known)}; "
                    f"known: {', '.join(known) or 'none'}"
                )
        try:
            return component(**settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"solver_settings: {error}") from error

    def _is_complex(self, model: Interacting) -> bool:
        return self.phases or np.iscomplexobj(model.hops().amplitude)

    def _seed(self, model: Interacting) -> Array:
        """The fields that the density matrix of the seed makes, (M,)."""
        rho = seeded(self.seed, model, self.seed_amplitude, self.seed_number, self._is_complex(model))
        return self._vector(model, rho)

    def _vector(self, model: Interacting, rho: DensityMatrix) -> Array:
        """The fields of a density matrix of one replica as real numbers in a row, (M,) [energy]."""
        fields = model.mean_fields(rho)
        flat = np.concatenate([fields.onsite.ravel(), fields.bonds.ravel()])
        if self._is_complex(model):
            return np.ascontiguousarray(flat, dtype=complex).view(float)
        return np.ascontiguousarray(flat.real)

    def _dressed(self, model: Interacting, vector: Array) -> Dressed:
        """The model in the fields of a vector (M,)."""
        flat = vector.view(complex) if self._is_complex(model) else vector
        sites, bonds, o = model.lattice.sites, len(model.hops().i), model.orbitals
        block = (o, o) if o > 1 else ()
        levels = flat[: sites * o * o].reshape(1, sites, *block)
        return Dressed.of(model, levels.real if o == 1 else levels, flat[sites * o * o :].reshape(1, bonds, *block))

    def _announce(self, solves: Array, residual: Array) -> None:
        """Say once how hard it was."""
        if "announced" not in self._prepared:
            self._prepared["announced"] = True
            log.info("mean field by %s: first solution after %s solves, residual %.1e; start %s, seed %s", self.solver,
                     " ".join(f"{n:.0f}" for n in solves[:4]), residual.max(), self.start, self.seed)  # fmt: skip


class _Fields:
    """The self-consistent fields of one replica at x (1, N, D)."""

    def __init__(self, method: MeanField, model: Interacting, x: Array, step: int) -> None:
        self._method, self._model, self._x, self._step = method, model, x, step
        self._electrons = Electrons.empty(1, model)
        self._dressed: Dressed

    def solve(self, start: Array) -> FixedPoint:
        """The fixed point found from fields (M,)."""
        method = self._method
        search = Search(method.residual, method.iterations, method.history, method.mixing)
        return search.solve(self._image, start)

    @property
    def rho(self) -> DensityMatrix:
        """The density matrix of the last fields."""
        return self._dressed.answers[-1]

    def answer(self, out: Electrons, r: int) -> None:
        """Write what the solver said in the last fields, with the interaction counted once."""
        electrons, rho = self._electrons, self.rho
        counted = _trace(rho, self._dressed) - self._model.mean_fields(rho).energy[0]
        out.force[r], out.density[r], out.mu[r] = electrons.force[0], electrons.density[0], electrons.mu[0]
        out.energy[r] = electrons.energy[0] - counted

    def _image(self, fields: Array) -> Array:
        """The fields made by the electrons in given fields."""
        self._dressed = self._method._dressed(self._model, fields)
        self._method._prepared["solver"].evaluate(self._dressed, self._x, self._step, self._electrons)
        return self._method._vector(self._model, self.rho)


def _trace(rho: DensityMatrix, dressed: Dressed) -> float:
    """Tr[rho Sigma] [energy]; each bond counts with its conjugate."""
    assert rho.bonds is not None
    onsite = np.vdot(dressed.levels, rho.onsite).real
    return float(onsite + 2.0 * np.vdot(dressed.bonds, rho.bonds).real)


def _interacting(model: Model) -> Interacting:
    """The model, if its electrons interact."""
    if not isinstance(model, Interacting):
        raise InputError(
            f"forcefield mean_field is for electrons that interact, those of {type(model).__name__} do not; "
            "use its solver itself, forcefield: {name: ed} or poles"
        )
    return model
