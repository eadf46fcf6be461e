"""What a network's force keeps whatever it has learnt: the symmetries of its model, and being a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latticemd.forcefield import Array
from latticemd.learning.evaluation import Evaluator
from latticemd.learning.modelfile import load_network
from latticemd.learning.networks import Bound
from latticemd.measurements.forces import (
    Landscape,
    internal_symmetry_error,
    symmetry_error,
    symmetry_generators,
)
from latticemd.models.model import Model

if TYPE_CHECKING:
    from torch import Tensor, nn

PROBES = 16  # random directions in which the Jacobian is probed
DIFFERENCE_ERROR = 1e-4  # up to which a gradient and a difference of forces are the same


@dataclass(frozen=True)
class Invariants:
    """How far a force is from what the exact one keeps.

    ==============  ================================================================================================
    field           meaning
    ==============  ================================================================================================
    operations      order of the group that was tried: all translations, point operations and internal symmetries
    symmetry        largest relative error of F(S x) = S F(x) over the group, by precision
    culprit         the operation that has it in float64
    antisymmetric   |J - J^T| / 2|J| of the Jacobian J = dF/dx in float64: 0 for a gradient, 0.7 for a random matrix
    ==============  ================================================================================================
    """

    operations: int
    symmetry: dict[str, float]
    culprit: str
    antisymmetric: float


def invariants_of(evaluator: Evaluator, model: Model, x: Array) -> Invariants:
    """Measure on one state x (1, N, D). Generators of the group stand for all of it.

    Cost: some 15 calls for each precision, and for each of the PROBES two more and three gradients.
    """
    network = evaluator.card.network
    generators = symmetry_generators(model)
    found: dict[str, tuple[float, str]] = {}
    for precision in ("float32", "float64"):
        _, module = load_network(evaluator.path, precision)
        its = Bound(network["name"], network["parameters"], evaluator.bound.model, module).to(model)
        landscape = landscape_of(its)
        errors = [symmetry_error(landscape, model, generators, x)]
        errors.append(internal_symmetry_error(landscape, model, x))
        found[precision] = max((one for one in errors if one is not None), default=(0.0, "none"))
    return Invariants(
        operations=_order(model, len(generators)) * (len(model.internal_symmetries()) + 1),
        symmetry={precision: error for precision, (error, _) in found.items()},
        culprit=found["float64"][1],
        antisymmetric=antisymmetric_share(its, x),
    )


def _order(model: Model, generators: int) -> int:
    """How many operations of space the generators stand for: without translations among them, they are all there is."""
    lattice, point = model.lattice, len(list(model.symmetries(translations=False)))
    if generators != point + sum(lattice.periodic):
        return generators
    return point * math.prod(n for n, around in zip(lattice.shape, lattice.periodic, strict=True) if around)


def landscape_of(module: nn.Module) -> Landscape:
    """Forces of a module for `latticemd.measurements`; it knows no energies."""
    import torch

    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float64)

    def landscape(x: Array) -> tuple[Array, Array]:
        with torch.no_grad():
            force = module(torch.as_tensor(x, dtype=dtype)).double().numpy()
        return force, np.full(len(x), np.nan)

    return landscape


def antisymmetric_share(module: nn.Module, x: Array, probes: int = PROBES) -> float:
    """|J - J^T| / 2|J| at x (1, N, D), Frobenius norms estimated with random directions v by |J v - J^T v| and |J v|.

    J^T v is a gradient, and J v the gradient of J^T w with respect to w. Where parts of the force have none, as those that come
    from a force field, J v is a difference of forces, and |J - J^T| follows from u J v - v J u: to some ten percent.
    """
    import torch

    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float64)
    directions = torch.as_tensor(np.random.default_rng(0).normal(size=(probes, *x.shape[1:])), dtype=dtype)
    there = torch.as_tensor(x, dtype=dtype)
    differences = _differences(module, there, directions)
    pairs = [_products(module, there, v[None]) for v in directions]
    forwards, backwards = (torch.cat(each) for each in zip(*pairs, strict=True))
    size = float(differences.square().mean())
    if size == 0.0:
        return 0.0
    if float((forwards - differences).square().mean()) < DIFFERENCE_ERROR**2 * size:
        both = float((forwards.square() + backwards.square()).mean())
        return (float((forwards - backwards).square().mean()) / (2.0 * both)) ** 0.5
    products = directions.flatten(1) @ differences.flatten(1).T  # [i, j]: v_i J v_j, whose mean square is |J|^2
    off_diagonal = (products - products.T)[~torch.eye(probes, dtype=torch.bool)]
    norm = float(differences.square().sum()) / probes
    return (float(off_diagonal.square().mean()) / (4.0 * norm)) ** 0.5


def _differences(module: nn.Module, x: Tensor, directions: Tensor, h: float = 1e-4) -> Tensor:
    """J v for each direction (V, N, D) by central differences, error O(h^2)."""
    import torch

    with torch.no_grad():
        return torch.cat([(module(x + h * v) - module(x - h * v)) / (2.0 * h) for v in directions])


def _products(module: nn.Module, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """J v and J^T v for one direction (1, N, D), zero where the force has no gradient."""
    import torch

    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        force = module(x)
        if not force.requires_grad:
            return torch.zeros_like(v), torch.zeros_like(v)
        w = torch.zeros_like(v, requires_grad=True)
        transposed = torch.autograd.grad(force, x, w, create_graph=True, materialize_grads=True)[0]
        forwards = torch.autograd.grad(transposed, w, v, materialize_grads=True)[0]
        backwards = torch.autograd.grad(module(x), x, v, materialize_grads=True)[0]
    return forwards.detach(), backwards.detach()
