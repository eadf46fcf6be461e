"""Resolved inputs as YAML text."""

from __future__ import annotations

from typing import Any

import yaml

from latticemd.config.section import Section
from latticemd.config.yaml_source import scalar


def to_yaml(run: Section) -> str:
    """An input as YAML text that loads to an equal input."""
    plain = run.model_dump(mode="json", by_alias=True, exclude_none=True, serialize_as_any=True)
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested blocks by their dotted keys."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: value}


class _Dumper(yaml.SafeDumper):
    """Quotes text that the reader of inputs would take for a number or a word with a meaning."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = isinstance(scalar(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    blocks = any(isinstance(item, dict) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=not blocks)


def _represent_block(dumper: yaml.SafeDumper, block: dict[str, Any]) -> yaml.MappingNode:
    selecting = [key for key in ("name", "kind", "integrator", "propagator") if key in block]
    return dumper.represent_mapping("tag:yaml.org,2002:map", dict.fromkeys(selecting) | block)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_block)
