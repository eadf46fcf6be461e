"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once.

Exit codes: 0 done, 1 a check of `verify` failed or `minimize` did not converge, 2 bad input, 3 diverged, 75 stopped early and
resumable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from latticemd import __version__
from latticemd.errors import InputError, LatticeMDError

app = typer.Typer(
    name="latticemd",
    help="Molecular-dynamics-style engine for lattice models: classical fields on the free energy of electrons.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Input = Annotated[Path, typer.Argument(metavar="INPUT", help="YAML input file.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a key of the input; may be repeated."),
]


@app.command()
def run(
    input_file: Input,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory instead of output.directory.")
    ] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint in the directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the directory.")] = False,
    walltime: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.0, help="Stop in time, write a checkpoint, exit with 75.")
    ] = None,
) -> None:
    """Run a simulation and draw its figures."""
    from rich.console import Console

    from latticemd.runner import output_directory, plain_logging
    from latticemd.runner import run as run_in_directory

    run_input = _load(input_file, settings, output)
    plain_logging()
    console = Console(stderr=True)
    summary = run_in_directory(
        run_input,
        resume=resume,
        overwrite=overwrite,
        walltime=walltime,
        console=console if console.is_terminal else None,
    )
    _print_summary(summary, output_directory(run_input))


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(help="Directory of an unfinished run.", show_default=False)],
    settings: Settings = None,
    walltime: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.0, help="Stop in time.")] = None,
) -> None:
    """Continue the run in a directory from its last checkpoint, with the input that is stored there."""
    if not (directory / "input.yaml").is_file():
        raise InputError(f"{directory} holds no run: there is no {directory / 'input.yaml'}")
    run(directory / "input.yaml", directory, settings, resume=True, walltime=walltime)


@app.command()
def validate(input_file: Input, settings: Settings = None) -> None:
    """Check an input and print it with all defaults filled in; nothing is run or written."""
    from latticemd.build import build_integrator, build_model

    run_input = _load(input_file, settings, None)
    build_model(run_input)
    build_integrator(run_input)
    typer.echo(run_input.to_yaml(), nl=False)


@app.command()
def verify(
    input_file: Input,
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check forces, symmetries, energy, restart and replicas on this very input; exits with 1 if a check fails."""
    import dataclasses
    import json

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from latticemd.verify import verify as checks_of

    checks = []
    progress = Console(stderr=True)
    with progress.status("checking") as status:
        for check in checks_of(_load(input_file, settings, None)):
            checks.append(check)
            status.update(f"done: {check.name}")
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        table = Table("check", "value", "limit", "verdict", "note")
        colours = {"pass": "green", "fail": "bold red", "skip": "yellow"}
        for check in checks:
            numbers = ["" if number is None else f"{number:.2g}" for number in (check.value, check.limit)]
            # Dimensions in brackets would be taken for colours.
            table.add_row(check.name, *numbers, f"[{colours[check.verdict]}]{check.verdict}[/]", escape(check.note))
        Console().print(table)
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)


@app.command()
def minimize(
    input_file: Input,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory instead of output.directory with _minimized added."),
    ] = None,
    settings: Settings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the directory.")] = False,
    force_tolerance: Annotated[
        float, typer.Option(metavar="F", help="Largest force of a minimum (energy/length).")
    ] = 1e-6,
    steps: Annotated[int, typer.Option(metavar="N", min=0, help="Steps after which to give up.")] = 10_000,
) -> None:
    """Find the minimum of the free energy next to the initial configuration; exits with 1 if it is not reached."""
    from rich.console import Console

    from latticemd.minimization import Fire
    from latticemd.minimization.runner import how_to_continue, minimum_directory, run_minimization
    from latticemd.runner import plain_logging

    run_input = _load(input_file, settings, None)
    directory = output or minimum_directory(run_input)
    plain_logging()
    console = Console(stderr=True)
    summary = run_minimization(
        run_input,
        directory,
        fire=Fire(force_tolerance),
        steps=steps,
        overwrite=overwrite,
        console=console if console.is_terminal else None,
    )
    _print_minimum(summary, directory)
    if not summary["converged"]:
        typer.echo(f"not converged after {steps} steps: {how_to_continue(directory)}", err=True)
        raise typer.Exit(1)


@app.command()
def bench(
    input_file: Input,
    settings: Settings = None,
    tolerance: Annotated[
        float, typer.Option(metavar="ERROR", help="Largest rms error of the density to accept.")
    ] = 1e-4,
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="Longest call to make.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Time the force fields on this very input, with their memory and error, and recommend one."""
    import dataclasses
    import json
    import math

    from rich.console import Console

    from latticemd.bench import bench as rows_of
    from latticemd.bench import recommended

    rows = []
    with Console(stderr=True).status("measuring") as status:
        for row in rows_of(_load(input_file, settings, None), patience):
            rows.append(row)
            status.update(f"done: {row.name} {_settings_of(row)}")
    best = recommended(rows, tolerance)
    if as_json:
        plain = [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in row.items()
            }
            for row in map(dataclasses.asdict, rows)
        ]
        choice = {"name": best.name, **best.settings} if best else None
        typer.echo(json.dumps({"rows": plain, "tolerance": tolerance, "recommended": choice}, indent=2))
        return
    _print_bench(rows)
    if best is None:
        typer.echo(
            f"none has a density error below {tolerance:g} and a call below {patience:g} s: allow more of either"
        )
    else:
        words = "".join(f", {key}: {value}" for key, value in best.settings.items())
        typer.echo(f"for a density error below {tolerance:g} use  forcefield: {{name: {best.name}{words}}}")


