"""The block `label`: which exact trajectories become a dataset, and at which of their steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from latticemd.config.components import ForceFieldInput, chosen
from latticemd.config.messages import Place, refuse, shown, unknown_key
from latticemd.config.section import Section
from latticemd.config.values import INTERVAL, SEED, STEP, Expect, Integer, Text
from latticemd.parameters import Bounds

SEEDS = ("initial.seed", "dynamics.seed")  # what the short key `seed` stands for
VARIABLE = {
    "seed": "seed of the start and of the noise together",
    "model": "a parameter of the Hamiltonian",
    "forcefield": "a setting of the force field",
    "initial": "a key of the start",
    "dynamics": "a key of the equations of motion",
}

Settings = dict[str, Any]


class RandomStates(Section):
    """Initial states without dynamics: each with a seed of its own, so each is a trajectory of one frame."""

    count: Annotated[int, Integer(Bounds(ge=1, le=2**31 - 1))] = Field(
        description="number of states, for each combination of the other varied keys"
    )
    seed: Annotated[int, SEED] = Field(1_000_000, description="initial.seed of the first; the next have the next seeds")


def _counted(value: Any) -> Any:
    """`random: 200` is short for `random: {count: 200}`."""
    return {"count": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _products(value: Any) -> Any:
    """One product of lists, or a list of them; each maps dotted keys of the input to the values they take."""
    products = value if isinstance(value, list | tuple) else [value]
    for i, product in enumerate(products):
        place = (i,) if isinstance(value, list | tuple) else ()
        if not isinstance(product, dict) or not product:
            expected = (
                "a mapping from keys of the input to lists of values, such as {seed: [1, 2], model.coupling: [1, 2]}"
            )
            refuse(f"expected {expected}, got {shown(product)}", *place)
        for key, values in product.items():
            _check_key(key, place)
            if not isinstance(values, list | tuple) or not values:
                refuse(f"expected a list of values, such as [1, 2], got {shown(values)}", *place, key)
    return tuple({key: tuple(values) for key, values in product.items()} for product in products)


def _check_key(key: str, place: Place) -> None:
    block, _, below = key.partition(".")
    if block not in VARIABLE:
        refuse(unknown_key(key, VARIABLE), *place, key)
    if key in ("model.name", "dynamics.steps"):
        refuse("a dataset has one model and one list of steps; write an input for each", *place, key)
    if bool(below) != (block != "seed"):
        refuse("expected a dotted key such as model.coupling, or seed", *place, key)


class LabelInput(Section):
    """Exact electronic forces along trajectories, for a dataset that networks learn from.

    Every combination of the values under `vary` is one trajectory; `seed` sets `initial.seed` and `dynamics.seed` together.
    With `states` nothing is run: the states of a file are labelled.
    """

    vary: Annotated[
        tuple[dict[str, tuple[Any, ...]], ...], BeforeValidator(_products), Expect("a mapping or a list of mappings")
    ] = Field(
        (), description="keys of the input and the values they take; a list of such mappings joins their trajectories"
    )
    at: (
        Annotated[tuple[Annotated[int, STEP], ...], Field(strict=False), Expect("a list of steps, such as [0, 5, 50]")]
        | None
    ) = Field(None, description="steps at which states are labelled; [] for random states alone")
    every: Annotated[int, INTERVAL] | None = Field(
        None, description="steps between labelled states, instead of at; output.every unless given"
    )
    random: Annotated[RandomStates | None, BeforeValidator(_counted)] = Field(
        None, description="initial states without dynamics"
    )
    states: Annotated[str, Text("the path of a .h5 file")] | None = Field(
        None,
        description="a trajectory whose states are labelled, such as uncertain.h5 of a run; of its steps those under at, if given",
    )
    forcefield: Annotated[ForceFieldInput, chosen("forcefield", "name")] | None = Field(
        None, description="the way to get the labels, where it is another than the one that moves the lattice"
    )
    output: Annotated[str, Text("the path of a .h5 file")] | None = Field(
        None, description="the dataset; data/<name of the input>.h5 unless given"
    )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        """One list of steps, forwards; a file of the right kind."""
        if self.at is not None and self.every is not None:
            refuse("give either at (steps) or every (steps between), not both", "every")
        for key in ("vary", "random", "every") if self.states is not None else ():
            if getattr(self, key):
                refuse("states of a file are labelled as they are; leave this out", key)
        for i, (before, step) in enumerate(itertools.pairwise(self.at or ())):
            if step <= before:
                refuse(f"expected a step after the one before ({before}), got {step}", "at", i + 1)
        if self.output is not None and not self.output.endswith(".h5"):
            refuse(f"expected the path of a .h5 file, got {shown(self.output)}", "output")
        return self

    def steps(self, last: int) -> tuple[int, ...]:
        """The labelled steps of a run of `last` steps."""
        if self.at is not None:
            return self.at
        assert self.every is not None, "an input from load_input has its steps resolved"
        return tuple(range(0, last + 1, self.every))

    def combinations(self) -> Iterator[Settings]:
        """The settings of every trajectory, the last key of a product varying fastest."""
        for product in self.vary or ({},):
            for values in itertools.product(*product.values()):
                yield dict(zip(product, values, strict=True))
