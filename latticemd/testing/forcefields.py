"""Checks of a force field: every promise of the `ForceField` protocol, for one model at given positions.

`make` makes a new force field, `model` is the Hamiltonian it is to serve, and `x` are positions (1, N, D), standard normals
unless given. The forces here are the ELECTRONIC ones, so that no exact elastic term hides an error. Where a check allows
for an error, the default suits exact methods in float64.
"""

from __future__ import annotations

import dataclasses
import functools
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from latticemd.forcefield import Array, Capabilities, Electrons, ForceField
from latticemd.measurements.forces import (
    Landscape,
    different_fields,
    gradient_error,
    internal_symmetry_error,
    layers_away,
    relative,
    symmetry_error,
    symmetry_generators,
)
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.model import Model
from latticemd.parallel.choosing import rim_of
from latticemd.parallel.comm import Alone
from latticemd.parallel.partition import Partition
from latticemd.parallel.share import Share
from latticemd.parallel.threads import on_ranks
from latticemd.state import State
from latticemd.system import System
from latticemd.testing.outcome import Skipped, require, require_within, run_all
from latticemd.testing.probes import positions, ramped

Make = Callable[[], ForceField]
FIELDS = ("force", "energy", "density", "mu")
NOT_DETERMINISTIC = "the force field says that it is not deterministic"


def check_forcefield(
    make: Make,
    model: Model,
    x: Array | None = None,
    *,
    gradient: float = 1e-6,
    symmetry: float = 1e-9,
    density: float = 1e-6,
) -> dict[str, str]:
    """Run FORCEFIELD_CHECKS; returns those that do not apply with the reason, raises one AssertionError for all that fail.

    A model that the force field does not serve ends in its InputError. `gradient`, `symmetry`, `density` are relative
    tolerances for methods that are approximate. Cost: about 40 force evaluations and one for each generator of the model's
    space group (10 on a square lattice; all 8 N operations where steps of one cell are no symmetry).
    """
    tolerances = {
        "assert_force_is_a_gradient": gradient,
        "assert_space_group": symmetry,
        "assert_internal_symmetries": symmetry,
        "assert_density": density,
        "assert_force_belongs_to_density": density,
    }
    checks: dict[str, Callable[[], Skipped]] = {}
    for check in FORCEFIELD_CHECKS:
        name = check.__name__
        options = {"tolerance": tolerances[name]} if name in tolerances else {}
        checks[name] = functools.partial(check, make, model, x, **options)
    with _ready(make, model, 1):
        pass  # a model that is not served is no failure of every check, but one InputError
    return run_all(f"{type(make()).__name__} for {type(model).__name__}", checks)


