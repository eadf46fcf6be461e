"""What a network's force keeps whatever it has learnt: the symmetries of its model, and being a gradient."""

from __future__ import annotations

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

PROBES = 4  # random directions in which the Jacobian is probed


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

    Cost: some 15 calls for each precision, and two gradients for each of the PROBES.
    """
    network = evaluator.card.network
    internal = model.internal_symmetries()
    found: dict[str, tuple[float, str]] = {}
    for precision in ("float32", "float64"):
        _, module = load_network(evaluator.path, precision)
        its = Bound(network["name"], network["parameters"], evaluator.bound.model, module).to(model)
        landscape = landscape_of(its)
        errors = [symmetry_error(landscape, model, symmetry_generators(model), x)]
        errors.append(internal_symmetry_error(landscape, model, x))
        found[precision] = max((one for one in errors if one is not None), default=(0.0, "none"))
    return Invariants(
        operations=sum(1 for _ in model.symmetries()) * (len(internal) + 1),
        symmetry={precision: error for precision, (error, _) in found.items()},
        culprit=found["float64"][1],
        antisymmetric=antisymmetric_share(its, x),
    )


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

    J^T v is a gradient, and J v the gradient of J^T w with respect to w.
    """
    import torch

    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float64)
    generator = np.random.default_rng(0)
    difference = size = 0.0
    for _ in range(probes):
        v = torch.as_tensor(generator.normal(size=x.shape), dtype=dtype)
        forwards, backwards = _products(module, torch.as_tensor(x, dtype=dtype), v)
        difference += float(((forwards - backwards) ** 2).sum())
        size += float((forwards**2).sum() + (backwards**2).sum())
    return (difference / (2.0 * size)) ** 0.5 if size > 0.0 else 0.0


def _products(module: nn.Module, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """J v and J^T v."""
    import torch

    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        w = torch.zeros_like(v, requires_grad=True)
        force = module(x)
        transposed = torch.autograd.grad(force, x, w, create_graph=True)[0]
        forwards = torch.autograd.grad(transposed, w, v)[0]
        backwards = torch.autograd.grad(module(x), x, v)[0]
    return forwards.detach(), backwards.detach()