@app.command()
def schema() -> None:
    """Print the JSON schema of the input, for editors and other programs."""
    import json

    from latticemd.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Which template.")] = "quench",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; NAME.yaml by default.")] = None,
) -> None:
    """Write a commented input to start from."""
    from latticemd.config import input_template

    text = input_template(name)
    path = output or Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists and is not overwritten; use --output for another file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}; next: latticemd run {path}")


@app.command()
def info(
    suggest_dt: Annotated[
        Path | None,
        typer.Option(metavar="INPUT", help="Suggest a time step for this input (about 60 force evaluations)."),
    ] = None,
    settings: Settings = None,
    energy_tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="Energy error per degree of freedom, as a share of kT.")
    ] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Print the suggestion as JSON.")] = False,
) -> None:
    """Show versions, processors and plug-ins; or, for an input, which time step suits it."""
    if suggest_dt is not None:
        _print_advice(suggest_dt, settings, energy_tolerance, as_json)
        return
    if settings or as_json:
        raise InputError("--set and --json need an input to be about: latticemd info --suggest-dt INPUT")
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from rich.console import Console
    from rich.table import Table

    from latticemd.plugins import KINDS, plugin_names

    table = Table(show_header=False, box=None)
    table.add_row("latticemd", __version__)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    for package in ("numpy", "scipy", "numba", "h5py", "pydantic", "torch", "mpi4py", "cupy", "ase"):
        try:
            table.add_row(package, version(package))
        except PackageNotFoundError:
            table.add_row(package, "not installed")
    table.add_row("devices", f"cpu: {_usable_processors()} processors (the only backend yet)")
    for kind in KINDS:
        table.add_row(f"{kind}s", ", ".join(plugin_names(kind)))
    Console().print(table)


@app.command()
def forces(
    input_file: Input,
    positions: Annotated[Path, typer.Option(help="Array Q of shape (N,), (N, D) or (R, N, D), .npy.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz.")],
    settings: Settings = None,
) -> None:
    """Evaluate forces, free energy and density once at given positions."""
    import numpy as np

    from latticemd.build import build_model, build_system, read_positions
    from latticemd.state import State

    run_input = _load(input_file, settings, None)
    x = read_positions(positions, build_model(run_input)[0])
    if output.suffix != ".npz":
        raise InputError(f"--output {output}: expected a file name that ends in .npz")
    system = build_system(run_input, replicas=len(x))
    state = State.at_rest(x)
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    results: dict[str, Any] = {"forces": state.f, "electronic": system.electrons.force, "energy": state.potential}
    if system.capabilities.density:
        results["density"] = system.electrons.density
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        np.savez(output, **results)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {output}: {', '.join(f'{name} {value.shape}' for name, value in results.items())}")


