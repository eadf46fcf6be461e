"""Finding an integrator by the name or word that a user writes."""

from __future__ import annotations

import functools
from collections.abc import Callable

from latticemd.errors import InputError
from latticemd.integrators.integrator import Integrator
from latticemd.integrators.splitting import Splitting, check_word
from latticemd.plugins import load_plugin


def is_word(name: str) -> bool:
    """Whether an integrator's name is a splitting word over the letters A, B, O, R."""
    return bool(name) and set(name) <= set("ABOR")


def load_integrator(name: str) -> Callable[..., Integrator]:
    """What makes the integrator of this name or splitting word from its settings (dt, temperature, friction, ...).

    Raises InputError for unknown names and invalid words.
    """
    if is_word(name):
        check_word(name)
        return functools.partial(Splitting, word=name)
    try:
        integrator: Callable[..., Integrator] = load_plugin("integrator", name)
    except InputError as error:
        raise InputError(f"{error}, or a word over A, B, O, R such as BAOAB") from error
    return integrator
