"""The conformance kit catches what is made wrong on purpose, each defect by the check that is meant for it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from latticemd import Holstein, Lattice
from latticemd.errors import InputError
from latticemd.integrators.overdamped import EulerMaruyama
from latticemd.integrators.splitting import Langevin, LangevinOBABO, Splitting, Verlet
from latticemd.measurements.forces import gradient_error, symmetry_error
from latticemd.models.hamiltonian import Hops
from latticemd.models.symmetry import Internal
from latticemd.testing import (
    FORCEFIELD_CHECKS,
    INTEGRATOR_CHECKS,
    MODEL_CHECKS,
    DenseElectrons,
    assert_agrees,
    check_forcefield,
    check_integrator,
    check_model,
)
from latticemd.testing.forcefields import assert_blocks

MODEL = Holstein(Lattice("square", (4, 4)))


def failing(checks, *arguments):
    """Names of the checks that fail and say so with a number."""
    names = set()
    for check in checks:
        try:
            check(*arguments)
        except AssertionError as error:
            if re.search(r"\d", str(error)):
                names.add(check.__name__)
    return names


def promising(**changes):
    """A `capabilities` that claims something else than the truth."""

    def capabilities(self, model, replicas):
        return dataclasses.replace(DenseElectrons().capabilities(model, replicas), **changes)

    return capabilities


class HasAnotherEnergy(DenseElectrons):
    """An energy that keeps all symmetries but is not the one whose gradient is the force."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.energy += 1e-4 * (x**2).sum(axis=(1, 2))


class MiscountsElectrons(DenseElectrons):
    """A free energy whose derivative by mu is not minus the number of electrons."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.energy += 1e-3 * model.mu


class AddsASpring(DenseElectrons):
    """A conservative force that no density explains."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force -= 1e-4 * x
        out.energy += 0.5e-4 * (x**2).sum(axis=(1, 2))


class PrefersADirection(DenseElectrons):
    """Exact electrons of a lattice whose hopping is a little larger along x."""

    def evaluate(self, model, x, step, out):
        super().evaluate(dataclasses.replace(model, anisotropy=1e-5), x, step, out)


class BreaksParticleHole(DenseElectrons):
    """Exact electrons at another chemical potential."""

    def evaluate(self, model, x, step, out):
        super().evaluate(dataclasses.replace(model, mu=model.mu + 1e-5), x, step, out)


class LeavesNothingUnsaid(DenseElectrons):
    """Writes an energy it does not promise."""

    capabilities = promising(energy=False)


class Accumulates(DenseElectrons):
    """Adds to the buffer it should overwrite."""

    def evaluate(self, model, x, step, out):
        old = np.nan_to_num(out.force)
        super().evaluate(model, x, step, out)
        out.force += 1e-3 * old


class TidiesUp(DenseElectrons):
    """Changes the positions it is given."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        x -= x.mean()


@dataclass(frozen=True)
class Remembers(DenseElectrons):
    """A warm start that changes the last bits of the next answer."""

    last: dict[str, float] = dataclasses.field(default_factory=dict)

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-13 * self.last.get("x", 0.0)
        self.last["x"] = float(x[0, 0, 0])

    def close(self):
        self.last.clear()


@dataclass(frozen=True)
class NoticesRamps(DenseElectrons):
    """Changes its last bits once it has seen another hopping, as a cache does that is filled and never refreshed."""

    seen: set[float] = dataclasses.field(default_factory=set)

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        self.seen.add(model.hopping)
        out.force += 1e-13 * (len(self.seen) - 1)


class BreaksWhenClosed(DenseElectrons):
    """Cannot be prepared a second time."""

    def __init__(self):
        object.__setattr__(self, "closed", False)

    def prepare(self, model, replicas):
        if self.closed:
            raise RuntimeError("already closed: 1 time")

    def close(self):
        object.__setattr__(self, "closed", True)


class LooksAround(DenseElectrons):
    """A force that depends on the other replicas."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += 1e-13 * (len(x) - 1) * x[0]