@app.command()
def plot(directory: Annotated[Path, typer.Argument(help="Directory of a run.", show_default=False)]) -> None:
    """Draw the figures of a run or of a minimisation again."""
    if (directory / "minimum.h5").is_file():
        from latticemd.minimization.figure import draw_minimization

        typer.echo(draw_minimization(directory))
        return
    from latticemd.figures import draw_run

    for path in draw_run(directory):
        typer.echo(path)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script: errors of the user end in one message, never in a traceback."""
    try:
        app()
    except LatticeMDError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted: the last checkpoint is intact", err=True)
        sys.exit(130)


def _load(input_file: Path, settings: list[str] | None, output: Path | None) -> Any:
    from latticemd.config import load_input

    changes = list(settings or [])
    if output is not None:
        import json

        changes.append(f"output.directory={json.dumps(str(output))}")
    return load_input(input_file, changes)


def _print_advice(input_file: Path, settings: list[str] | None, energy_tolerance: float, as_json: bool) -> None:
    import dataclasses
    import json
    import math

    from rich.console import Console
    from rich.table import Table

    from latticemd.timestep import suggest_dt

    if not 0.0 < energy_tolerance < 1.0:
        raise InputError(f"--energy-tolerance {energy_tolerance:g}: expected a share of kT > 0 and < 1, such as 0.01")
    advice = suggest_dt(_load(input_file, settings, None), energy_tolerance)
    if as_json:
        plain = dataclasses.asdict(advice)
        for quantity in plain["quantities"]:  # JSON has no infinity
            quantity["value"] = quantity["value"] if math.isfinite(quantity["value"]) else None
        typer.echo(json.dumps(plain, indent=2))
        return
    table = Table("quantity", "value", "", "note")
    for quantity in advice.quantities:
        table.add_row(quantity.name, f"{quantity.value:.4g}", quantity.dimension, quantity.note)
    table.add_section()
    table.add_row("suggested dt", f"{advice.suggested:g}", "time", f"limited by {advice.limited_by}")
    table.add_row("dt of the input", f"{advice.dt:g}", "time", advice.verdict)
    Console().print(table)
    typer.echo(f"measured with {advice.force_calls} force evaluations")


def _usable_processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_summary(summary: dict[str, Any], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    if not summary:
        return
    table = Table(title=summary.get("title") or str(directory), show_header=False, title_justify="left")
    for name in ("steps", "time", "energy", "order_parameter", "local_order", "wall_fraction", "steps_per_second"):
        value = summary.get(name)
        table.add_row(name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value))
    table.add_row("wall seconds", f"{summary['wall_seconds']:.1f} ({summary['force_seconds']:.1f} in the force)")
    table.add_row("digest", summary["digest"][:16])
    Console().print(table)
    picture = directory / "figures" / "summary.png"
    if picture.exists():
        typer.echo(f"look at {picture}")


def _print_minimum(summary: dict[str, Any], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=summary["title"] or str(directory), show_header=False, title_justify="left")
    for name in ("converged", "steps", "energy", "max_force", "order_parameter", "wall_fraction"):
        value = summary[name]
        table.add_row(name.replace("_", " "), f"{value:.10g}" if isinstance(value, float) else str(value))
    table.add_row("wall seconds", f"{summary['wall_seconds']:.1f} ({summary['force_calls']} force calls)")
    table.add_row("digest", summary["digest"][:16])
    Console().print(table)
    typer.echo(f"wrote {directory / 'minimum.h5'}")


def _settings_of(row: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.settings.items())


def _print_bench(rows: list[Any]) -> None:
    import math

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("force field", "s/call", "sites/s", "MiB", "density error", "force error", "note")
    table.columns[0].no_wrap = True
    for row in rows:
        numbers = [row.seconds, row.sites_per_second, row.bytes_needed / 2**20, row.density_error, row.force_error]
        shown = [f"{number:.3g}" if math.isfinite(number) else "" for number in numbers]
        table.add_row(escape(f"{row.name}  {_settings_of(row)}"), *shown, escape(row.note))
    Console().print(table)


if __name__ == "__main__":
    main()
