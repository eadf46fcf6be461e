"""What a run says about itself: did it end well, does its energy close, has it the temperature of its bath, was it warned?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.analysis.quantity import Quantity
from latticemd.analysis.timeseries import FEWEST, stationary_average
from latticemd.build import build_ramp
from latticemd.config import RunInput
from latticemd.errors import InputError
from latticemd.output.directory import RunDirectory
from latticemd.output.frames import Frames
from latticemd.verify import BALANCE_LIMIT

Array = NDArray[Any]

SIGMAS, SLACK = 3.0, 0.02  # a temperature fits within so many standard errors, or to this share: a finite dt shifts it
TOLD = 3  # warnings quoted


@dataclass(frozen=True)
class Verdict:
    """One line: `verdict` is pass, look (worth a look), fail or skip (does not apply), and `note` says why, with numbers."""

    name: str
    verdict: str
    note: str


def verdicts_of(
    place: RunDirectory, run_input: RunInput, frames: Frames, measured: dict[str, Quantity]
) -> list[Verdict]:
    """All that the files of a run tell, and the checks of `latticemd verify` where DIR/verify.json holds them."""
    return [
        _ending(place, run_input, frames),
        _energy(run_input, frames, measured),
        _temperature(run_input, measured),
        _warnings(place.log),
        *_verified(place),
    ]


def _ending(place: RunDirectory, run_input: RunInput, frames: Frames) -> Verdict:
    reached = f"step {frames.steps[-1]} of {run_input.dynamics.steps}"
    if place.diverged.is_file():
        return Verdict("end", "fail", f"left the finite numbers; last frame at {reached}")
    if not place.summary.is_file():
        return Verdict("end", "look", f"not finished: {reached}")
    ended = json.loads(place.summary.read_text(encoding="utf-8")).get("ended", "finished")
    return Verdict("end", "pass" if ended == "finished" else "look", f"{ended}: {reached}")


def _energy(run_input: RunInput, frames: Frames, measured: dict[str, Quantity]) -> Verdict:
    """How far free energy + kinetic energy - heat has moved, as a share of what the bath exchanged or of what K fluctuates."""
    name = "energy balance"
    if frames.ramps:
        return Verdict(name, "skip", f"ramped parameters do work: {', '.join(frames.ramps)}")
    total = measured.get("total_energy", measured.get("free_energy"))
    if total is None:
        return Verdict(name, "skip", "not measured, or this force field gives no energy")
    # What equals the total energy at all times is not kept twice: without a bath nothing else is conserved.
    conserved = measured.get("conserved_energy", total).values
    heat = total.values - conserved
    kinetic = measured["kinetic_energy"].values if "kinetic_energy" in measured else np.zeros_like(conserved)
    scale = max(float(np.abs(heat - heat[0]).max()), float(kinetic.std()))
    moved = float(np.abs(conserved - conserved[0]).max())
    sites = frames.model.lattice.sites
    if not np.isfinite([moved, scale]).all():
        return Verdict(name, "skip", "this force field gives no energy")
    share = moved / scale if scale > 0.0 else 0.0
    note = f"off by {moved / sites:.2g} per site, {100 * share:.2g} % of what is exchanged; limit {100 * BALANCE_LIMIT:g} %"
    return Verdict(name, "pass" if share <= BALANCE_LIMIT else "look", note)


def _temperature(run_input: RunInput, measured: dict[str, Quantity]) -> Verdict:
    """The kinetic temperature over the second half against that of the bath."""
    name = "temperature"
    if "temperature" not in measured:
        return Verdict(name, "skip", "no momenta, or not measured")
    quantity = measured["temperature"]
    late = quantity.time >= 0.5 * (quantity.time[0] + quantity.time[-1])
    gaps = np.diff(quantity.time[late])
    if late.sum() < FEWEST or np.ptp(gaps) > 1e-6 * gaps.mean():
        return Verdict(name, "skip", f"an average needs {FEWEST} evenly spaced values in the second half")
    average = stationary_average(quantity.values[late], float(gaps.mean()))
    told = f"kT = {average.mean:.4g} ± {average.error:.1g} over the second half"
    bath = build_ramp(run_input.dynamics.temperature)
    first = int(np.rint(quantity.time[late][0] / run_input.dynamics.dt))
    ends = bath(first), bath(run_input.dynamics.steps)
    if ends[0] != ends[1]:
        return Verdict(name, "skip", f"{told}; the bath goes from {ends[0]:.4g} to {ends[1]:.4g} meanwhile")
    if "conserved_energy" not in measured:
        return Verdict(name, "skip", f"{told}; there is no bath")
    apart = abs(average.mean - ends[0])
    fits = apart <= max(SIGMAS * average.error, SLACK * ends[0])
    return Verdict(name, "pass" if fits else "look", f"{told}; bath {ends[0]:.4g}")


def _warnings(log: Path) -> Verdict:
    if not log.is_file():
        return Verdict("warnings", "skip", "no run.log")
    lines = [line.split(maxsplit=3) for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = [line[3] for line in lines if len(line) == 4 and line[2] in ("WARNING", "ERROR")]
    distinct = list(dict.fromkeys(found))
    if not distinct:
        return Verdict("warnings", "pass", "none")
    more = f"; and {len(distinct) - TOLD} more" if len(distinct) > TOLD else ""
    return Verdict("warnings", "look", "; ".join(distinct[:TOLD]) + more)


def _verified(place: RunDirectory) -> list[Verdict]:
    """The checks that `latticemd verify` wrote into DIR/verify.json. Raises InputError where it holds none."""
    path = place.path / "verify.json"
    if not path.is_file():
        return [Verdict("verify", "skip", f"no {path.name}: latticemd verify RUN/input.yaml --output RUN/{path.name}")]
    if place.input.is_file() and path.stat().st_mtime < place.input.stat().st_mtime:
        return [Verdict("verify", "skip", f"{path.name} is older than the run")]
    try:
        checks = json.loads(path.read_text(encoding="utf-8"))
        return [Verdict(f"verify: {one['name']}", one["verdict"], _checked(one)) for one in checks]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no checks of latticemd verify: {error}") from error


def _checked(check: dict[str, Any]) -> str:
    if check["value"] is None:
        return str(check["note"])
    limit = "" if check["limit"] is None else f", limit {check['limit']:.2g}"
    note = f"; {check['note']}" if check["note"] else ""
    return f"{check['value']:.2g}{limit}{note}"