def assert_outputs(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """Every promised output is finite, what is not promised stays NaN, old content is replaced, and x is left alone."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        promised = forcefield.capabilities(model, 1)
        given = x.copy()
        out = Electrons.empty(1, model)
        forcefield.evaluate(model, given, 0, out)
        moved = float(np.abs(given - x).max())
        require(given.tobytes() == x.tobytes(), f"evaluate changed the positions it was given by {moved:.2e}")
        require(bool(np.isfinite(out.force).all()), f"{_bad(out.force)} of {out.force.size} forces are not finite")
        for name in ("energy", "density"):
            value = getattr(out, name)
            if getattr(promised, name):
                require(bool(np.isfinite(value).all()), f"{name} is promised, but {_bad(value)} values are not finite")
            else:
                written = int((~np.isnan(value)).sum())
                require(written == 0, f"{name} is not promised, but {written} values were written")
        if promised.deterministic:
            used = Electrons.empty(1, model)
            for name in FIELDS:
                getattr(used, name)[~np.isnan(getattr(out, name))] = 7.0
            forcefield.evaluate(model, x.copy(), 0, used)
            _require_equal(out, used, "with numbers in the buffers before")
    return None


def assert_force_is_a_gradient(
    make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-6, directions: int = 3
) -> Skipped:
    """force . d = -dE/dh along random directions d, by five-point differences."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        promised = forcefield.capabilities(model, 1)
        if not promised.energy:
            return "the force field gives no energy"
        if not promised.conservative:
            return "the force field says that it is not conservative"
        for n in range(directions):
            direction = np.random.default_rng(100 + n).normal(size=x.shape)
            error = gradient_error(_landscape(forcefield, model), x, direction)
            require_within(error, tolerance, f"force differs from -dE/dx along direction {n + 1} of {directions}")
    return None


def assert_density(make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-6) -> Skipped:
    """0 <= n <= 1 per orbital; the sum is the filling, or -dOmega/dmu where the energy is known."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        promised = forcefield.capabilities(model, 1)
        if not promised.density:
            return "the force field gives no density"
        density = _evaluated(forcefield, model, x).density
        low, high = float(density.min()), float(density.max())
        require(
            low >= -tolerance and high <= model.orbitals + tolerance,
            f"density between {low:.6g} and {high:.6g}, outside 0 to {model.orbitals}",
        )
        electrons = float(density.sum())
        if model.filling is not None:
            expected, rule = model.filling * model.orbitals * model.lattice.sites, "filling times sites"
        elif promised.energy and promised.conservative:
            expected, rule = -_derivative_by_mu(forcefield, model, x), "-dOmega/dmu"
        else:
            return None
        require_within(
            abs(electrons - expected) / model.lattice.sites,
            tolerance,
            f"density sums to {electrons:.9g}, {rule} is {expected:.9g}; difference per site",
        )
    return None


def assert_force_belongs_to_density(
    make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-6
) -> Skipped:
    """The force is the Hellmann-Feynman force of the density that comes with it."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        if not forcefield.capabilities(model, 1).density:
            return "the force field gives no density"
        if model.orbitals > 1 or model.needs_bonds:
            return "forces of this model need more than the density"
        out = _evaluated(forcefield, model, x)
        expected = np.empty_like(out.force)
        model.electronic_force(DensityMatrix(out.density), x, expected)
        require_within(relative(out.force, expected), tolerance, "force differs from that of its density, relative")
    return None


def assert_space_group(make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-9) -> Skipped:
    """Force and energy follow the generators of the model's space group, translations included."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        measured = symmetry_error(_landscape(forcefield, model), model, symmetry_generators(model), x)
    if measured is None:
        return "the model does not say how the components of a site turn with the lattice"
    require_within(measured[0], tolerance, f"relative error under {measured[1]}")
    return None


def assert_internal_symmetries(make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-9) -> Skipped:
    """Total force and energy follow the internal symmetries that the model declares."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        measured = internal_symmetry_error(_total(_landscape(forcefield, model), model), model, x)
    if measured is None:
        return "the model has no internal symmetry for these parameters"
    require_within(measured[0], tolerance, f"relative error under {measured[1]}")
    return None


def assert_repeatable(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """The same bytes again after other positions and other parameters of the model, as ramps bring them."""
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        if not forcefield.capabilities(model, 1).deterministic:
            return NOT_DETERMINISTIC
        first = _evaluated(forcefield, model, x)
        _evaluated(forcefield, model, positions(model, seed=1))
        _require_equal(first, _evaluated(forcefield, model, x), "after other positions")
        for _, changed in ramped(model):
            _evaluated(forcefield, changed, x, step=5)
        _require_equal(first, _evaluated(forcefield, model, x), "after other parameters of the model")
    return None


def assert_fresh_instances_agree(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """Two force fields made alike give the same bytes."""
    x = positions(model, x)
    with _ready(make, model, 1) as one, _ready(make, model, 1) as other:
        if not one.capabilities(model, 1).deterministic:
            return NOT_DETERMINISTIC
        _require_equal(_evaluated(one, model, x), _evaluated(other, model, x), "from another instance")
    return None


def assert_reopens(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """After close() and prepare(), for other replicas and back again, the answer has the same bytes."""
    x = positions(model, x)
    forcefield = make()
    forcefield.prepare(model, 1)
    if not forcefield.capabilities(model, 1).deterministic:
        return NOT_DETERMINISTIC
    first = _evaluated(forcefield, model, x)
    try:
        for replicas in (3, 1):
            forcefield.close()
            forcefield.prepare(model, replicas)
            again = _evaluated(forcefield, model, np.repeat(x, replicas, axis=0))
    except Exception as error:
        raise AssertionError(f"after close() and prepare(), {type(error).__name__}: {error}") from error
    _require_equal(first, again, "after close() and prepare()")
    forcefield.close()
    return None


def assert_replicas_are_independent(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """A replica has the same bytes alone and at any place in a batch."""
    x = positions(model, x)
    batch = np.concatenate([positions(model, seed=1), x, positions(model, seed=2)])
    with _ready(make, model, 1) as single, _ready(make, model, 3) as several:
        if not single.capabilities(model, 1).deterministic:
            return NOT_DETERMINISTIC
        together = _evaluated(several, model, batch)
        for r in range(3):
            part = Electrons(*(getattr(together, name)[r : r + 1] for name in FIELDS))
            _require_equal(_evaluated(single, model, batch[r : r + 1]), part, f"as replica {r} of a batch of 3")
    return None


def assert_halo(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """Exchanging positions more than `halo` layers of cells away changes no byte of force and density.

    They are permuted rather than redrawn, since a local force may know the extremes of the on-site energies.
    """
    x = positions(model, x)
    with _ready(make, model, 1) as forcefield:
        promised = forcefield.capabilities(model, 1)
        if promised.halo is None:
            return "the force field says that its forces depend on all sites"
        if not promised.deterministic:
            return NOT_DETERMINISTIC
        first = _evaluated(forcefield, model, x)
        for site in {0, model.lattice.sites // 2, model.lattice.sites - 1}:
            far = layers_away(model, site) > promised.halo
            if not far.any():
                return f"no site of this lattice is more than {promised.halo} layers away; use a larger one"
            changed = x.copy()
            changed[:, far] = np.roll(x[:, far], 1, axis=1)
            second = _evaluated(forcefield, model, changed)
            for name in ("force", "density"):
                one, other = getattr(first, name)[0, site], getattr(second, name)[0, site]
                require(
                    one.tobytes() == other.tobytes(),
                    f"{name} of site {site} changes by {np.abs(one - other).max():.2e} with positions more than "
                    f"{promised.halo} layers away",
                )
    return None


def assert_blocks(make: Make, model: Model, x: Array | None = None, *, tolerance: float = 1e-12) -> Skipped:
    """Two ranks with a block each find the total force, free energy and density of one rank, to a relative `tolerance`.

    A force field that sums up what it sees, instead of asking `Lattice.total` and `Lattice.highest`, fails: it sees a rim too.
    """
    x = positions(model, x)
    rim, extent = rim_of(model, make()), model.lattice.shape[0]
    if rim is None:
        return "the force field says that its forces depend on all sites"
    if 2 * rim >= extent - extent // 2:
        return f"two blocks with a rim of {rim} layers know all of this lattice; use a larger one"

    def answers(world: Alone) -> dict[str, Array | None]:
        grid = (world.size, *(1 for _ in model.lattice.shape[1:]))
        share = Share(Partition(model.lattice, 1, 1, grid, rim), world)
        forcefield = make()
        system, state = System(model, forcefield, share=share), State.at_rest(share.taken(x))
        system.update_forces(state, 0)
        system.update_potential(state, 0)
        found = {"force": share.gathered(state.f), "density": share.gathered(system.density), "energy": state.potential}
        forcefield.close()
        return found

    whole, parts = answers(Alone()), on_ranks(2, answers)
    for name, expected in whole.items():
        for rank, of_rank in enumerate(parts):
            one = of_rank[name]
            if one is None or expected is None or np.isnan(expected).all():
                continue  # on another rank, or unknown to the force field
            error = float(np.abs(one - expected).max() / max(np.abs(expected).max(), 1e-300))
            require_within(error, tolerance, f"{name} of two blocks, on rank {rank}, against one rank")
    return None


def assert_memory_claim(make: Make, model: Model, x: Array | None = None, *, allowance: int = 2**22) -> Skipped:
    """`bytes_needed` is not negative, does not fall with replicas, and covers what NumPy allocates up to `allowance` [byte].

    Memory that compiled code takes for itself is not seen.
    """
    x = positions(model, x)
    claims = [_claim(make, model, replicas) for replicas in (1, 2, 5)]
    require(
        0 <= claims[0] <= claims[1] <= claims[2], f"bytes_needed for 1, 2 and 5 replicas: {', '.join(map(str, claims))}"
    )
    with _ready(make, model, 1) as forcefield:
        _evaluated(forcefield, model, x)  # imports and compilation are no working memory
    tracemalloc.start()
    try:
        with _ready(make, model, 1) as forcefield:
            _evaluated(forcefield, model, x)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    require_within(peak - claims[0], allowance, f"allocates {peak} bytes, claims {claims[0]}; excess [byte]")
    return None


def assert_meets_non_finite_positions(make: Make, model: Model, x: Array | None = None) -> Skipped:
    """NaN ends in ArithmeticError or in forces that are not finite; infinity, which may have a limit, in no other error."""
    x = positions(model, x)
    for value in (np.nan, np.inf, -np.inf):
        spoiled = x.copy()
        spoiled[0, model.lattice.sites // 2, 0] = value
        with _ready(make, model, 1) as forcefield, np.errstate(all="ignore"):
            try:
                force = _evaluated(forcefield, model, spoiled).force
            except ArithmeticError:
                continue
            except Exception as error:
                raise AssertionError(f"x = {value} ends in {type(error).__name__}: {error}") from error
        finite = bool(np.isfinite(force).all())
        require(not (np.isnan(value) and finite), f"x = {value} at one site, but all {force.size} forces are finite")
    return None


def assert_agrees(
    make: Make, reference: Make, model: Model, x: Array | None = None, *, rms: float, worst: float | None = None
) -> None:
    """The electronic force differs from that of a reference by at most `rms`, and nowhere by more than `worst` [energy/length].

    x may hold any number of replicas; the root mean square is over all of them.
    """
    x = positions(model, x)
    with _ready(make, model, len(x)) as one, _ready(reference, model, len(x)) as other:
        error = _evaluated(one, model, x).force - _evaluated(other, model, x).force
    require_within(float(np.sqrt(np.mean(error**2))), rms, "root mean square error of the force")
    if worst is not None:
        require_within(float(np.abs(error).max()), worst, "largest error of the force")


FORCEFIELD_CHECKS: tuple[Callable[..., Skipped], ...] = (
    assert_outputs,
    assert_force_is_a_gradient,
    assert_density,
    assert_force_belongs_to_density,
    assert_space_group,
    assert_internal_symmetries,
    assert_repeatable,
    assert_fresh_instances_agree,
    assert_reopens,
    assert_replicas_are_independent,
    assert_halo,
    assert_blocks,
    assert_memory_claim,
    assert_meets_non_finite_positions,
)


@contextmanager
def _ready(make: Make, model: Model, replicas: int) -> Iterator[ForceField]:
    forcefield = make()
    forcefield.prepare(model, replicas)
    try:
        yield forcefield
    finally:
        forcefield.close()


def _evaluated(forcefield: ForceField, model: Model, x: Array, step: int = 0) -> Electrons:
    out = Electrons.empty(len(x), model)
    forcefield.evaluate(model, x.copy(), step, out)
    return out


def _landscape(forcefield: ForceField, model: Model) -> Landscape:
    def electronic(x: Array) -> tuple[Array, Array]:
        out = _evaluated(forcefield, model, x)
        return out.force, out.energy

    return electronic


def _total(electronic: Landscape, model: Model) -> Landscape:
    def total(x: Array) -> tuple[Array, Array]:
        force, energy = electronic(x)
        out = np.empty_like(force)
        model.total_force(x, force, out)
        return out, energy + model.classical_energy(x)

    return total


def _claim(make: Make, model: Model, replicas: int) -> int:
    with _ready(make, model, replicas) as forcefield:
        claimed: Capabilities = forcefield.capabilities(model, replicas)
        return claimed.bytes_needed


def _derivative_by_mu(forcefield: ForceField, model: Model, x: Array, h: float = 1e-3) -> float:
    mu = model.mu or 0.0
    energy = [
        _evaluated(forcefield, dataclasses.replace(model, mu=mu + n * h), x).energy[0] for n in (2, 1, -1, -2)
    ]  # fmt: skip
    return float((-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h))


def _require_equal(first: Electrons, second: Electrons, when: str) -> None:
    differing = different_fields(first, second)
    listed = ", ".join(f"{name} by {value:.2e}" for name, value in differing.items())
    require(not differing, f"{when}, other bytes: {listed}")


def _bad(values: Array) -> int:
    return int((~np.isfinite(values)).sum())
