"""What is written about inputs: the resolved YAML, and the JSON schema."""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any

import yaml
from pydantic import Field, create_model

from latticemd.config.blocks import REPLICAS, Replicas
from latticemd.config.components import ForceFieldInput, ModelInput, Splitting, block_named
from latticemd.config.schema import RunInput
from latticemd.config.section import Section
from latticemd.config.yaml_source import scalar
from latticemd.errors import InputError
from latticemd.plugins import plugin_names


def to_yaml(run: RunInput) -> str:
    """An input as YAML text that loads to an equal input."""
    plain = run.model_dump(mode="json", by_alias=True, exclude_none=True, serialize_as_any=True)
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def json_schema() -> dict[str, Any]:
    """The JSON schema of an input with all installed plug-ins; those that cannot be loaded are left out."""
    fields: dict[str, Any] = {
        "model": (_any_of(_loadable("model") or [ModelInput]), _about("model")),
        "forcefield": (_any_of(_loadable("forcefield") or [ForceFieldInput]), _about("forcefield", {"name": "ed"})),
        "dynamics": (_any_of([*_loadable("integrator"), Splitting]), _about("dynamics")),
        "replicas": (Annotated[int, REPLICAS] | Replicas, _about("replicas", 1)),
    }
    complete = create_model("latticemd input", __base__=RunInput, __doc__="Input of a latticemd run.", **fields)
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


class _Dumper(yaml.SafeDumper):
    """Quotes text that the reader of inputs would take for a number or a word with a meaning."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = isinstance(scalar(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    blocks = any(isinstance(item, dict) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=not blocks)


def _represent_block(dumper: yaml.SafeDumper, block: dict[str, Any]) -> yaml.MappingNode:
    selecting = [key for key in ("name", "kind", "integrator") if key in block]
    return dumper.represent_mapping("tag:yaml.org,2002:map", dict.fromkeys(selecting) | block)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_block)
