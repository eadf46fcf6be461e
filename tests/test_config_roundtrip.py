"""Random inputs over every key of every plug-in: the resolved input loads to itself, and no given value is lost or changed.

The strategies are made from the plug-ins' own parameters, so a new model, force field or integrator is covered by being
installed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticemd import State
from latticemd.config import RunInput, load_input
from latticemd.config.components import DynamicsInput
from latticemd.lattice import UNIT_CELLS, Lattice
from latticemd.models.model import Motion
from latticemd.output.checkpoint import write_checkpoint
from latticemd.parameters import Bounds, parameters_of
from latticemd.plugins import load_plugin, plugin_names

Load = Callable[[str], RunInput]
LAST_STEP = 2**40 - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where inputs are written, beside two files to start from."""
    folder = tmp_path_factory.mktemp("roundtrip")
    np.save(folder / "start.npy", np.zeros(9))
    write_checkpoint(folder / "start.h5", State.at_rest(np.zeros((1, 9, 1))), {})
    return folder


@pytest.fixture(scope="module")
def load(folder: Path) -> Load:
    """Write text to a file and load it."""

    def write_and_load(text: str) -> RunInput:
        (folder / "input.yaml").write_text(text)
        return load_input(folder / "input.yaml")

    return write_and_load


# --- values ---------------------------------------------------------------------------------------------------------


def reals(bounds: Bounds = Bounds()) -> st.SearchStrategy[float]:  # noqa: B008  (frozen)
    """Numbers of all sizes within the bounds, and the bounds themselves where they are allowed."""
    low, high = (bounds.gt if bounds.ge is None else bounds.ge), (bounds.lt if bounds.le is None else bounds.le)
    return st.floats(
        low,
        high,
        allow_nan=False,
        allow_infinity=False,
        exclude_min=bounds.gt is not None,
        exclude_max=bounds.lt is not None,
    )


def integers(bounds: Bounds) -> st.SearchStrategy[int]:
    low = bounds.ge if bounds.gt is None else bounds.gt + 1
    high = bounds.le if bounds.lt is None else bounds.lt - 1
    return st.integers(None if low is None else math.ceil(low), None if high is None else math.floor(high))


