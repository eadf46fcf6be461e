"""Finding an integrator by the name or word that a user writes."""

from __future__ import annotations

from typing import Any

from latticemd.errors import InputError
from latticemd.integrators.splitting import Splitting, check_word
from latticemd.plugins import load_plugin


def is_word(name: str) -> bool:
    """Whether an integrator's name is a splitting word over the letters A, B, O, R."""
    return bool(name) and set(name) <= set("ABOR")


def load_integrator(name: str) -> tuple[Any, dict[str, Any]]:
    """The integrator class for a name or splitting word, and the arguments that the name itself fixes.

    Raises InputError for unknown names and invalid words.
    """
    if is_word(name):
        check_word(name)
        return Splitting, {"word": name}
    try:
        return load_plugin("integrator", name), {}
    except InputError as error:
        raise InputError(f"{error}, or a word over A, B, O, R such as BAOAB") from error
