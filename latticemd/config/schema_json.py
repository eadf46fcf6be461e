"""The JSON schema of inputs, for editors, other programs and our own reference of input keys."""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any

from pydantic import Field, create_model

from latticemd.config.blocks import REPLICAS, Replicas
from latticemd.config.components import ForceFieldInput, ModelInput, NetworkInput, Splitting, block_named
from latticemd.config.schema import RunInput
from latticemd.config.section import Section
from latticemd.config.train_input import TrainInput
from latticemd.errors import InputError
from latticemd.plugins import plugin_names


def json_schema() -> dict[str, Any]:
    """The JSON schema of an input with all installed plug-ins; those that cannot be loaded are left out."""
    fields: dict[str, Any] = {
        "model": (_any_of(_loadable("model") or [ModelInput]), _about("model")),
        "forcefield": (_any_of(_loadable("forcefield") or [ForceFieldInput]), _about("forcefield", {"name": "ed"})),
        "dynamics": (_any_of([*_loadable("integrator"), Splitting, *_loadable("propagator")]), _about("dynamics")),
        "replicas": (Annotated[int, REPLICAS] | Replicas, _about("replicas", 1)),
    }
    complete = create_model("latticemd input", __base__=RunInput, __doc__="Input of a latticemd run.", **fields)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **complete.model_json_schema(by_alias=True)}


def training_json_schema() -> dict[str, Any]:
    """The JSON schema of the input of a training with all installed networks."""
    about = Field(..., description=TrainInput.model_fields["network"].description)
    fields: dict[str, Any] = {"network": (_any_of(_loadable("network") or [NetworkInput]), about)}
    doc = "Input of a training of latticemd."
    complete = create_model("latticemd training", __base__=TrainInput, __doc__=doc, **fields)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **complete.model_json_schema(by_alias=True)}


def _about(key: str, default: Any = ...) -> Any:
    return Field(default, description=RunInput.model_fields[key].description)


def _any_of(blocks: list[type[Section]]) -> Any:
    return functools.reduce(operator.or_, blocks)


def _loadable(kind: str) -> list[type[Section]]:
    blocks: list[type[Section]] = []
    for name in plugin_names(kind):
        try:
            blocks.append(block_named(kind, name))
        except InputError:  # an extra that is not installed
            continue
    return blocks
