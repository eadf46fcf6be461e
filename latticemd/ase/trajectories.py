"""Trajectories of runs as atoms, and atoms as trajectories, for `ase.io` (format "latticemd")."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from latticemd.ase.calculator import LatticeCalculator
from latticemd.ase.sites import Sites
from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.model import Array, Motion
from latticemd.output.directory import write_atomically
from latticemd.output.h5md import Element, open_file, write_header, write_layout
from latticemd.output.header import header_of
from latticemd.output.trajectory import Trajectory, read_trajectory
from latticemd.reporters.trajectory import FIELDS, group_name


def read_latticemd(filename: str, index: int | slice = -1, replica: int = 0) -> Iterator[Atoms]:
    """Frames of a trajectory as atoms (`latticemd.ase.atoms_of`), with what is stored of each.

    =============================  =====================================================================================
    of the atoms                   is there
    =============================  =====================================================================================
    positions, moments, charges    always; from single-precision positions where output.fields had no displacement
    momenta                        where output.fields had momentum
    arrays["density"]              where output.fields had density
    calc, with forces and energy   where output.fields had force, and the free energy was measured at the step
    info["step"], info["time"]     always
    =============================  =====================================================================================

    `replica` counts from 0 among those of the file. Raises InputError where it has no frames of it.
    """
    with read_trajectory(filename) as trajectory:
        about = trajectory.attributes
        group = _group(trajectory, filename, replica)
        sites = _sites(about)
        steps, times = trajectory.steps(f"{group}/position"), trajectory.times(f"{group}/position")
        rows = range(len(steps))[index] if isinstance(index, slice) else [range(len(steps))[index]]
        for row in rows:
            atoms = _frame(trajectory, group, sites, row)
            atoms.info |= {"step": int(steps[row]), "time": float(times[row])}
            results = _results(trajectory, group, sites, row, replica)
            if results:
                atoms.calc = SinglePointCalculator(atoms, **results)
            yield atoms


def write_latticemd(filename: str, images: Sequence[Atoms]) -> None:
    """Write atoms with a `LatticeCalculator` as a trajectory of displacements and momenta, one row per image.

    Steps and times are those of info["step"] and info["time"] where every image has them, otherwise 0, 1, 2, ... A run
    starts from such a file with initial: {kind: file, path: FILE.h5}. Nothing is evaluated. Raises InputError for atoms
    with another calculator, since only a model says what stands for x.
    """
    calculator = images[0].calc if images else None
    if not isinstance(calculator, LatticeCalculator):
        raise InputError(f"{filename}: a trajectory needs atoms whose calculator is a LatticeCalculator, for its model")
    model, sites = calculator.model, Sites.of(calculator.model)
    group = group_name(0, 1)
    counted = all({"step", "time"} <= atoms.info.keys() for atoms in images)
    steps = [atoms.info["step"] if counted else k for k, atoms in enumerate(images)]
    times = [atoms.info["time"] if counted else float(k) for k, atoms in enumerate(images)]
    x, p = (np.concatenate([of(atoms) for atoms in images]) for of in (sites.configuration, sites.momenta))
    unit = "length" if sites.motion is Motion.DISPLACEMENT else "1"
    values = {
        "displacement": (x, unit, "time"),
        "momentum": (p, FIELDS["momentum"][1], "time"),
        "position": (model.displaced(x).astype(np.float32), "Angstrom", "ps"),
    }
    header = header_of(model, type(model).__name__, 1, {})
    edges = np.broadcast_to(np.array(header.box), (len(images), *np.shape(header.box)))
    values["box/edges"] = (edges, "Angstrom", "ps")
    buffer = io.BytesIO()
    with open_file(buffer) as file:
        write_layout(
            file, {f"{group}/{name}": (Element.of(v[0], *units), len(v)) for name, (v, *units) in values.items()}
        )
        for name, (v, *_) in values.items():
            for column, rows in (("value", v), ("step", steps), ("time", times)):
                file[f"{group}/{name}/{column}"][...] = rows
        write_header(file, header)
    write_atomically(Path(filename), buffer.getvalue())


def _group(trajectory: Trajectory, filename: str, replica: int) -> str:
    found = [name.removesuffix("/position") for name in trajectory.elements() if name.endswith("/position")]
    found.sort(key=lambda name: (len(name), name))  # replica_9999 comes before replica_10000
    if not 0 <= replica < len(found):
        raise InputError(f"{filename} has frames of {len(found)} replica(s), so there is no replica {replica}")
    return found[replica]


def _sites(about: dict[str, Any]) -> Sites:
    model = json.loads(about["model"])
    lattice = Lattice.from_dict(json.loads(about["lattice"]))
    return Sites(lattice, Motion(model["motion"]), tuple(model["axes"]), model["mass"])


def _frame(trajectory: Trajectory, group: str, sites: Sites, row: int) -> Atoms:
    def stored(name: str) -> Array | None:
        element = f"{group}/{name}"
        return trajectory.value(element)[row] if element in trajectory.elements() else None

    x, density = stored("displacement"), stored("density")
    if x is None:
        x = (stored("position") - sites.at_rest)[:, list(sites.axes)]
    atoms = sites.atoms(x, stored("momentum"))
    if density is not None:
        atoms.set_array("density", density)
    return atoms


def _results(trajectory: Trajectory, group: str, sites: Sites, row: int, replica: int) -> dict[str, Any]:
    """Forces and energy of a frame, where they are stored."""
    results: dict[str, Any] = {}
    elements = trajectory.elements()
    if f"{group}/total_force" in elements and sites.motion is Motion.DISPLACEMENT:
        results["forces"] = sites.along_axes(trajectory.value(f"{group}/total_force")[row])
    if "observables/free_energy" in elements:
        step = trajectory.steps(f"{group}/position")[row]
        at = np.flatnonzero(trajectory.steps("observables/free_energy") == step)
        if len(at):
            energy = float(trajectory.value("observables/free_energy")[int(at[0])][replica])
            results |= {"energy": energy, "free_energy": energy}
    return results
