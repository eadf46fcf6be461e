"""What a network is to the rest of the engine, and how it is made and bound to lattices and models.

Networks are frozen dataclasses whose `parameter` fields are the keys of `network:`; packages offer them under the entry-point
group `latticemd.networks`. They learn the ELECTRONIC force only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.learning.records import electronic_differences
from latticemd.models.model import Model
from latticemd.plugins import load_plugin

if TYPE_CHECKING:
    from torch import Tensor, nn

_KEPT = 64  # models that a network is bound to at once


class Network(Protocol):
    """The plan of a network."""

    def build(self, model: Model) -> nn.Module:
        """A module for the lattice of a model, its first weights drawn from torch's generator.

        `forward(x)` takes x (B, N, D) to the electronic force (B, N, D) [energy/length], in the precision of its weights;
        `on(lattice)` is the same module on more or fewer cells of the same kind, sharing its weights. Its buffers depend on
        the kind of the lattice alone. One whose attribute `conservative` is true differentiates within `forward`, and keeps the
        graph of that while it trains; `energies_and_force(x)` gives the free energies of cells (B, cells...) [energy] as well.
        """
        ...


@runtime_checkable
class Initialised(Protocol):
    """A module with scales that follow from data."""

    def initialise(self, x: Tensor, force: Tensor) -> None:
        """Set them from states x (B, N, D) and their electronic forces; called once, before the first step of a training."""
        ...


@runtime_checkable
class Referenced(Protocol):
    """A module whose force is a known part and a learned one: `forward(x, reference)` does not compute the known one again."""

    def reference(self, x: Tensor) -> Tensor:
        """The part of the electronic force (B, N, D) that no weight changes."""
        ...


def require_torch() -> None:
    """Raise InputError where torch or safetensors is not installed."""
    try:
        import safetensors
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"networks need torch and safetensors ({error}): pip install 'latticemd[ml]'") from error
    del safetensors


def build_network(name: str, parameters: Mapping[str, Any], model: Model, seed: int = 0) -> nn.Module:
    """The module of the plug-in `name` for a model, in float64, with the first weights that belong to the seed.

    Whatever precision it is for: constants that it is made with then have all their digits in either.
    """
    require_torch()
    import torch

    torch.manual_seed(seed)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        module: nn.Module = load_plugin("network", name)(**parameters).build(model)
    finally:
        torch.set_default_dtype(usual)
    return module


class Bound:
    """One set of weights on the lattices and models that it meets; modules are made when first asked for.

    The same model on another lattice is the module's own `on(lattice)`, and so is one that differs in nothing that electrons feel,
    such as its springs. For any other a module is built anew and given the weights, so that a network which knows a coupling is
    asked with the right one; `prepare` is told of each. Of the many models of a ramp only the last few are kept.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        model: Model,
        module: nn.Module,
        prepare: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self.name = name
        self.parameters = dict(parameters)
        self.model = model
        self.module = module
        self._prepare = prepare
        self._built: dict[Model, nn.Module] = {model: module}  # on the first lattice
        self._bound: dict[Model, nn.Module] = {}

    def to(self, model: Model) -> nn.Module:
        """The module for a model."""
        if model not in self._bound:
            _forget_the_first(self._bound)
            self._bound[model] = self._made(model)
        return self._bound[model]

    def train(self, mode: bool) -> None:
        """Tell every module whether it is being trained."""
        for module in (*self._built.values(), *self._bound.values()):
            module.train(mode)

    def _made(self, model: Model) -> nn.Module:
        built = self._with_electrons_of(on_lattice(model, self.model.lattice))
        if model.lattice == self.model.lattice:
            return built
        bound: nn.Module = built.on(model.lattice)  # type: ignore[operator]
        bound.train(self.module.training)
        return bound

    def _with_electrons_of(self, model: Model) -> nn.Module:
        """The module, on the first lattice, that knows the electrons of this model."""
        for known, module in self._built.items():
            if known == model or not electronic_differences(known, model):
                return module
        import torch

        with torch.random.fork_rng(devices=[]):  # the weights are replaced: others shall not notice they were drawn
            module = build_network(self.name, self.parameters, model)
        weights = next(self.module.parameters(), None)
        module.to(None if weights is None else weights.dtype)
        share_weights(self.module, module)
        module.train(self.module.training)
        if self._prepare is not None:
            self._prepare(module)
        _forget_the_first(self._built, after=1)  # the weights are those of the first
        self._built[model] = module
        return module


def _forget_the_first(modules: dict[Model, nn.Module], after: int = 0) -> None:
    """Make room for one more."""
    if len(modules) >= _KEPT:
        del modules[list(modules)[after]]


def on_lattice(model: Model, lattice: Lattice) -> Model:
    """The model on another lattice."""
    return model if model.lattice == lattice else dataclasses.replace(model, lattice=lattice)


def share_weights(source: nn.Module, target: nn.Module) -> None:
    """Let `target` use the very parameters and buffers of `source`, which has the same structure.

    Buffers that are no part of the state dict stay as they were made for the model of `target`.
    """
    sources = dict(source.named_modules())
    for name, module in target.named_modules():
        its = sources[name]
        module._parameters.update(its._parameters)
        kept = {key: value for key, value in its._buffers.items() if key not in its._non_persistent_buffers_set}
        module._buffers.update(kept)
