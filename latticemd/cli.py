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
from latticemd.learning.commands import evaluate, label, train
from latticemd.options import Input, Settings, Size, Style

app = typer.Typer(
    name="latticemd",
    help="Molecular-dynamics-style engine for lattice models: classical fields on the free energy of electrons.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    backend: Annotated[str | None, typer.Option(help="cpu or cuda, instead of the key backend.")] = None,
) -> None:
    """Run a simulation and draw its figures; `mpirun -n K latticemd run` shares the work among K ranks."""
    from rich.console import Console

    from latticemd.parallel.launch import together
    from latticemd.runner import output_directory, plain_logging
    from latticemd.runner import run as run_in_directory
    from latticemd.terminal import print_summary

    if backend is not None:
        settings = [*(settings or []), f"backend={backend}"]
    with together() as world:
        run_input = _load(input_file, settings, output, resuming=resume)
        if world.rank == 0:
            plain_logging()
        console = Console(stderr=True)
        summary = run_in_directory(
            run_input,
            resume=resume,
            overwrite=overwrite,
            walltime=walltime,
            console=console if console.is_terminal and world.rank == 0 else None,
            world=world,
        )
        if world.rank == 0:
            print_summary(summary, output_directory(run_input))


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(help="Directory of what is unfinished.", show_default=False)],
    settings: Settings = None,
    walltime: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.0, help="Stop in time.")] = None,
) -> None:
    """Continue the run or training in a directory from its last checkpoint, with the input that is stored there."""
    if (directory / "train.yaml").is_file():
        if walltime is not None:
            raise InputError("--walltime is for runs; a training has the key time_limit")
        train(directory / "train.yaml", directory, settings, resume=True)
        return
    if not (directory / "input.yaml").is_file():
        raise InputError(f"{directory} holds no run: there is no {directory / 'input.yaml'}")
    run(directory / "input.yaml", directory, settings, resume=True, walltime=walltime)


@app.command()
def validate(input_file: Input, settings: Settings = None) -> None:
    """Check an input and print it with all defaults filled in; nothing is run or written."""
    from latticemd.build import build_model, build_propagator

    run_input = _load(input_file, settings, None)
    build_model(run_input)
    build_propagator(run_input)
    typer.echo(run_input.to_yaml(), nl=False)


@app.command()
def verify(
    input_file: Input,
    settings: Settings = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the table, .json or .md; RUN/verify.json is shown by report."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check forces, symmetries, energy, restart and replicas on this very input; exits with 1 if a check fails."""
    from rich.console import Console

    from latticemd.terminal import print_checks, print_json
    from latticemd.verify import require_table, write_checks
    from latticemd.verify import verify as checks_of

    if output is not None:
        require_table(output)
    checks = []
    with Console(stderr=True).status("checking") as status:
        for check in checks_of(_load(input_file, settings, None)):
            checks.append(check)
            status.update(f"done: {check.name}")
    if output is not None:
        write_checks(output, checks)
    if as_json:
        print_json(checks)
    else:
        print_checks(checks)
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
    from latticemd.terminal import print_minimum

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
    print_minimum(summary, directory)
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
    from rich.console import Console

    from latticemd.bench import bench as rows_of
    from latticemd.bench import recommended
    from latticemd.terminal import print_bench, print_json

    rows = []
    with Console(stderr=True).status("measuring") as status:
        for row in rows_of(_load(input_file, settings, None), patience):
            rows.append(row)
            status.update(f"done: {row.title}")
    best = recommended(rows, tolerance)
    if as_json:
        choice = {"name": best.name, **best.settings} if best else None
        print_json({"rows": rows, "tolerance": tolerance, "recommended": choice})
        return
    print_bench(rows)
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
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="INPUT", help="Predict memory, messages and time per step of this input on --ranks ranks."
        ),
    ] = None,
    ranks: Annotated[int, typer.Option(metavar="K", min=1, help="Number of ranks of a plan.")] = 1,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Latency of a message between ranks, for a plan.")
    ] = 2e-6,
    bandwidth: Annotated[
        float, typer.Option(metavar="BYTES", min=1.0, help="Bytes per second between ranks, for a plan.")
    ] = 1e10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the suggestion or plan as JSON.")] = False,
) -> None:
    """Show versions, processors and plug-ins; or, for an input, which time step suits it, or what it costs on many ranks."""
    from latticemd.terminal import print_advice, print_forecast, print_installation, print_json

    if plan is not None:
        from latticemd.parallel.forecast import Network, forecast

        found = forecast(_load(plan, settings, None), ranks, Network(latency, bandwidth))
        if as_json:
            print_json(found)
        else:
            print_forecast(found)
        return
    if suggest_dt is None:
        if settings or as_json:
            raise InputError(
                "--set and --json need an input to be about: latticemd info --suggest-dt INPUT, or --plan INPUT"
            )
        print_installation()
        return
    from latticemd.timestep import suggest_dt as advice_for

    if not 0.0 < energy_tolerance < 1.0:
        raise InputError(f"--energy-tolerance {energy_tolerance:g}: expected a share of kT > 0 and < 1, such as 0.01")
    advice = advice_for(_load(suggest_dt, settings, None), energy_tolerance)
    if as_json:
        print_json(advice)
    else:
        print_advice(advice)


