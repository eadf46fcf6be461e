"""All that `latticemd evaluate` finds out about a network."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latticemd.errors import InputError
from latticemd.learning.competition import Contestant, compete
from latticemd.learning.evaluation import Evaluator, Sample, SetErrors
from latticemd.learning.evaluation_figure import draw_evaluation
from latticemd.learning.invariants import Invariants, invariants_of
from latticemd.output.summary import write_summary
from latticemd.plugins import load_plugin

log = logging.getLogger("latticemd.learning")


@dataclass(frozen=True)
class Report:
    """Errors by set, what the force keeps, and the network beside other ways to the force (first)."""

    model: Path
    network: str
    parameters: int
    sets: list[SetErrors]
    invariants: Invariants
    contestants: list[Contestant]


def evaluate(model: Path, files: Sequence[Path], against: Sequence[str] = (), output: Path | None = None) -> Report:
    """Evaluate the network in a file on datasets; with `output`, leave evaluation.json and evaluation.png in that directory.

    Symmetries and speed are measured on states of the first dataset. Raises InputError for files that are not what they
    should be, data of another kind of model, or an unknown force field.
    """
    for name in against:
        load_plugin("forcefield", name)
    evaluator = Evaluator(model)
    samples: dict[str, list[Sample]] = {}
    for file in files:
        if str(file) in samples:
            raise InputError(f"{file}: given twice")
        samples[str(file)] = evaluator.samples(file)
    sets = [evaluator.errors(Path(name).stem, each) for name, each in samples.items()]
    first = [sample.trajectory for sample in next(iter(samples.values()))]
    report = Report(
        model=evaluator.path,
        network=evaluator.card.network["name"],
        parameters=evaluator.card.parameters,
        sets=sets,
        invariants=invariants_of(evaluator, first[0].model, first[0].x[:1]),
        contestants=compete(evaluator, first, against),
    )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_summary(output / "evaluation.json", dataclasses.asdict(report))
        title = f"{report.network}, {report.parameters} parameters"
        log.info(
            "wrote %s",
            draw_evaluation(output / "evaluation.png", title, list(zip(sets, samples.values(), strict=True))),
        )
    return report
