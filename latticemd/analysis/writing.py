"""analysis.h5 and the tables beside it.

======================================  ===============================================================================
in analysis.h5, for each group <n>      what
======================================  ===============================================================================
groups/<n>                              label, runs, samples, lattice (attributes)
groups/<n>/<quantity>/                  time (F,), samples (F, S) or (F, S, K), mean and error (F,) or (F, K), the standard
                                        error over samples; of profiles also coordinate (K,)
groups/<n>/growth/<definition>/         exponent, error, amplitude, start, end, samples (attributes); local_time,
                                        local_slope, local_error (P,)
groups/<n>/collapse/<profile>/          deviation, unscaled, quality (attributes); coordinate (X,), curves (T, X)
groups/<n>/blocks/<quantity>/           time (B,) of blocks, error of the mean from such blocks, and its own error_of_error
groups/<n>/dynamical_structure_factor/  q (K, D) and distance (K,) along the path, omega (W,), mean and error (K, W)
======================================  ===============================================================================

series.csv has means and errors of all numbers over time, growth.csv the growth exponents, averages.csv means over the window of
the growth laws with memory and drift, comparison.csv the groups against the first one. Every dataset has an attribute `unit`, a
dimension word; tables have a column with it, or have it in the head of a column.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from latticemd import __version__
from latticemd.analysis.dynamics import Spectrum
from latticemd.analysis.ensembles import Ensemble
from latticemd.analysis.quantity import Quantity
from latticemd.analysis.statistics import mean_and_error
from latticemd.output.directory import write_atomically

if TYPE_CHECKING:
    from latticemd.analysis.runner import Analysis

LAW = ("exponent", "error", "amplitude", "start", "end", "samples")


def write_analysis(analysis: Analysis, directory: Path) -> list[Path]:
    """Write all files into `directory`, replacing earlier ones, and return their paths."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update({"creator": "latticemd", "version": __version__, "title": analysis.title})
        for n, group in enumerate(analysis.groups):
            _write_group(file.create_group(f"groups/{n}"), group)
    tables = {
        "series.csv": _series(analysis.groups),
        "growth.csv": _growth(analysis.groups),
        "averages.csv": _averages(analysis.groups),
    }
    if analysis.comparisons:
        tables["comparison.csv"] = _comparison(analysis)
    contents = {"analysis.h5": buffer.getvalue(), **{name: _csv(rows) for name, rows in tables.items()}}
    for name, content in contents.items():
        write_atomically(directory / name, content)
    return [directory / name for name in contents]


def _write_group(file: h5py.Group, group: Ensemble) -> None:
    file.attrs.update(
        {
            "label": group.label,
            "runs": [str(path) for path in group.runs],
            "samples": group.samples,
            "lattice": json.dumps(group.lattice.to_dict()),
        }
    )
    for name, quantity in group.quantities.items():
        _write_quantity(file.create_group(name), quantity)
    for definition, law in group.laws.items():
        place = file.create_group(f"growth/{definition}")
        place.attrs.update({name: getattr(law, name) for name in LAW})
        slope = group.slopes[definition]
        _write(place, "local_time", slope.time, "time")
        _write(place, "local_slope", slope.slope, "1")
        _write(place, "local_error", slope.error, "1")
    for name, average in group.averages.items():
        place = file.create_group(f"blocks/{name}")
        time, error, doubt = average.blocks
        _write(place, "time", time, "time")
        _write(place, "error", error, group.quantities[name].unit)
        _write(place, "error_of_error", doubt, group.quantities[name].unit)
    if group.spectrum is not None:
        _write_spectrum(file.create_group("dynamical_structure_factor"), group.spectrum)
    for name, collapse in group.collapses.items():
        place = file.create_group(f"collapse/{name}")
        place.attrs.update(
            {"deviation": collapse.deviation, "unscaled": collapse.unscaled, "quality": collapse.quality}
        )
        _write(place, "coordinate", collapse.coordinate, "1")
        _write(place, "curves", collapse.curves, "1")


def _write_spectrum(file: h5py.Group, spectrum: Spectrum) -> None:
    file.attrs["corners"] = json.dumps(spectrum.path.corners)
    _write(file, "q", spectrum.path.q, "1/length")
    _write(file, "distance", spectrum.path.distance, "1/length")
    _write(file, "omega", spectrum.omega, "1/time")
    for name, values in zip(("mean", "error"), mean_and_error(spectrum.values[None]), strict=True):
        _write(file, name, values[0], "length^2 time")


def _write_quantity(file: h5py.Group, quantity: Quantity) -> None:
    mean, error = quantity.mean_and_error()
    _write(file, "time", quantity.time, "time")
    for name, values in (("samples", quantity.values), ("mean", mean), ("error", error)):
        _write(file, name, values, quantity.unit)
    if quantity.coordinate is not None:
        _write(file, "coordinate", quantity.coordinate, quantity.coordinate_unit)


def _write(file: h5py.Group, name: str, values: Any, unit: str) -> None:
    file.create_dataset(name, data=values, track_times=False).attrs["unit"] = unit


def _series(groups: Sequence[Ensemble]) -> Iterable[Sequence[Any]]:
    yield "group", "quantity", "unit", "time [time]", "mean", "standard error", "samples"
    for group in groups:
        for name, quantity in group.quantities.items():
            if quantity.coordinate is None:
                for row in zip(quantity.time, *quantity.mean_and_error(), strict=True):
                    yield group.label, name, quantity.unit, *map(_number, row), quantity.samples


def _growth(groups: Sequence[Ensemble]) -> Iterable[Sequence[Any]]:
    yield "group", "length", "exponent", "standard error", "start [time]", "end [time]", "samples"
    for group in groups:
        for definition, law in group.laws.items():
            yield (
                group.label,
                definition,
                *map(_number, (law.exponent, law.error, law.start, law.end)),
                law.samples,
            )


def _averages(groups: Sequence[Ensemble]) -> Iterable[Sequence[Any]]:
    yield (
        *(
            "group",
            "quantity",
            "unit",
            "mean",
            "standard error",
            "block error",
            "autocorrelation time [time]",
            "its error",
        ),
        *("independent values", "drift in standard errors"),
    )
    for group in groups:
        for name, one in group.averages.items():
            numbers = (
                one.mean,
                one.error,
                one.block_error,
                one.memory,
                one.memory_error,
                one.independent,
                one.drift.distance,
            )
            yield group.label, name, group.quantities[name].unit, *map(_number, numbers)


def _comparison(analysis: Analysis) -> Iterable[Sequence[Any]]:
    yield (
        *("first", "second", "quantity", "unit", "time [time]", "mean of first", "mean of second", "difference"),
        *("standard error", "in standard errors", "verdict"),
    )
    for label, rows in analysis.comparisons.items():
        for row in rows:
            apart = row.difference
            numbers = (row.time, apart.first, apart.second, apart.difference, apart.error, apart.distance)
            yield (
                *(analysis.groups[0].label, label, row.quantity, row.unit),
                *(*map(_number, numbers), apart.verdict),
            )


def _number(value: float) -> str:
    return f"{value:.10g}" if np.isfinite(value) else ""


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
