"""Blocks whose keys are the parameters of a plug-in: model, force field, dynamics, network.

The pydantic class of a block is made from the plug-in's `parameter` fields, so that a new plug-in's keys are validated,
documented and offered as corrections without a line of code here.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import Field, create_model, model_validator
from pydantic_core import core_schema

from latticemd.config.messages import refuse, unknown_word
from latticemd.config.ramp_input import Rampable, RampBlock, values_of
from latticemd.config.section import Chosen, Section
from latticemd.config.values import FLAG, SEED, STEP, Choice, Expect, Integer, Real, Text, described
from latticemd.errors import InputError
from latticemd.parameters import Bounds, Parameter, parameters_of
from latticemd.plugins import load_plugin, plugin_names

WORD_LETTERS = "ABOR"  # drift, kick, Ornstein-Uhlenbeck, rotation


class Component(Section):
    """Base of the blocks of plug-ins."""

    @classmethod
    def common(cls) -> set[str]:
        """Fields that every plug-in of this kind has and that are no parameters of its class."""
        raise NotImplementedError

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolved values of the plug-in's own parameters: numbers, ramps, words; without those that are not set."""
        own = (name for name in type(self).model_fields if name not in self.common())
        return {name: getattr(self, name) for name in own if getattr(self, name) is not None}


class ModelInput(Component):
    """The Hamiltonian."""

    name: str = Field(description="name of the model")

    @classmethod
    def common(cls) -> set[str]:
        """The name."""
        return {"name"}

    @model_validator(mode="after")
    def one_ensemble(self) -> Self:
        """Fixed mu or fixed filling; mu = 0 when neither is given."""
        given = self.parameters.keys() & {"mu", "filling"}
        if len(given) == 2:
            refuse("give either mu (grand canonical) or filling (canonical), not both", "filling")
        if not given and "mu" in type(self).model_fields:
            return self.model_copy(update={"mu": 0.0})
        return self


class ForceFieldInput(Component):
    """The way to get the electronic force."""

    name: str = Field("ed", description="name of the force field")

    @classmethod
    def common(cls) -> set[str]:
        """The name."""
        return {"name"}


class NetworkInput(Component):
    """The network that learns the electronic force."""

    name: str = Field(description="name of the network")

    @classmethod
    def common(cls) -> set[str]:
        """The name."""
        return {"name"}


class PropagatorInput(Component):
    """Motion that was learned: steps of the time that a network has been trained for."""

    propagator: str = Field(description="name of the propagator")
    dt: Annotated[float, Real("time", Bounds(gt=0))] = Field(
        description="time of a step, the one it was trained for [time]"
    )
    steps: Annotated[int, STEP] = Field(description="total number of steps of the run")
    temperature: Annotated[float, Real("energy", Bounds(ge=0))] = Field(
        0.0, description="temperature of the first velocities, as kT [energy]"
    )
    seed: Annotated[int, SEED] = Field(0, description="seed; trained motion draws no noise")

    @classmethod
    def common(cls) -> set[str]:
        """The keys above."""
        return set(PropagatorInput.model_fields)

    @property
    def mover(self) -> str:
        """The name of the propagator."""
        return self.propagator


class DynamicsInput(Component):
    """How the lattice moves, and how long."""

    integrator: str = Field(description="name of the integrator, or a word such as BAOAB")
    dt: Annotated[float, Real("time", Bounds(gt=0))] = Field(description="time step dt [time]")
    steps: Annotated[int, STEP] = Field(description="total number of steps of the run")
    temperature: Annotated[float | RampBlock, Rampable("energy", Bounds(ge=0))] = Field(
        description="temperature T of the bath, as kT [energy]"
    )
    friction: Annotated[float, Real("1/time", Bounds(ge=0))] = Field(0.2, description="friction gamma [1/time]")
    seed: Annotated[int, SEED] = Field(0, description="seed of the thermal noise")

    @classmethod
    def common(cls) -> set[str]:
        """The keys above, whatever the integrator's class calls its parameters; a word is its own parameter."""
        return {*DynamicsInput.model_fields, "word"}

    @property
    def mover(self) -> str:
        """The name of the integrator, or its word."""
        return self.integrator

    @model_validator(mode="after")
    def not_zero(self) -> Self:
        """What the integrator divides by never vanishes."""
        known = self.integrator in plugin_names("integrator")
        for key in load_plugin("integrator", self.integrator).positive if known else ():
            if min(values_of(getattr(self, key))) == 0:
                dimension = "energy" if key == "temperature" else "1/time"
                refuse(f"expected a number > 0 [{dimension}] for {self.integrator}, got 0", key)
        return self


class Splitting(DynamicsInput):
    """Dynamics by a word of exactly solvable steps, such as BAOAB."""

    integrator: Annotated[str, Field(pattern=f"^[{WORD_LETTERS}]+$")] = Field(description="a word such as BAOAB")