class EachIsDifferent(DenseElectrons):
    """Every third instance is off in the last bits."""

    made: ClassVar[list[int]] = [0]

    def __init__(self):
        self.made[0] += 1
        object.__setattr__(self, "error", 1e-13 * (self.made[0] % 2))

    def evaluate(self, model, x, step, out):
        super().evaluate(model, x, step, out)
        out.force += self.error


class SaysItIsLocal(DenseElectrons):
    """Claims a halo of one layer although its electrons go everywhere."""

    capabilities = promising(halo=1)


class ForgetsItsMemory(DenseElectrons):
    """Takes 16 MiB and claims none."""

    capabilities = promising(bytes_needed=0)

    def evaluate(self, model, x, step, out):
        np.zeros(2**21).sum()
        super().evaluate(model, x, step, out)


class MakesUpNumbers(DenseElectrons):
    """Answers with finite forces whatever it is asked."""

    def evaluate(self, model, x, step, out):
        super().evaluate(model, np.nan_to_num(x, posinf=0.0, neginf=0.0), step, out)


class MeetsNaNWithAnotherError(DenseElectrons):
    """Ends a run that diverges with a traceback."""

    def evaluate(self, model, x, step, out):
        if not np.isfinite(x).all():
            raise ValueError("16 sites, not all finite")
        super().evaluate(model, x, step, out)


FORCEFIELDS = {
    HasAnotherEnergy: {"assert_force_is_a_gradient"},
    MiscountsElectrons: {"assert_density"},
    AddsASpring: {"assert_force_belongs_to_density"},
    PrefersADirection: {"assert_space_group"},
    BreaksParticleHole: {"assert_internal_symmetries"},
    LeavesNothingUnsaid: {"assert_outputs"},
    Accumulates: {"assert_outputs"},
    TidiesUp: {"assert_outputs"},
    Remembers: {"assert_repeatable", "assert_outputs", "assert_replicas_are_independent"},
    NoticesRamps: {"assert_repeatable"},
    EachIsDifferent: {"assert_fresh_instances_agree", "assert_replicas_are_independent"},
    BreaksWhenClosed: {"assert_reopens"},
    LooksAround: {"assert_replicas_are_independent"},
    SaysItIsLocal: {"assert_halo"},
    ForgetsItsMemory: {"assert_memory_claim"},
    MakesUpNumbers: {"assert_meets_non_finite_positions"},
    MeetsNaNWithAnotherError: {"assert_meets_non_finite_positions"},
}


@pytest.mark.parametrize("culprit", FORCEFIELDS, ids=lambda culprit: culprit.__name__)
def test_each_defect_of_a_force_field_is_caught_by_its_checks_alone(culprit):
    assert failing(FORCEFIELD_CHECKS, culprit, MODEL) == FORCEFIELDS[culprit]
    with pytest.raises(AssertionError, match=f"{culprit.__name__} for Holstein fails"):
        check_forcefield(culprit, MODEL)


class Pinned(DenseElectrons):
    """Electrons that see their own site alone, as without hops; says what the whole lattice has, or what it sees of it."""

    capabilities = promising(halo=0)

    def total(self, model, energies):
        return model.lattice.total(energies)

    def evaluate(self, model, x, step, out):
        u = 0.5 * model.coupling * x / model.electronic_temperature
        out.force[...] = 0.5 * model.coupling * np.tanh(u)
        out.density[...] = 0.5 + 0.5 * np.tanh(u[..., 0])
        out.energy[...] = -model.electronic_temperature * self.total(model, np.log(2.0 * np.cosh(u[..., 0])))
        out.mu[...] = 0.0


class SumsWhatItSees(Pinned):
    """Forgets that it may see a block of a lattice and the rim around it."""

    def total(self, model, energies):
        return energies.sum(axis=1)


def test_what_concerns_the_whole_lattice_is_asked_of_it():
    model = Holstein(Lattice("square", (8, 4)))
    assert assert_blocks(Pinned, model) is None
    with pytest.raises(AssertionError, match="energy of two blocks"):
        assert_blocks(SumsWhatItSees, model)
    assert "use a larger one" in assert_blocks(Pinned, MODEL)
    assert "depend on all sites" in assert_blocks(DenseElectrons, model)


