"""Changes from the command line: `--set key.path=value` on top of what the file says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latticemd.config.messages import Place, dotted, escaped, shown
from latticemd.config.yaml_source import Source, parse_source
from latticemd.errors import InputError


def apply_overrides(source: Source, overrides: Sequence[str], option: str = "--set") -> None:
    """Write each 'key.path=value' to `source`, in order; the value is YAML, a number in the path indexes a list.

    Blocks that the file does not have are added. Keys that no block knows are left for validation to name. `option` is what
    the user has written the overrides behind.
    """
    for override in overrides:
        origin = f"{option} {escaped(override)}"
        path, separator, text = override.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys) or not path.isprintable():
            raise InputError(f"{origin}: expected key.path=value, such as --set dynamics.dt=0.05")
        value = parse_source(text, origin, origin)
        _set(source, keys, value, origin)


def _set(source: Source, keys: list[str], value: Source, origin: str) -> None:
    block, place = source.data, Place()
    for key in keys[:-1]:
        step = _entry(block, place, key, origin)
        place = (*place, step)
        if isinstance(block, dict) and step not in block:
            block[step] = {}
            source.origins[place] = origin
        block = block[step]
    last = _entry(block, place, keys[-1], origin)
    block[last] = value.data
    place = (*place, last)
    stale = [known for known in source.origins if known[: len(place)] == place]
    for known in stale:
        del source.origins[known]
    source.origins |= {(*place, *inner): origin for inner in value.origins} | {place: origin}


def _entry(block: Any, place: Place, key: str, origin: str) -> str | int:
    """`key` as it enters `block`: a key of a mapping or an index of a list."""
    if isinstance(block, dict):
        return key
    if isinstance(block, list):
        if key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(block):
            return int(key)
        raise InputError(f"{origin}: {dotted(place)} is a list of {len(block)}; expected an index below {len(block)}")
    raise InputError(f"{origin}: {dotted(place)} is {shown(block)}, which has no key {escaped(key)!r}")