@functools.cache
def block_of(kind: str, name: str, component: type) -> type[Component]:
    """The pydantic class of the block that configures `component`."""
    blocks: dict[str, tuple[type[Component], str]] = {
        "model": (ModelInput, "name"),
        "forcefield": (ForceFieldInput, "name"),
        "integrator": (DynamicsInput, "integrator"),
        "propagator": (PropagatorInput, "propagator"),
        "network": (NetworkInput, "name"),
    }
    base, key = blocks[kind]
    label = base.model_fields[key].description
    default = name if base.model_fields[key].default == name else ...
    fields: dict[str, Any] = {key: (Literal[name], Field(default, description=label))}
    fields |= {field: info for field, info in _fields(component) if field not in base.common()}
    doc = (component.__doc__ or "").strip().partition("\n")[0]
    return create_model(f"{kind} {name}", __base__=base, __doc__=doc or None, **fields)


def block_named(kind: str, name: str) -> type[Component]:
    """The pydantic class for a plug-in's name. Raises InputError when there is no such plug-in or it does not load."""
    known = plugin_names(kind)
    if kind == "integrator" and name not in known and name and set(name.upper()) <= set(WORD_LETTERS):
        return _splitting(name)
    if name not in known:
        hint = "; or a word of the letters A B O R, such as BAOAB" if kind == "integrator" else ""
        raise InputError(unknown_word(name, kind, known, hint))
    try:
        return block_of(kind, name, load_plugin(kind, name))
    except InputError:
        raise
    except Exception as error:  # whatever happens in somebody else's module is for its author, not a traceback here
        raise InputError(f"{kind} {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def _splitting(word: str) -> type[Splitting]:
    if word != word.upper():
        raise InputError(f"unknown integrator {word!r}; did you mean {word.upper()!r}?")
    if "B" not in word or ("A" in word) == ("R" in word):
        raise InputError(f"the word {word!r} needs the kick B and either the drift A or the rotation R, such as BAOAB")
    return Splitting


def _fields(component: type) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(component)
    for field, about in parameters_of(component):
        annotation, default = hints[field.name], field.default
        if field.name == "electronic_temperature":
            # Resolved from the bath by the input as a whole, so here "not given" must differ from any number.
            annotation, default = annotation | None, None
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        default = ... if default is dataclasses.MISSING else default
        info = Field(default, description=described(about.doc, about.dimension))
        yield field.name, (_annotated(annotation, about), info)


def _annotated(hint: Any, about: Parameter) -> Any:
    """The type of a parameter together with what it accepts."""
    union = get_origin(hint) in (Union, types.UnionType)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if union else [hint]
    rules: dict[Any, Any] = {int: Integer(about.bounds), str: Text(), bool: FLAG}
    if about.rampable:
        annotated: Any = Annotated[float | RampBlock, Rampable(about.dimension, about.bounds)]
    elif float in kinds:
        annotated = Annotated[float, Real(about.dimension, about.bounds)]
    elif get_origin(kinds[0]) is Literal and len(kinds) == 1:
        annotated = Annotated[str, Choice(*get_args(kinds[0]))]
    elif kinds[0] in rules and len(kinds) == 1:
        annotated = Annotated[kinds[0], rules[kinds[0]]]
    else:
        # Lists are tuples here; a union as a whole has no strictness that could be turned off.
        loose = [Annotated[kind, Field(strict=False)] if get_origin(kind) is tuple else kind for kind in kinds]
        annotated = Annotated[functools.reduce(operator.or_, loose), Expect(about.doc)]
    return annotated | None if union and type(None) in get_args(hint) else annotated


def chosen(kind: str, key: str, default: str | None = None) -> Chosen:
    """Metadata of a field that holds the block of a plug-in of this kind."""
    also = ["a word such as BAOAB"] if kind == "integrator" else []
    return Chosen(key, lambda: [*plugin_names(kind), *also], lambda name: block_named(kind, name), default)


class ChosenMotion(Chosen):
    """Metadata of `dynamics:`, which names an integrator or else a propagator."""

    def check(
        self, value: Any, accept: core_schema.ValidatorFunctionWrapHandler, info: core_schema.ValidationInfo
    ) -> Section:
        """The validated block of the one that is named."""
        if not isinstance(value, dict) or "propagator" not in value:
            return super().check(value, accept, info)
        if "integrator" in value:
            refuse("give either an integrator or a propagator, not both", "propagator")
        return chosen("propagator", "propagator").check(value, accept, info)


def chosen_motion() -> ChosenMotion:
    """Metadata of the field that holds `dynamics:`."""
    integrators = chosen("integrator", "integrator")
    return ChosenMotion(integrators.key, integrators.words, integrators.find)
