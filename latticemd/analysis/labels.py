"""Which runs repeat each other: labels made of what their inputs differ in, seeds aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.plugins import nearest

# What says nothing about the physics: names, files, what is written and how often, and how many copies.
ASIDE = ("title", "output", "observables", "replicas", "initial.path", "initial.frame", "dynamics.steps")


def labels_of(inputs: Sequence[RunInput], by: str | None = None) -> list[str]:
    """A label for each run, equal for runs that repeat each other.

    Without `by`, the keys in which the inputs differ, but for seeds and what says nothing about the physics (`ASIDE`): the
    name of a component where names differ, and its settings where runs with the same component differ in them. With `by`, a
    key such as "forcefield.name" or "model.coupling", its value. Raises InputError for a key that no input has.
    """
    keys = [keys_of(run_input) for run_input in inputs]
    if by is not None:
        known = sorted({key for one in keys for key in one})
        if by not in known:
            raise InputError(f"--by {by}: no input has this key{nearest(by, known)}")
        return [_text(one.get(by)) for one in keys]
    telling = [key for key in dict.fromkeys(key for one in keys for key in one) if _tells(key, keys)]
    labels = []
    for one in keys:
        parts = [
            _text(one[key]) if key.endswith((".name", ".integrator", ".type")) else f"{_last(key)} {_text(one[key])}"
            for key in telling
            if key in one
        ]
        labels.append(", ".join(parts))
    return labels


def origin_of(run_input: RunInput) -> tuple[str, ...]:
    """What makes a run the one it is among those with its label: its seeds, and the file that it starts from.

    The seed of a force field is left aside: it belongs to the method and not to the start and the noise.
    """
    keys = keys_of(run_input)
    telling = [
        key for key in keys if ("seed" in _last(key) or key == "initial.path") and not key.startswith("forcefield.")
    ]
    return tuple(f"{key}={keys[key]}" for key in sorted(telling))


def keys_of(run_input: RunInput) -> dict[str, Any]:
    """All keys of an input as {"forcefield.name": "ed", ...}; lists stay as they are."""
    return _flat(run_input.model_dump(mode="json", by_alias=True, serialize_as_any=True), "")


def _flat(block: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(block, dict):
        return {prefix: block}
    found: dict[str, Any] = {}
    for key, value in block.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return found


def _tells(key: str, keys: Sequence[dict[str, Any]]) -> bool:
    """Whether runs that have the key differ in it, and it says something about the physics."""
    aside = "seed" in _last(key) or any(key == other or key.startswith(f"{other}.") for other in ASIDE)
    return not aside and len({repr(one[key]) for one in keys if key in one}) > 1


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1].replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
