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
from latticemd.backends import gpu
from latticemd.plugins import KINDS, plugin_names

if TYPE_CHECKING:
    from latticemd.analysis.ensembles import Comparison
    from latticemd.analysis.runner import Analysis
    from latticemd.bench import Row
    from latticemd.learning.evaluation import SetErrors
    from latticemd.learning.report import Report
    from latticemd.parallel.forecast import Forecast
    from latticemd.timestep import Advice
    from latticemd.verify import Check

COLOURS = {
    "pass": "green",
    "fail": "bold red",
    "skip": "yellow",
    "agree": "green",
    "open": "yellow",
    "differ": "bold red",
    "1 sample": "dim",
    "no value": "dim",
}
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


def print_analysis(analysis: Analysis) -> None:
    """The tables of `latticemd analyze`: growth laws of every group, and how the groups differ."""
    table = Table("group", "length", "exponent", "times", "L at end", "L/box", "collapse")
    for group in analysis.groups:
        title = f"{group.label or 'all'} ({group.samples})"
        for name, law in group.laws.items():
            size = law.amplitude * law.end**law.exponent
            profile = {"half": "correlation", "moment": "structure_factor"}.get(name, "")
            quality = f"{group.collapses[profile].quality:.2g}" if profile in group.collapses else ""
            window = f"{law.start:.3g} - {law.end:.3g}"
            table.add_row(
                escape(title), name, _with_error(law.exponent, law.error), window,
                f"{size:.3g}", f"{size / group.box:.2g}", quality,
            )  # fmt: skip
            title = ""
        table.add_section()
    if table.row_count:
        Console().print(table)
    else:
        typer.echo("no growth law: too few frames in which domains have a size")
    for label, rows in analysis.comparisons.items():
        _print_comparison(analysis.groups[0].label, label, rows)
    for group in analysis.groups:
        for note in group.notes:
            typer.echo(": ".join(filter(None, [group.label, note])))


def _print_comparison(first: str, second: str, rows: Sequence[Comparison]) -> None:
    table = Table("quantity", "time", "first", "change", "error", "sigma", "verdict")
    table.title = escape(f"{second} - {first}; sigma: standard errors from sample to sample")
    table.columns[0].no_wrap = True
    previous = ""
    for row in rows:
        apart = row.difference
        if row.quantity != previous:
            table.add_section()
        numbers = (row.time, apart.first, apart.difference, apart.error, apart.distance)
        shown = [
            f"{number:.{digits}g}" if math.isfinite(number) else ""
            for number, digits in zip(numbers, (3, 3, 2, 2, 2), strict=True)
        ]
        name = "" if row.quantity == previous else row.quantity.replace("_", " ")
        table.add_row(name, *shown, f"[{COLOURS[apart.verdict]}]{apart.verdict}[/]")
        previous = row.quantity
    Console().print(table)


def _with_error(value: float, error: float) -> str:
    """A number with its standard error, both to two digits of the error: 0.357 ± 0.018."""
    if not math.isfinite(error) or error <= 0.0:
        return f"{value:.3g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}" if decimals < 7 else f"{value:.2g} ± {error:.1e}"


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


def print_forecast(found: Forecast) -> None:
    """The table of `latticemd info --plan`."""
    table = Table("of the busiest rank", "value", "")
    together = f"on a grid of {_by(found.grid)}" if found.crew == 1 else f"the work on it shared by {found.crew}"
    groups = f"{found.groups} group(s) with {found.replicas} replica(s) each, {together}"
    table.add_row("ranks", str(found.ranks), groups)
    table.add_row("block", _by(found.block), f"cells, {found.sites} sites, and a rim of {found.rim} layers")
    table.add_row("memory", f"{found.bytes / 2**20:.4g} MiB", "of arrays, beside some 200 MiB of libraries")
    table.add_row("halo", f"{found.halo_bytes / 2**10:.4g} KiB", f"received per step, in {found.messages} message(s)")
    table.add_row("step", f"{found.seconds:.4g} s", f"of which {found.waiting:.2g} s for messages")
    table.add_row("efficiency", f"{found.efficiency:.3f}", "share of the time that is spent on own sites")
    Console().print(table)


def _by(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers))


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
    table.add_row("devices", f"cpu: {usable} processors; cuda: {gpu.description()}")
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


