"""Find physics components by the name that users write, without importing any that is not used."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from latticemd.errors import InputError

KINDS = {
    "model": "latticemd.models",
    "forcefield": "latticemd.forcefields",
    "integrator": "latticemd.integrators",
    "propagator": "latticemd.propagators",
    "reporter": "latticemd.reporters",
    "network": "latticemd.networks",
}

_registered: dict[tuple[str, str], type] = {}


@cache
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=KINDS[kind])}


def register(kind: str, name: str, component: type) -> None:
    """Make `component` known as `name` in this process, as an installed entry point of `KINDS[kind]` would.

    Raises ValueError for an unknown kind or a name already taken by another class.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of plug-in {kind!r}; kinds are {', '.join(KINDS)}")
    known = _registered.get((kind, name))
    if (known is not None and known is not component) or (known is None and name in _entry_points(kind)):
        raise ValueError(f"{kind} {name!r} is already registered")
    _registered[kind, name] = component


def plugin_names(kind: str) -> list[str]:
    """Names a user may write for this kind of component, sorted."""
    return sorted({*_entry_points(kind), *(name for k, name in _registered if k == kind)})


def load_plugin(kind: str, name: str) -> Any:
    """The class behind a name. Raises InputError naming the nearest known word, or the missing extra."""
    if (kind, name) in _registered:
        return _registered[kind, name]
    point = _entry_points(kind).get(name)
    if point is None:
        known = plugin_names(kind)
        raise InputError(f"unknown {kind} {name!r}{nearest(name, known)}; known: {', '.join(known) or 'none'}")
    try:
        return point.load()
    except ImportError as error:
        raise InputError(f"{kind} {name!r} cannot be loaded: {error}") from error


def nearest(word: str, known: list[str]) -> str:
    """'; did you mean ...?' when one known word is close to `word`, else an empty string."""
    import difflib

    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    return f"; did you mean {matches[0]!r}?" if matches else ""