def test_a_force_field_is_compared_with_a_reference():
    x = np.random.default_rng(3).normal(size=(2, 16, 1))
    rms, worst = 1e-4 * np.sqrt(np.mean(x**2)), 1e-4 * np.abs(x).max()
    assert_agrees(AddsASpring, DenseElectrons, MODEL, x, rms=1.01 * rms, worst=1.01 * worst)
    with pytest.raises(AssertionError, match="root mean square"):
        assert_agrees(AddsASpring, DenseElectrons, MODEL, x, rms=0.99 * rms)
    with pytest.raises(AssertionError, match="largest"):
        assert_agrees(AddsASpring, DenseElectrons, MODEL, x, rms=1.01 * rms, worst=0.99 * worst)


def test_tolerances_let_approximate_force_fields_pass():
    assert "assert_halo" in check_forcefield(AddsASpring, MODEL, density=1e-2)
    check_forcefield(PrefersADirection, MODEL, symmetry=1e-4)


class Raises(AddsASpring):
    """Trips over its own tables as soon as the hopping is anisotropic, and has another defect beside."""

    def evaluate(self, model, x, step, out):
        {0.0: "isotropic"}[model.anisotropy]
        super().evaluate(model, x, step, out)


def test_one_crash_does_not_hide_other_failures():
    with pytest.raises(AssertionError) as caught:
        check_forcefield(Raises, MODEL)
    assert "Raises for Holstein fails 2 of 14 checks" in str(caught.value)
    assert "assert_force_belongs_to_density: force differs" in str(caught.value)
    assert "assert_repeatable: ended in KeyError: 0.05" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_model_that_is_not_served_is_no_failure():
    class Selective(DenseElectrons):
        def prepare(self, model, replicas):
            raise InputError("17 sites or more, please")

    with pytest.raises(InputError, match="17 sites"):
        check_forcefield(Selective, MODEL)


def test_promises_that_are_not_made_are_not_checked():
    class Modest(HasAnotherEnergy):
        capabilities = promising(conservative=False)

    skipped = check_forcefield(Modest, MODEL)
    assert skipped["assert_force_is_a_gradient"] == "the force field says that it is not conservative"


@dataclass(frozen=True)
class Vectors(Holstein):
    """A displacement in the plane on every site."""

    components: ClassVar[int] = 2

    def representation(self, operation):
        return operation.rotation


@dataclass(frozen=True)
class NotVectors(Vectors):
    """The same with components that do not turn."""

    def representation(self, operation):
        return np.eye(2)


@dataclass(frozen=True)
class Unspoken(Vectors):
    """The same without a word on how components turn."""

    def representation(self, operation):
        return Holstein.representation(self, operation)


@pytest.mark.parametrize(("kind", "limits"), [(Vectors, (0.0, 1e-14)), (NotVectors, (0.1, 10.0))])
def test_vectors_turn_with_the_lattice(kind, limits):
    """Springs along the bonds, E = sum ((u_j - u_i).e_ij)^2/2, are symmetric if sites and vectors turn together."""
    model = kind(Lattice("square", (5, 5)))
    bonds = model.lattice.bonds()

    def springs(u):
        stretch = np.einsum("rbd,bd->rb", u[:, bonds.j] - u[:, bonds.i], bonds.vector)
        force = np.zeros_like(u)
        pull = stretch[..., None] * bonds.vector
        np.add.at(force, (slice(None), bonds.i), pull)
        np.add.at(force, (slice(None), bonds.j), -pull)
        return force, 0.5 * (stretch**2).sum(axis=1)

    u = np.random.default_rng(4).normal(size=(1, 25, 2))
    assert gradient_error(springs, u, np.random.default_rng(5).normal(size=u.shape)) < 1e-9
    error, _ = symmetry_error(springs, model, model.symmetries(), u)
    assert limits[0] <= error <= limits[1]
    assert symmetry_error(springs, Unspoken(model.lattice), model.symmetries(), u) is None


