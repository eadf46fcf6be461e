"""Checks of a model: the Hamiltonian against finite differences, declared symmetries, bounds, and parameters that ramp.

`x` are positions (1, N, D), standard normals unless given. Electrons are solved by `DenseElectrons`, so choose a lattice of a
few dozen sites; where a check differentiates, it does so by every coordinate.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from latticemd.forcefield import Array, Electrons
from latticemd.measurements.forces import (
    gradient_error,
    internal_symmetry_error,
    relative,
    symmetry_error,
    symmetry_generators,
)
from latticemd.models.hamiltonian import DensityMatrix
from latticemd.models.interaction import Interacting
from latticemd.models.model import Model, Motion
from latticemd.testing.outcome import Skipped, require, require_within, run_all
from latticemd.testing.probes import positions, ramped
from latticemd.testing.reference import DenseElectrons


def check_model(model: Model, x: Array | None = None) -> dict[str, str]:
    """Run MODEL_CHECKS; returns those that do not apply with the reason, raises one AssertionError for all that fail.

    Cost: about 30 dense diagonalisations, one for each generator of the space group, and derivatives by every coordinate.
    """
    checks = {check.__name__: functools.partial(check, model, x) for check in MODEL_CHECKS}
    return run_all(type(model).__name__, checks)


def assert_shapes(model: Model, x: Array | None = None) -> Skipped:
    """Every term has its shape, is finite, leaves x alone, and is the same for a replica alone and in a batch."""
    sites, components, orbitals = model.lattice.sites, model.components, model.orbitals
    batch = np.concatenate([positions(model, x), positions(model, seed=1)])
    given = batch.copy()
    terms = {
        "onsite": (model.onsite(given), (2, sites) if orbitals == 1 else (2, sites, orbitals, orbitals)),
        "electron_constant": (model.electron_constant(given), (2,)),
        "classical_energy": (model.classical_energy(given), (2,)),
        "total_force": (_classical_force(model, given), (2, sites, components)),
        "electronic_force": (_electronic_force(model, given), (2, sites, components)),
        "order_field": (model.order_field(given, np.full((2, sites), 0.5)), (2, sites)),
        "ordered": (model.ordered(1.0), (sites, components)),
    }
    require(
        given.tobytes() == batch.tobytes(),
        f"a term changed the positions it was given by {np.abs(given - batch).max():.2e}",
    )
    for name, (value, shape) in terms.items():
        require(value.shape == shape, f"{name} has shape {value.shape}, expected {shape}")
        require(bool(np.isfinite(value).all()), f"{name} is not finite")
    amplitudes, bonds = model.amplitudes(given), model.hops().amplitude
    if model.needs_bonds:
        terms["amplitudes"] = (amplitudes, (2, *bonds.shape))
    else:
        require(
            amplitudes.tobytes() == bonds.tobytes(),
            "amplitudes(x) differs from hops(), but needs_bonds is not declared",
        )
    second = {
        "onsite": model.onsite(batch[1:]),
        "electron_constant": model.electron_constant(batch[1:]),
        "classical_energy": model.classical_energy(batch[1:]),
        "total_force": _classical_force(model, batch[1:]),
        "electronic_force": _electronic_force(model, batch[1:]),
    }
    for name, value in second.items():
        alone, together = value[0], terms[name][0][1]
        differs = float(np.abs(alone - together).max())
        require(alone.tobytes() == together.tobytes(), f"{name} differs by {differs:.2e} alone and in a batch of 2")
    require(model.inertia() > 0.0, f"inertia is {model.inertia()}, expected a number > 0")
    return None


def assert_hops(model: Model, x: Array | None = None) -> Skipped:
    """H_el is well defined and Hermitian: sites in range, no hop to itself, each pair once, finite amplitudes and levels."""
    hops, sites = model.hops(), model.lattice.sites
    lengths = {len(hops.i), len(hops.j), len(hops.amplitude)}
    require(len(lengths) == 1, f"i, j, amplitude have lengths {len(hops.i)}, {len(hops.j)}, {len(hops.amplitude)}")
    require(bool(np.isfinite(hops.amplitude).all()), "amplitudes are not finite")
    both = np.concatenate([hops.i, hops.j])
    require(
        bool(((both >= 0) & (both < sites)).all()),
        f"hops join sites {both.min(initial=0)} to {both.max(initial=0)}, the lattice has 0 to {sites - 1}",
    )
    own = np.flatnonzero(hops.i == hops.j)
    require(own.size == 0, f"{own.size} hops lead from a site to itself; energies of a site belong to `onsite`")
    pairs = np.unique(np.sort([hops.i, hops.j], axis=0), axis=1)
    twice = len(hops.i) - pairs.shape[1]
    require(twice == 0, f"{twice} pairs of sites are listed twice; the conjugate of a hop is added by itself")
    if model.orbitals > 1:
        onsite = model.onsite(positions(model, x))
        require_within(
            float(np.abs(onsite - onsite.conj().swapaxes(2, 3)).max()), 1e-13, "onsite differs from its conjugate"
        )
    return None


def assert_classical_force(model: Model, x: Array | None = None, *, tolerance: float = 1e-7) -> Skipped:
    """total_force = electronic - dV/dx, by five-point differences along every coordinate; the electronic part is added as it is."""
    x = positions(model, x)
    h = 1e-3
    shift = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    energy = [model.classical_energy(x + n * shift) for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    classical = _classical_force(model, x)
    require_within(
        relative(classical, -derivative.reshape(x.shape)), tolerance, "classical force against -dV/dx, relative"
    )
    electronic, total = positions(model, seed=2), np.full_like(x, np.nan)
    model.total_force(x, electronic, total)
    require_within(relative(total, classical + electronic), 1e-12, "electronic part in total_force, relative")
    return None


def assert_electronic_force(model: Model, x: Array | None = None, *, tolerance: float = 1e-6) -> Skipped:
    """`electronic_force` of the exact density is minus the derivative of the exact free energy of the electrons."""
    x = positions(model, x)
    for n in range(3):
        direction = np.random.default_rng(100 + n).normal(size=x.shape)
        error = gradient_error(functools.partial(_electronic, model), x, direction)
        require_within(error, tolerance, f"Hellmann-Feynman force against the free energy, direction {n + 1} of 3")
    return None


def assert_mean_fields(model: Model, x: Array | None = None, *, tolerance: float = 1e-7) -> Skipped:
    """The fields of an interacting model are Hermitian, and the derivative of its interaction energy by rho."""
    if not isinstance(model, Interacting):
        return "the electrons of the model do not interact"
    rho, change = _random_density_matrix(model, 0), _random_density_matrix(model, 1)
    fields = model.mean_fields(rho)
    h = 1e-3
    energy = [model.mean_fields(_moved(rho, change, n * h)).energy[0] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    expected = np.vdot(fields.onsite, change.onsite).real + 2.0 * np.vdot(fields.bonds, change.bonds).real
    require_within(
        abs(derivative - expected), tolerance * max(1.0, abs(expected)), "derivative of the interaction energy"
    )
    if model.orbitals > 1:
        error = np.abs(fields.onsite - fields.onsite.conj().swapaxes(2, 3)).max()
        require_within(float(error), 1e-13, "fields of sites differ from their conjugate")
    return None


def assert_space_group(model: Model, x: Array | None = None, *, tolerance: float = 1e-10) -> Skipped:
    """The generators of `symmetries()` keep V and, with exact electrons, the free energy, and turn both forces."""
    x = positions(model, x)
    for name, landscape in _landscapes(model):
        measured = symmetry_error(landscape, model, symmetry_generators(model), x)
        if measured is None:
            return "the model does not say how the components of a site turn with the lattice"
        require_within(measured[0], tolerance, f"{name} part under {measured[1]}, relative")
    return None


def assert_internal_symmetries(model: Model, x: Array | None = None, *, tolerance: float = 1e-10) -> Skipped:
    """The declared internal symmetries keep the total free energy and turn the total force, with exact electrons."""
    measured = internal_symmetry_error(functools.partial(_total, model), model, positions(model, x))
    if measured is None:
        return "the model declares none for these parameters"
    require_within(measured[0], tolerance, f"{measured[1]}, relative")
    return None


def assert_largest_stiffness(model: Model, x: Array | None = None) -> Skipped:
    """`largest_stiffness` is not exceeded by any eigenvalue of the Hessian of V at x."""
    largest = float(np.linalg.eigvalsh(_hessian(model, positions(model, x)))[-1])
    claimed = model.largest_stiffness()
    require_within(largest, claimed + 1e-6 * abs(claimed), "curvature of V against largest_stiffness")
    return None


def assert_harmonic_stiffness(model: Model, x: Array | None = None) -> Skipped:
    """`harmonic_stiffness` is what letter R may take from every site: the smallest own curvature d2V/dx_i^2 at x = 0.

    Or, where springs join sites as in a crystal, the smallest curvature per site of V under a shift of all sites alike: R
    would otherwise hold a lattice that nothing else holds.
    """
    hessian = _hessian(model, np.zeros_like(positions(model, x)))
    sites, components = model.lattice.sites, model.components
    together = hessian.reshape(sites, components, sites, components).sum(axis=(0, 2)) / sites
    own, shift = float(np.diagonal(hessian).min()), float(np.linalg.eigvalsh(together)[0])
    claimed = model.harmonic_stiffness()
    error = min(abs(claimed - own), abs(claimed - shift))
    require_within(error, 1e-6 * abs(own), f"harmonic_stiffness {claimed:.9g} against {own:.9g} (a shift: {shift:.9g})")
    return None


def assert_ordered_pattern(model: Model, x: Array | None = None) -> Skipped:
    """`ordered(a)` has amplitude a, and at half filling turning the sign of x on any one site lowers the order parameter."""
    pattern = model.ordered(1.0)
    require_within(abs(float(np.abs(pattern).max()) - 1.0), 1e-12, "largest entry of ordered(1) against 1")
    require_within(relative(model.ordered(0.3), 0.3 * pattern), 1e-12, "ordered(0.3) against 0.3 ordered(1), relative")
    if not model.lattice.bipartite:
        return "the lattice frustrates the pattern"
    turned = pattern * (1.0 - 2.0 * np.eye(len(pattern)))[:, :, None]
    x = np.concatenate([np.zeros_like(turned[:1]), pattern[None], turned])
    if model.motion is Motion.OCCUPATION:  # whose pattern says which sites are more than half full
        x = 0.5 * (1.0 + x)
    density = _solved(model, x).density
    if abs(density[0].mean() - 0.5 * model.orbitals) > 1e-6:
        return f"there are {density[0].mean():.3g} electrons per site, not 1/2 per orbital, so another pattern may order more"
    order = np.abs(model.order_field(x[1:], density[1:]).mean(axis=1))
    if order.max() < 1e-12:
        return "the electrons do not feel the pattern"
    best = int(order[1:].argmax())
    require(
        bool(order[0] > order[1 + best]),
        f"order parameter {order[0]:.6g} of ordered(1), {order[1 + best]:.6g} with site {best} turned",
    )
    return None


def assert_parameters_ramp(model: Model, x: Array | None = None) -> Skipped:
    """Each rampable parameter can be replaced; the result equals a model made anew and differs from the old one."""
    x = positions(model, x)
    before = _fingerprint(model, x)
    for name, changed in ramped(model):
        values = {each.name: getattr(changed, each.name) for each in dataclasses.fields(changed) if each.init}
        require(
            _fingerprint(changed, x) == _fingerprint(type(model)(**values), x),
            f"a model whose {name} was replaced differs from one made with that value",
        )
        require(_fingerprint(changed, x) != before, f"{name} = {getattr(changed, name):g} changes nothing")
    return None


MODEL_CHECKS: tuple[Callable[..., Skipped], ...] = (
    assert_shapes,
    assert_hops,
    assert_classical_force,
    assert_electronic_force,
    assert_mean_fields,
    assert_space_group,
    assert_internal_symmetries,
    assert_largest_stiffness,
    assert_harmonic_stiffness,
    assert_ordered_pattern,
    assert_parameters_ramp,
)


def _classical_force(model: Model, x: Array) -> Array:
    out = np.full_like(x, np.nan)
    model.total_force(x, np.zeros_like(x), out)
    return out


def _electronic_force(model: Model, x: Array) -> Array:
    out = np.full_like(x, np.nan)
    model.electronic_force(_some_density_matrix(model, len(x)), x, out)
    return out


def _some_density_matrix(model: Model, replicas: int) -> DensityMatrix:
    """Numbers in the place of rho, of the right shape."""
    sites, o, bonds = model.lattice.sites, model.orbitals, len(model.hops().i)
    if o == 1:
        return DensityMatrix(np.full((replicas, sites), 0.3), np.full((replicas, bonds), 0.2))
    return DensityMatrix(
        np.broadcast_to(0.3 * np.eye(o) + 0.1, (replicas, sites, o, o)), np.full((replicas, bonds, o, o), 0.2)
    )


def _random_density_matrix(model: Model, seed: int) -> DensityMatrix:
    """Hermitian numbers in the place of rho of one replica; real where there is one orbital."""
    random = np.random.default_rng(seed)
    sites, o, bonds = model.lattice.sites, model.orbitals, len(model.hops().i)
    if o == 1:
        return DensityMatrix(random.normal(size=(1, sites)), random.normal(size=(1, bonds)))
    onsite, between = (random.normal(size=(1, n, o, o)) + 1j * random.normal(size=(1, n, o, o)) for n in (sites, bonds))
    return DensityMatrix(onsite + onsite.conj().swapaxes(2, 3), between)


def _moved(rho: DensityMatrix, change: DensityMatrix, h: float) -> DensityMatrix:
    assert rho.bonds is not None
    assert change.bonds is not None
    return DensityMatrix(rho.onsite + h * change.onsite, rho.bonds + h * change.bonds)


def _solved(model: Model, x: Array) -> Electrons:
    out = Electrons.empty(len(x), model)
    DenseElectrons().evaluate(model, x, 0, out)
    return out


def _classical(model: Model, x: Array) -> tuple[Array, Array]:
    return _classical_force(model, x), model.classical_energy(x)


def _electronic(model: Model, x: Array) -> tuple[Array, Array]:
    out = _solved(model, x)
    return out.force, out.energy


def _total(model: Model, x: Array) -> tuple[Array, Array]:
    out, force = _solved(model, x), np.empty_like(x)
    model.total_force(x, out.force, force)
    return force, out.energy + model.classical_energy(x)


def _landscapes(model: Model) -> Iterator[tuple[str, Callable[[Array], tuple[Array, Array]]]]:
    yield "classical", functools.partial(_classical, model)
    yield "electronic", functools.partial(_electronic, model)


def _hessian(model: Model, x: Array) -> Array:
    """d2V/dx2 (ND, ND) at x by differences of the classical force; exact up to rounding for harmonic V."""
    h = 1e-3
    shift = h * np.eye(x.size).reshape(x.size, *x.shape[1:])
    rows = (_classical_force(model, x - shift) - _classical_force(model, x + shift)).reshape(x.size, x.size) / (2 * h)
    symmetric: Array = 0.5 * (rows + rows.T)
    return symmetric


def _fingerprint(model: Model, x: Array) -> tuple[bytes, ...]:
    """Everything the engine asks a model for, as bytes."""
    ensemble = (model.electronic_temperature, model.mu, model.filling)
    numbers = (model.inertia(), model.harmonic_stiffness(), model.largest_stiffness())
    arrays = (model.amplitudes(x), model.onsite(x), model.electron_constant(x), model.classical_energy(x))
    forces: tuple[Array, ...] = (_classical_force(model, x), _electronic_force(model, x))
    if isinstance(model, Interacting):
        fields = model.mean_fields(_random_density_matrix(model, 0))
        forces = (*forces, fields.onsite, fields.bonds, fields.energy)
    return (repr(ensemble).encode(), np.array(numbers).tobytes(), *(array.tobytes() for array in (*arrays, *forces)))
