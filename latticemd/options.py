"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Input = Annotated[Path, typer.Argument(metavar="INPUT", help="YAML input file.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a key of the input; may be repeated."),
]
Style = Annotated[str, typer.Option(metavar="STYLE", help="Colours: light, or dark for slides with a dark ground.")]
Size = Annotated[str, typer.Option(metavar="SIZE", help="screen, or print: for the page of a journal, PDF too.")]