@dataclass(frozen=True)
class SeesItsBatch(Holstein):
    """An energy with a share of the other replicas."""

    def classical_energy(self, x):
        return super().classical_energy(x) + 1e-9 * len(x)


@dataclass(frozen=True)
class HopsTwice(Holstein):
    """Lists the conjugate of each hop as well."""

    def hops(self):
        hops = super().hops()
        i, j = np.concatenate([hops.i, hops.j]), np.concatenate([hops.j, hops.i])
        return Hops(i, j, np.tile(hops.amplitude, 2))


@dataclass(frozen=True)
class PullsTooLittle(Holstein):
    """A classical force that is not the gradient of V."""

    def total_force(self, x, electronic, out):
        super().total_force(x, electronic, out)
        out += 1e-6 * x[:, self.lattice.neighbours()].sum(axis=2)


@dataclass(frozen=True)
class DropsElectrons(Holstein):
    """A Hellmann-Feynman force with a factor that the Hamiltonian does not have."""

    def electronic_force(self, rho, x, out):
        super().electronic_force(rho, x, out)
        out *= 1.0 + 1e-5


@dataclass(frozen=True)
class ClaimsTheWholeGroup(Holstein):
    """Declares rotations that its hopping breaks."""

    anisotropy: float = 1e-4

    def symmetries(self, translations=True):
        yield from self.lattice.symmetries(translations)


@dataclass(frozen=True)
class ClaimsParticleHole(Holstein):
    """Declares a symmetry that its chemical potential breaks."""

    mu: float = 1e-4

    def internal_symmetries(self):
        return [Internal("particle-hole", -np.eye(1))]


@dataclass(frozen=True)
class ForgetsHalfItsNeighbours(Holstein):
    """Understates the largest curvature."""

    def largest_stiffness(self):
        return self.stiffness + 2 * abs(self.intersite)


@dataclass(frozen=True)
class RotatesTooFast(Holstein):
    """Gives letter R more than the on-site springs."""

    def harmonic_stiffness(self):
        return self.stiffness + 1e-4


@dataclass(frozen=True)
class OrdersBadly(Holstein):
    """A checkerboard with a defect."""

    def ordered(self, amplitude):
        pattern = super().ordered(amplitude).copy()
        pattern[5] *= -1.0
        return pattern


@dataclass(frozen=True)
class KeepsOldHops(Holstein):
    """Hops from a table that knows the lattice and not the parameters."""

    table: ClassVar[dict[Lattice, Hops]] = {}

    def hops(self):
        return self.table.setdefault(self.lattice, super().hops())


MODELS = {
    SeesItsBatch: {"assert_shapes"},
    HopsTwice: {"assert_hops"},
    PullsTooLittle: {"assert_classical_force"},
    DropsElectrons: {"assert_electronic_force"},
    ClaimsTheWholeGroup: {"assert_space_group"},
    ClaimsParticleHole: {"assert_internal_symmetries"},
    ForgetsHalfItsNeighbours: {"assert_largest_stiffness"},
    RotatesTooFast: {"assert_harmonic_stiffness"},
    OrdersBadly: {"assert_ordered_pattern"},
    KeepsOldHops: {"assert_parameters_ramp"},
}


@pytest.mark.parametrize("culprit", MODELS, ids=lambda culprit: culprit.__name__)
def test_each_defect_of_a_model_is_caught_by_its_checks_alone(culprit):
    model = culprit(Lattice("square", (4, 4)))
    assert failing(MODEL_CHECKS, model) == MODELS[culprit]
    with pytest.raises(AssertionError, match=f"{culprit.__name__} fails 1 of {len(MODEL_CHECKS)}"):
        check_model(model)


@dataclass(frozen=True)
class StepsTwice(Verlet):
    """Counts every step as two."""

    def step(self, state, system):
        super().step(state, system)
        state.step += 1


@dataclass(frozen=True)
class CountsItsCalls(Verlet):
    """Hidden state: the number of calls moves the lattice."""

    calls: list[int] = dataclasses.field(default_factory=lambda: [0])

    def step(self, state, system):
        super().step(state, system)
        self.calls[0] += 1
        state.p += 1e-13 * self.calls[0]