@app.command()
def forces(
    input_file: Input,
    positions: Annotated[Path, typer.Option(help="Array Q of shape (N,), (N, D) or (R, N, D), .npy.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz.")],
    settings: Settings = None,
) -> None:
    """Evaluate forces, free energy and density once at given positions."""
    import numpy as np

    from latticemd.backends import on_host
    from latticemd.build import build_model, build_system, placed, read_positions
    from latticemd.state import State

    run_input = _load(input_file, settings, None)
    x = read_positions(positions, build_model(run_input)[0])
    if output.suffix != ".npz":
        raise InputError(f"--output {output}: expected a file name that ends in .npz")
    system = build_system(run_input, replicas=len(x))
    state = placed(run_input, State.at_rest(x))
    system.update_forces(state, 0)
    system.require_bounded(state)
    system.update_potential(state, 0)
    found = {"forces": state.f, "electronic": system.electrons.force, "energy": state.potential}
    if system.capabilities.density:
        found["density"] = system.electrons.density
    results: dict[str, Any] = {name: on_host(value) for name, value in found.items()}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        np.savez(output, **results)
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {output}: {', '.join(f'{name} {value.shape}' for name, value in results.items())}")


@app.command()
def plot(
    directory: Annotated[Path, typer.Argument(help="Directory of it.", show_default=False)],
    style: Style = "light",
    size: Size = "screen",
) -> None:
    """Draw the figures of a run, of a minimisation or of a training again."""
    from latticemd.figures.style import Look

    look = Look(style, size)
    if (directory / "train.yaml").is_file():
        from latticemd.learning.figure import draw_training

        typer.echo(draw_training(directory, look))
        return
    if (directory / "minimum.h5").is_file():
        from latticemd.minimization.figure import draw_minimization

        typer.echo(draw_minimization(directory, look))
        return
    from latticemd.figures import draw_run

    for path in draw_run(directory, look):
        typer.echo(path)


@app.command()
def movie(
    directory: Annotated[Path, typer.Argument(help="Directory of a run.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, .gif or .mp4; else DIR/figures/movie.gif.")
    ] = None,
    frames: Annotated[int, typer.Option(metavar="N", min=2, help="Largest number of frames.")] = 100,
    per_second: Annotated[float, typer.Option("--fps", metavar="N", min=0.1, help="Frames per second.")] = 12.0,
    logarithmic: Annotated[bool, typer.Option("--log", help="Frames evenly in the logarithm of time.")] = False,
    style: Style = "light",
) -> None:
    """Draw the order field over time as a movie."""
    from latticemd.figures.movie import draw_movie
    from latticemd.figures.style import Look

    look = Look(style)
    typer.echo(draw_movie(directory, output, frames=frames, per_second=per_second, logarithmic=logarithmic, look=look))


@app.command()
def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Directories of runs.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, .html; of one run, RUN/report.html.")
    ] = None,
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Largest number of frames of a run.")] = 100,
    style: Annotated[str, typer.Option(metavar="STYLE", help="auto (as the reader's system), light or dark.")] = "auto",
) -> None:
    """Write one HTML file that shows runs side by side: maps over time, charts, checks, settings."""
    from latticemd.report import write_report

    typer.echo(write_report(directories, output, frames=frames, style=style))


@app.command()
def watch(
    directory: Annotated[Path, typer.Argument(help="Directory of a run.", show_default=False)],
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Time between looks.")] = 2.0,
) -> None:
    """Show a running simulation in the terminal; each checkpoint brings new frames."""
    from latticemd.watch import watch as watch_run

    watch_run(directory, interval)


@app.command()
def analyze(
    directories: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Directories of runs.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory for the results; of one run, RUN/analysis.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Key of the input that labels a run, such as forcefield.name; else what differs."
        ),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Compare runs with equal seeds one by one: sees far smaller differences.")
    ] = False,
    spectra: Annotated[
        bool, typer.Option("--spectra", help="Densities of states too, of all sites, at walls and inside domains.")
    ] = False,
    dynamics: Annotated[
        bool, typer.Option("--dynamics", help="S(q, w) too, of the frames between the two times.")
    ] = False,
    start: Annotated[
        float | None,
        typer.Option(
            "--from", metavar="TIME", help="First time of growth laws and averages; else a tenth of the last."
        ),
    ] = None,
    end: Annotated[
        float | None, typer.Option("--to", metavar="TIME", help="Last time of growth laws and averages.")
    ] = None,
    style: Style = "light",
    size: Size = "screen",
) -> None:
    """Measure order, correlations and growth along runs; average runs that repeat each other and compare the others."""
    from latticemd.analysis.runner import analyze as analysis_of
    from latticemd.figures.style import Look
    from latticemd.terminal import print_analysis

    analysis, paths = analysis_of(
        directories,
        output,
        by=by,
        paired=paired,
        spectra=spectra,
        dynamics=dynamics,
        start=start,
        end=end,
        look=Look(style, size),
    )
    print_analysis(analysis)
    for path in paths:
        typer.echo(path)


for command in (label, train, evaluate):
    app.command()(command)


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


def _load(input_file: Path, settings: list[str] | None, output: Path | None, resuming: bool = False) -> Any:
    from latticemd.config import load_input

    changes = list(settings or [])
    if output is not None:
        import json

        changes.append(f"output.directory={json.dumps(str(output))}")
    return load_input(input_file, changes, resuming=resuming)


if __name__ == "__main__":
    main()
