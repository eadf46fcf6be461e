"""How far a force is from being a gradient, from following a symmetry, from having the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from latticemd.forcefield import Array, Electrons
from latticemd.lattice import Symmetry
from latticemd.models.model import Model
from latticemd.models.symmetry import Undistorted

Landscape = Callable[[Array], tuple[Array, Array]]  # x (R, N, D) -> force (R, N, D), energy (R,)


def gradient_error(landscape: Landscape, x: Array, direction: Array, h: float = 1e-3) -> float:
    """|F . d + dE/dh| for energies at x + h d, by five-point differences; relative to |F| |d| / sqrt(number of coordinates).

    Truncation is O(h^4) and rounding eps E/h: about 1e-8 together for smooth energies of unit scale. x and d are (1, N, D).
    The scale is the root mean square of F . d over directions, since one projection can vanish by chance. Cost: 5 calls.
    """
    force, _ = landscape(x)
    energy = [landscape(x + n * h * direction)[1][0] for n in (2, 1, -1, -2)]
    derivative = (-energy[0] + 8 * energy[1] - 8 * energy[2] + energy[3]) / (12 * h)
    scale = float(np.linalg.norm(force) * np.linalg.norm(direction) / np.sqrt(direction.size))
    return _ratio(abs(float(np.vdot(force, direction)) + derivative), scale)


def symmetry_error(
    landscape: Landscape, model: Model, operations: Iterable[Symmetry], x: Array
) -> tuple[float, str] | None:
    """Largest relative error of force and energy under lattice operations, and the operation that has it.

    F(S x) = S F(x) and E(S x) = E(x), where S moves sites and turns components. None if the model does not say how its
    components turn. Cost: one call per operation, and one.
    """
    force, energy = landscape(x)
    worst, culprit = 0.0, "none"
    for operation in operations:
        matrix = model.representation(operation)
        if matrix is None:
            return None
        image = np.empty_like(x)
        image[:, operation.permutation] = x @ matrix.T
        image_force, image_energy = landscape(image)
        errors = relative(image_force[:, operation.permutation], force @ matrix.T), _energy_error(image_energy, energy)
        error = float(np.max(errors))
        if not error <= worst:  # so that NaN is the worst
            worst, culprit = error, operation.name
    return worst, culprit


def internal_symmetry_error(landscape: Landscape, model: Model, x: Array) -> tuple[float, str] | None:
    """Largest relative error under x -> M x + shift, F -> M F, E -> E, and its name; None if the model has none."""
    force, energy = landscape(x)
    errors = []
    for symmetry in model.internal_symmetries():
        image_force, image_energy = landscape(x @ symmetry.matrix.T + symmetry.shift)
        both = relative(image_force, force @ symmetry.matrix.T), _energy_error(image_energy, energy)
        errors.append((float(np.max(both)), symmetry.name))
    return max(errors, default=None)


def symmetry_generators(model: Model) -> list[Symmetry]:
    """Operations whose products are all of `model.symmetries()`: what every one of them keeps, the whole group keeps.

    Those about the origin and one step along each periodic direction, where the steps are symmetries; otherwise, as with
    disorder, every symmetry there is.
    """
    steps, undistorted = primitive_translations(model), Undistorted(model)
    if all(undistorted.kept_by(step, model.orbital_representation(step)) for step in steps):
        return [*model.symmetries(translations=False), *steps]
    return list(model.symmetries())


def primitive_translations(model: Model) -> list[Symmetry]:
    """One step along each periodic direction; with the point operations they generate the space group of the lattice."""
    lattice = model.lattice
    basis = np.arange(lattice.sites) % len(lattice.cell.basis)
    return [
        Symmetry(f"translation {step.tolist()}", lattice.site(lattice.cells + step, basis), np.eye(lattice.dimensions))
        for step in np.eye(lattice.directions, dtype=int)[list(lattice.periodic)]
    ]


def layers_away(model: Model, site: int) -> Array:
    """How many layers of cells lie between `site` and every site, (N,): the largest offset along a direction, at least one.

    The metric of `Capabilities.halo`: a domain of cells needs so many layers around it.
    """
    lattice = model.lattice
    offset = np.abs(lattice.cells - lattice.cells[site])
    around = np.where(lattice.periodic, np.minimum(offset, np.array(lattice.shape) - offset), offset)
    layers: Array = around.max(axis=1)
    return layers


def difference(one: Array, other: Array) -> float:
    """The largest |one - other|, with NaN equal to NaN; NaN where only one of them is NaN."""
    both = np.isnan(one) & np.isnan(other)
    return float(np.abs(np.where(both, 0.0, one - other)).max(initial=0.0))


def different_fields(one: Electrons, other: Electrons) -> dict[str, float]:
    """The fields of two answers that differ in any byte, with their largest difference."""
    fields = {name: (getattr(one, name), getattr(other, name)) for name in ("force", "energy", "density", "mu")}
    return {name: difference(a, b) for name, (a, b) in fields.items() if a.tobytes() != b.tobytes()}


def relative(value: Array, reference: Array) -> float:
    """Largest |value - reference| over the largest |reference|; 0 for equal arrays, whatever they are."""
    return _ratio(float(np.abs(value - reference).max()), float(np.abs(reference).max()))


def _energy_error(image: Array, energy: Array) -> float:
    return 0.0 if np.isnan(energy).all() else relative(image, energy)


def _ratio(error: float, scale: float) -> float:
    if error == 0.0:
        return 0.0
    return error / scale if scale > 0.0 else float("inf")