def print_dataset(path: Path) -> None:
    """What a dataset holds."""
    from latticemd.learning.dataset import read_dataset

    trajectories = read_dataset(path)
    states = sum(trajectory.frames for trajectory in trajectories)
    sites = sorted({trajectory.x.shape[1] for trajectory in trajectories})
    force = math.sqrt(sum(float((t.force**2).mean()) * t.frames for t in trajectories) / states)
    typer.echo(
        f"wrote {path}: {len(trajectories)} trajectories, {states} states of {' or '.join(map(str, sites))} sites, "
        f"rms electronic force {force:.4g}"
    )


def print_training(summary: dict[str, Any]) -> None:
    """How a training ended: the errors of the network that is kept."""
    table = Table("set", "states", "rms error", "relative", title=f"{summary['ended']} after {summary['steps']} steps")
    for name, errors in summary["errors"].items():
        table.add_row(escape(name), str(errors["states"]), f"{errors['rmse']:.3e}", f"{errors['relative']:.3e}")
    Console().print(table)
    typer.echo(f"wrote {summary['model']}: {summary['parameters']} parameters; {summary['seconds']:.0f} s")


def print_active(summary: dict[str, Any]) -> None:
    """Errors of the committee after every round, and its files."""
    table = Table("picked", "round", "states", "set", "relative", "of members", "spread")
    for row in summary["rows"]:
        numbers = [f"{row[key]:.3e}" for key in ("relative", "member", "uncertainty")]
        table.add_row(row["policy"], str(row["round"]), str(row["states"]), escape(row["set"]), *numbers)
    Console().print(table)
    typer.echo(f"forcefield: {{name: committee, models: [{', '.join(summary['models'])}]}}")


def print_evaluation(report: Report) -> None:
    """The tables of `latticemd evaluate`."""
    console = Console()
    table = Table(
        "set", "states", "rms error", "mse", "relative", "largest", title=str(report.model), title_justify="left"
    )
    for one in report.sets:
        numbers = [one.rmse, one.mse, one.relative, one.largest]
        table.add_row(escape(one.name), str(one.states), *(f"{number:.3e}" for number in numbers))
    console.print(table)
    for one in report.sets:
        parts = Table("by", "", "count", "rms error", "relative", title=one.name, title_justify="left")
        parts.columns[0].no_wrap = True
        for key, rows in one.parts.items():
            for i, part in enumerate(rows):
                first = "" if i else escape(key)
                parts.add_row(first, part.title, str(part.count), f"{part.rmse:.2e}", f"{part.relative:.2e}")
            parts.add_section()
        console.print(parts)
        _print_worst(console, one)
        for warning in one.warnings:
            typer.echo(f"{one.name}: {warning}")
    kept = Table("kept by the force", "", title_justify="left")
    for precision, error in report.invariants.symmetry.items():
        kept.add_row(
            f"largest symmetry error, {precision}", f"{error:.2e} over {report.invariants.operations} operations"
        )
    kept.add_row("antisymmetric share of the Jacobian", f"{report.invariants.antisymmetric:.2e}")
    console.print(kept)
    if len(report.contestants) > 1:
        race = Table("force", "rms error", "relative", "sites/s", "note")
        for way in report.contestants:
            shown = [f"{n:.3g}" if math.isfinite(n) else "" for n in (way.rmse, way.relative, way.sites_per_second)]
            race.add_row(escape(way.title), *shown, escape(way.note))
        console.print(race)


def _print_worst(console: Console, errors: SetErrors) -> None:
    table = Table(
        "step", "site", "exact", "predicted", "x", "x of neighbours", title="largest errors", title_justify="left"
    )
    for site in errors.worst[:5]:
        vectors = [site.exact, site.predicted, site.x, [n for around in site.neighbours for n in around]]
        table.add_row(str(site.step), str(site.site), *(" ".join(f"{n:.3g}" for n in vector) for vector in vectors))
    console.print(table)


def _print_results(summary: dict[str, Any], directory: Path, names: Sequence[str], cost: str, digits: int) -> None:
    table = Table(title=summary.get("title") or str(directory), show_header=False, title_justify="left")
    for name in names:
        value = summary.get(name)
        if value is None or (
            isinstance(value, float) and math.isnan(value)
        ):  # particles have no order, some forces no energy
            continue
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
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
