"""What commands show: tables for people, JSON for programs. Imported by a command once it has something to show."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from latticemd import __version__
from latticemd.plugins import KINDS, plugin_names

if TYPE_CHECKING:
    from latticemd.bench import Row
    from latticemd.timestep import Advice
    from latticemd.verify import Check

COLOURS = {"pass": "green", "fail": "bold red", "skip": "yellow"}
PACKAGES = ("numpy", "scipy", "numba", "h5py", "pydantic", "torch", "mpi4py", "cupy", "ase")


def print_json(value: Any) -> None:
    """`value`, a dataclass or whatever JSON knows, with null for numbers that are not finite, which JSON does not know."""
    typer.echo(json.dumps(_plain(value), indent=2))


def print_checks(checks: Sequence[Check]) -> None:
    """The table of `latticemd verify`."""
    table = Table("check", "value", "limit", "verdict", "note")
    for check in checks:
        numbers = ["" if number is None else f"{number:.2g}" for number in (check.value, check.limit)]
        # Dimensions in brackets would be taken for colours.
        table.add_row(check.name, *numbers, f"[{COLOURS[check.verdict]}]{check.verdict}[/]", escape(check.note))
    Console().print(table)


def print_bench(rows: Sequence[Row]) -> None:
    """The table of `latticemd bench`."""
    table = Table("force field", "s/call", "sites/s", "MiB", "density error", "force error", "note")
    table.columns[0].no_wrap = True
    for row in rows:
        numbers = [row.seconds, row.sites_per_second, row.bytes_needed / 2**20, row.density_error, row.force_error]
        shown = [f"{number:.3g}" if math.isfinite(number) else "" for number in numbers]
        table.add_row(escape(row.title), *shown, escape(row.note))
    Console().print(table)


def print_advice(advice: Advice) -> None:
    """The table of `latticemd info --suggest-dt`."""
    table = Table("quantity", "value", "", "note")
    for quantity in advice.quantities:
        table.add_row(quantity.name, f"{quantity.value:.4g}", quantity.dimension, quantity.note)
    table.add_section()
    table.add_row("suggested dt", f"{advice.suggested:g}", "time", f"limited by {advice.limited_by}")
    table.add_row("dt of the input", f"{advice.dt:g}", "time", advice.verdict)
    Console().print(table)
    typer.echo(f"measured with {advice.force_calls} force evaluations")


def print_installation() -> None:
    """Versions, processors and plug-ins."""
    table = Table(show_header=False, box=None)
    table.add_row("latticemd", __version__)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        try:
            table.add_row(package, version(package))
        except PackageNotFoundError:
            table.add_row(package, "not installed")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    table.add_row("devices", f"cpu: {usable} processors (the only backend yet)")
    for kind in KINDS:
        table.add_row(f"{kind}s", ", ".join(plugin_names(kind)))
    Console().print(table)


def print_summary(summary: dict[str, Any], directory: Path) -> None:
    """How a run ended."""
    names = ("steps", "time", "energy", "order_parameter", "local_order", "wall_fraction", "steps_per_second")
    _print_results(summary, directory, names, f"{summary['force_seconds']:.1f} in the force", digits=6)
    picture = directory / "figures" / "summary.png"
    if picture.exists():
        typer.echo(f"look at {picture}")


def print_minimum(summary: dict[str, Any], directory: Path) -> None:
    """How a minimisation ended."""
    names = ("converged", "steps", "energy", "max_force", "order_parameter", "wall_fraction")
    _print_results(summary, directory, names, f"{summary['force_calls']} force calls", digits=10)
    typer.echo(f"wrote {directory / 'minimum.h5'}")


def _print_results(summary: dict[str, Any], directory: Path, names: Sequence[str], cost: str, digits: int) -> None:
    table = Table(title=summary.get("title") or str(directory), show_header=False, title_justify="left")
    for name in names:
        if name not in summary:  # particles have no order
            continue
        value = summary[name]
        table.add_row(name.replace("_", " "), f"{value:.{digits}g}" if isinstance(value, float) else str(value))
    table.add_row("wall seconds", f"{summary['wall_seconds']:.1f} ({cost})")
    table.add_row("digest", summary["digest"][:16])
    Console().print(table)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
