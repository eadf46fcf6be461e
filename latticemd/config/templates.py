"""Commented inputs to begin with, for `latticemd init`."""

from __future__ import annotations

from importlib.resources import files

from latticemd.config.messages import unknown_word
from latticemd.errors import InputError


def template_names() -> list[str]:
    """What `input_template` knows."""
    folder = files("latticemd") / "templates"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def input_template(name: str) -> str:
    """The text of a commented, runnable input. Raises InputError for an unknown name."""
    if name not in template_names():
        raise InputError(unknown_word(name, "template", template_names()))
    return (files("latticemd") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