@dataclass(frozen=True)
class RampsByCalls(Langevin):
    """The temperature of the n-th call instead of that of the step."""

    calls: list[int] = dataclasses.field(default_factory=lambda: [0])

    def step(self, state, system):
        self.calls[0] += 1
        temperature = self.temperature(self.calls[0])
        state.p += 1e-9 * (temperature - self.temperature(0))
        super().step(state, system)


@dataclass(frozen=True)
class SharesItsBath(Verlet):
    """One bath for all replicas of a batch."""

    def step(self, state, system):
        super().step(state, system)
        state.p += 1e-13 * state.p.mean(axis=0)


@dataclass(frozen=True)
class MindsBeingWatched(Verlet):
    """Reads a number that frames bring up to date."""

    def step(self, state, system):
        super().step(state, system)
        state.p += 1e-14 * state.potential[:, None, None]


@dataclass(frozen=True)
class IgnoresTheSeed(Langevin):
    """The same noise for everybody."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "seed", 0)


@dataclass(frozen=True)
class ForgetsReplicas(Langevin):
    """The same noise for every batch."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "first_replica", 0)


@dataclass(frozen=True)
class LeavesOldForces(Verlet):
    """Forces of the step before, after a ramp has moved on."""

    def step(self, state, system):
        super().step(state, system)
        system.update_forces(state, state.step - 1)


@dataclass(frozen=True)
class DropsAHalfKick(Splitting):
    """Symplectic Euler that takes itself for a scheme of second order."""

    word: str = "BOA"
    order: ClassVar[int] = 2


@dataclass(frozen=True)
class HidesItsHeat(LangevinOBABO):
    """A bath that gives without saying so."""

    def step(self, state, system):
        super().step(state, system)
        state.thermostat["heat"][...] = 0.0


@dataclass(frozen=True)
class ThereIsNoWayBack(Splitting):
    """A word that is no palindrome and says that it leads back."""

    word: str = "OBA"
    reversible: ClassVar[bool] = True
    order: ClassVar[int] = 1


@dataclass(frozen=True)
class RunsFast(Verlet):
    """A clock that is two percent fast."""

    def isolated(self, dt):
        return super().isolated(1.02 * dt)


@dataclass(frozen=True)
class PushesTooFar(EulerMaruyama):
    """Overdamped motion with another mobility than it is asked for."""

    def __post_init__(self):
        object.__setattr__(self, "friction", 0.95 * self.friction)


INTEGRATORS = {
    StepsTwice: {
        "assert_counts_steps",
        "assert_follows_ramps",
        "assert_may_be_watched",
        "assert_forces_are_current",
        "assert_exact_motion",
    },
    CountsItsCalls: {"assert_restarts", "assert_follows_ramps"},
    RampsByCalls: {"assert_follows_ramps"},
    SharesItsBath: {"assert_replicas_are_independent"},
    MindsBeingWatched: {"assert_may_be_watched"},
    IgnoresTheSeed: {"assert_seeds_matter"},
    ForgetsReplicas: {"assert_seeds_matter", "assert_replicas_are_independent"},
    LeavesOldForces: {"assert_forces_are_current", "assert_follows_ramps"},
    DropsAHalfKick: {"assert_energy_order", "assert_exact_motion"},
    HidesItsHeat: {"assert_balance"},
    ThereIsNoWayBack: {"assert_reversible"},
    RunsFast: {"assert_exact_motion"},
    PushesTooFar: {"assert_exact_motion"},
}


@pytest.mark.parametrize("culprit", INTEGRATORS, ids=lambda culprit: culprit.__name__)
def test_each_defect_of_an_integrator_is_caught_by_its_checks_alone(culprit):
    assert failing(INTEGRATOR_CHECKS, culprit) == INTEGRATORS[culprit]
    with pytest.raises(AssertionError, match=f"{culprit.__name__} fails"):
        check_integrator(culprit)


def test_the_kit_needs_neither_pytest_nor_a_force_field():
    code = "import sys, latticemd.testing; sys.exit(str(sorted({'pytest', 'forcefields'} & set(sys.modules)) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
