"""The commands `label`, `train` and `evaluate`. Heavy imports happen inside them, as in `latticemd.cli`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from latticemd.options import Input, Settings


def label(
    input_file: Input,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File instead of label.output, .h5.")] = None,
    settings: Settings = None,
    states: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Label the states of this trajectory, such as uncertain.h5; run nothing."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the dataset.")] = False,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that share the trajectories.")] = 1,
) -> None:
    """Run the trajectories under `label` and write their states with electronic forces as a dataset; goes on where it was."""
    from rich.console import Console

    from latticemd.learning.labelling import label as label_trajectories
    from latticemd.learning.labelling import plan_labels, require_free
    from latticemd.learning.progress import Progress
    from latticemd.learning.workers import label_in_processes, label_on_ranks
    from latticemd.parallel.launch import first_alone, together
    from latticemd.runner import noted_signals, plain_logging
    from latticemd.terminal import print_dataset

    changes = list(settings or [])
    if output is not None:
        changes.append(f"label.output={json.dumps(str(output))}")
    if states is not None:
        changes.append(f"label.states={json.dumps(str(states))}")
    with together(learning=True) as world:
        plan = plan_labels(input_file, changes)
        first_alone(world, lambda: require_free(plan, overwrite))
        if world.rank == 0:
            plain_logging()
        console = Console(stderr=True)
        shown = console.is_terminal and world.rank == 0
        progress = Progress("step", plan.cost, console if shown else None)
        with noted_signals() as interrupted:

            def stop() -> bool:
                return bool(interrupted)

            try:
                if world.size > 1:
                    label_on_ranks(plan, world, stop, progress if world.rank == 0 else lambda done: None)
                elif workers > 1:
                    label_in_processes(input_file, changes, plan, workers, stop, progress)
                path = first_alone(
                    world, lambda: label_trajectories(plan, overwrite=overwrite, stop=stop, watch=progress)
                )
            finally:
                progress.close()
        if path is not None:
            print_dataset(path)


def train(
    input_file: Input,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory instead of output.directory.")
    ] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint in the directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training in the directory.")] = False,
    active: Annotated[
        bool, typer.Option("--active", help="Train a committee and let it choose what is labelled next, see active:.")
    ] = False,
) -> None:
    """Train a network on datasets; leaves DIR/model.safetensors, the learning curve and the errors.

    Under torchrun or mpirun all ranks share every batch.
    """
    from rich.console import Console

    from latticemd.config import load_training
    from latticemd.errors import InputError
    from latticemd.learning.active import learn_actively
    from latticemd.learning.runner import train as train_in_directory
    from latticemd.parallel.launch import together
    from latticemd.runner import plain_logging
    from latticemd.terminal import print_active, print_training

    changes = list(settings or [])
    if output is not None:
        changes.append(f"output.directory={json.dumps(str(output))}")
    with together(learning=True) as world:
        train_input = load_training(input_file, changes)
        if active and world.size > 1:
            raise InputError(
                f"--active trains its members one after the other: start it on 1 rank, not on {world.size}"
            )
        if world.rank == 0:
            plain_logging()
        console = Console(stderr=True)
        shown = console if console.is_terminal and world.rank == 0 else None
        if active:
            print_active(learn_actively(train_input, resume=resume, overwrite=overwrite, console=shown))
            return
        summary = train_in_directory(train_input, resume=resume, overwrite=overwrite, console=shown, world=world)
        if world.rank == 0:
            print_training(summary)


def evaluate(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="File of a network.", show_default=False)],
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Datasets.", show_default=False)],
    against: Annotated[
        str, typer.Option(metavar="NAMES", help="Force fields to compare with, such as poles,window,cavity.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory for evaluation.json and evaluation.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
) -> None:
    """Measure a network on datasets: errors and where they are, symmetries, being a gradient, speed beside other ways."""
    from rich.console import Console

    from latticemd.learning.report import evaluate as evaluate_on
    from latticemd.runner import plain_logging
    from latticemd.terminal import print_evaluation, print_json

    plain_logging()
    names = [name.strip() for name in against.split(",") if name.strip()]
    with Console(stderr=True).status("measuring"):
        report = evaluate_on(model_file, data, names, output)
    if as_json:
        print_json(report)
    else:
        print_evaluation(report)