def ramps(values: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """A number, or any ramp with these values."""
    steps = st.integers(0, LAST_STEP - 1)
    ends = {"from": values, "to": values}
    piecewise = st.dictionaries(steps, values, min_size=1, max_size=4).map(lambda d: [[s, d[s]] for s in sorted(d)])
    return st.one_of(
        values,
        st.fixed_dictionaries({"kind": st.just("constant"), "value": values}),
        st.fixed_dictionaries({"kind": st.just("linear"), **ends, "end": st.integers(1, LAST_STEP)}),
        st.tuples(steps, st.integers(1, 1000), st.fixed_dictionaries(ends)).map(
            lambda drawn: {"kind": "linear", **drawn[2], "start": drawn[0], "end": min(drawn[0] + drawn[1], LAST_STEP)}
        ),
        st.fixed_dictionaries(
            {"kind": st.just("exponential"), **ends, "time_constant": reals(Bounds(gt=0))}, optional={"start": steps}
        ),
        st.fixed_dictionaries({"kind": st.just("piecewise"), "points": piecewise}),
    )


def parameters(kind: str, name: str, common: set[str]) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each parameter of a plug-in."""
    component = load_plugin(kind, name)
    hints = typing.get_type_hints(component)
    return {
        field.name: of_type(hints[field.name], about.bounds, about.rampable)
        for field, about in parameters_of(component)
        if field.name not in common
    }


def of_type(hint: Any, bounds: Bounds, rampable: bool) -> st.SearchStrategy[Any]:
    union = typing.get_origin(hint) in (Union, types.UnionType)
    kind = next(kind for kind in typing.get_args(hint) if kind is not type(None)) if union else hint
    if typing.get_origin(kind) is Literal:
        return st.sampled_from(typing.get_args(kind))
    if typing.get_origin(kind) is dict:
        return st.dictionaries(texts, st.one_of(reals(), st.booleans(), texts), max_size=3)
    if kind == tuple[str, ...]:
        return st.lists(texts, min_size=1, max_size=3)
    if kind == tuple[float, ...]:
        return st.lists(reals(bounds), min_size=1, max_size=3)
    made = {float: reals(bounds), int: integers(bounds), bool: st.booleans(), str: texts}
    assert kind in made, f"parameters of type {kind} need a strategy here"
    return ramps(made[kind]) if rampable else made[kind]


lookalikes = st.sampled_from(["1e-3", "0o17", "1E5", "12", ".inf", "true", "null", "~", "a: b", "# x", "'"])
texts = st.one_of(lookalikes, st.text(min_size=1, max_size=60)).filter(
    lambda text: text.isprintable() and text.strip() != ""
)
counts = st.integers(1, LAST_STEP)
seeds = st.integers(0, 2**64 - 1)
positive = reals(Bounds(gt=0))


# --- blocks ---------------------------------------------------------------------------------------------------------


@st.composite
def models(draw: st.DrawFn, name: str) -> dict[str, Any]:
    block = draw(st.fixed_dictionaries({}, optional=parameters("model", name, set())))
    if "mu" in block:
        block.pop("filling", None)
    return {"name": name, **block}


@st.composite
def forcefields(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(plugin_names("forcefield")))
    drawn = parameters("forcefield", name, set())
    fields = {field.name: field for field, _ in parameters_of(load_plugin("forcefield", name))}
    needed = {key: drawn.pop(key) for key in list(drawn) if fields[key].default is dataclasses.MISSING}
    return {"name": name, **draw(st.fixed_dictionaries(needed, optional=drawn))}


words = st.tuples(st.sampled_from("AR"), st.text("BO", min_size=1, max_size=5)).flatmap(
    lambda drawn: st.permutations(drawn[0] + drawn[1] + "B").map("".join)
)


@st.composite
def dynamics(draw: st.DrawFn, motion: Motion) -> dict[str, Any]:
    suits = [name for name in plugin_names("integrator") if load_plugin("integrator", name).motion is motion]
    names = st.sampled_from(suits)
    name = draw(st.one_of(names, words) if motion is Motion.DISPLACEMENT else names)
    known = name in plugin_names("integrator")
    own = parameters("integrator", name, DynamicsInput.common()) if known else {}
    block = draw(
        st.fixed_dictionaries(
            # Above zero, because some integrators divide by them, and electrons take the temperature of the bath.
            {"dt": positive, "steps": st.integers(0, LAST_STEP), "temperature": ramps(positive)},
            optional={"friction": positive, "seed": seeds, **own},
        )
    )
    return {"integrator": name, **block}


@st.composite
def starts(draw: st.DrawFn, folder: Path) -> dict[str, Any]:
    kind = draw(st.sampled_from(["normal", "checkerboard", "uniform", "file", None]))
    velocity = st.one_of(st.sampled_from(["thermal", "zero"]), positive)
    keys: dict[str, dict[str | None, dict[str, Any]]] = {
        "required": {"uniform": {"value": reals()}},
        "optional": {
            "normal": {"width": positive},
            "checkerboard": {"amplitude": reals(), "width": reals(Bounds(ge=0))},
            "uniform": {"width": reals(Bounds(ge=0))},
            "file": {"frame": st.integers(-(2**31), 2**31)},
        },
    }
    if kind == "file":
        suffix = draw(st.sampled_from(["npy", "h5"]))
        keys["required"]["file"] = {"path": st.just(str(folder / f"start.{suffix}"))}
        velocity = st.one_of(velocity, st.just("file")) if suffix == "h5" else velocity
    block = draw(
        st.fixed_dictionaries(
            keys["required"].get(kind, {}),
            optional={"velocity": velocity, "seed": seeds, **keys["optional"].get(kind, {})},
        )
    )
    return {"kind": kind, **block} if kind else block


@st.composite
def observables(draw: st.DrawFn, dimensions: int, transform: bool) -> list[dict[str, Any]]:
    names = ["energy", "temperature", "order_parameter", "wall_fraction", "structure_factor", "forcefield"]
    names += ["correlation"] if transform else []
    blocks = []
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        block: dict[str, Any] = {"name": name}
        schedule = draw(st.sampled_from(["every", "log", None]))
        if schedule:
            block[schedule] = draw(counts)
        if draw(st.booleans()):
            window = sorted(draw(st.lists(st.integers(0, LAST_STEP), min_size=2, max_size=2)))
            block |= dict(zip(("after", "before"), window, strict=True))
        if name == "structure_factor" and (not transform or draw(st.booleans())):
            wave = st.lists(reals(), min_size=dimensions, max_size=dimensions)
            chosen = st.lists(wave, min_size=1, max_size=3)
            block["q"] = draw(st.one_of(st.just("all"), chosen) if transform else chosen)
        blocks.append(block)
    return blocks


@st.composite
def lattices(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([*sorted(UNIT_CELLS), "custom"]))
    directions = 2 if kind == "custom" else len(UNIT_CELLS[kind].vectors)
    one = st.one_of(st.sampled_from(["periodic", "open", "antiperiodic"]), st.floats(-5, 5))
    extents = st.lists(st.integers(4, 10**6), min_size=directions, max_size=directions)
    optional = {"boundary": st.one_of(one, st.lists(one, min_size=directions, max_size=directions))}
    required = {"type": st.just(kind), "shape": extents}
    if kind == "custom":
        required["vectors"] = st.just([[1.0, 0.0], [0.5, 0.866]])
        optional["basis"] = st.just([[0.0, 0.0], [0.3333, 0.3333]])
    return draw(st.fixed_dictionaries(required, optional=optional))


@st.composite
def inputs(draw: st.DrawFn, folder: Path) -> dict[str, Any]:
    """A valid input as a user could write it."""
    block = draw(lattices())
    model = draw(st.sampled_from(plugin_names("model")))
    lattice = Lattice.from_dict(block)
    transform = all(lattice.periodic) and len(lattice.cell.basis) == 1
    fields = st.lists(st.sampled_from(["displacement", "momentum", "force", "density"]), min_size=1, unique=True)
    output = {
        "directory": texts,
        "every": counts,
        "checkpoint_every": counts,
        "fields": fields,
        "figures": st.booleans(),
    }
    replicas = st.integers(1, 2**31 - 1)
    first = st.integers(0, 2**31 - 1)
    return draw(
        st.fixed_dictionaries(
            {
                "lattice": st.just(block),
                "model": models(model),
                "dynamics": dynamics(load_plugin("model", model).motion),
            },
            optional={
                "title": texts,
                "forcefield": forcefields(),
                "initial": starts(folder),
                "output": st.fixed_dictionaries({}, optional=output),
                "observables": observables(lattice.dimensions, transform),
                "replicas": st.one_of(
                    replicas, st.fixed_dictionaries({}, optional={"count": replicas, "first": first})
                ),
                "backend": st.just("cpu"),
            },
        )
    )


# --- the property ---------------------------------------------------------------------------------------------------


def missing(given: Any, resolved: Any, place: str = "") -> list[str]:
    """Places where the resolved input does not say what was given."""
    if isinstance(given, dict) and isinstance(resolved, dict):
        return [
            problem
            for key in given
            for problem in (
                missing(given[key], resolved[key], f"{place}.{key}") if key in resolved else [f"{place}.{key}"]
            )
        ]
    if isinstance(given, list) and isinstance(resolved, list) and len(given) == len(resolved):
        return [p for k, pair in enumerate(zip(given, resolved, strict=True)) for p in missing(*pair, f"{place}.{k}")]
    return [] if given == resolved and isinstance(given, bool) == isinstance(resolved, bool) else [place]


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_resolved_input_keeps_what_was_given_and_loads_to_itself(
    load: Load, folder: Path, data: st.DataObject
) -> None:
    written = data.draw(inputs(folder))
    once = load(json.dumps(written))
    text = once.to_yaml()
    again = load(text)
    assert again == once
    assert again.to_yaml() == text
    if isinstance(written.get("replicas"), int):
        written["replicas"] = {"count": written["replicas"]}
    assert missing(written, once.model_dump(mode="json", by_alias=True, serialize_as_any=True)) == []
