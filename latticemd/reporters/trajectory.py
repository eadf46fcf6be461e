"""TrajectoryReporter: per-site fields to the H5MD trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latticemd.models.model import Motion
from latticemd.output.trajectory import TrajectoryWriter
from latticemd.schedules import When
from latticemd.simulation import Frame

# field in the input -> (element in the file, unit where a displacement is a length)
FIELDS = {
    "displacement": ("displacement", "length"),
    "momentum": ("momentum", "mass length/time"),
    "force": ("total_force", "energy/length"),
    "density": ("density", "1"),
    "uncertainty": ("uncertainty", "energy/length"),
}
# and where it is a pure number, such as the direction of a spin
PURE_NUMBERS = {"displacement": "1", "force": "energy", "uncertainty": "energy"}


@dataclass
class TrajectoryReporter:
    """Writes `fields` of every replica as particles/<group>/<element>, and positions that viewers can show.

    A single replica is the group `lattice`, several are `replica_0000`, ... by their global number. Positions are site
    positions with x drawn on top (a scalar as a height), single precision, in the viewer's convention of
    `latticemd.output.h5md`.
    """

    writer: TrajectoryWriter
    when: When
    fields: Sequence[str] = ("displacement", "momentum", "density")
    first_replica: int = 0

    def report(self, frame: Frame) -> None:
        """Append one row per field and replica."""
        share = frame.share
        values = {
            "displacement": frame.positions,
            "momentum": frame.momenta,
            "force": frame.force,
            "density": frame.density,
        }
        if "uncertainty" in self.fields:
            values["uncertainty"] = frame.uncertainty
        shown = {"position": (frame.displaced.astype(np.float32), "Angstrom", "ps")}
        for field in self.fields:
            if field == "density" and not frame.model.electronic:
                continue
            element, unit = FIELDS[field]
            if frame.model.motion is not Motion.DISPLACEMENT:
                unit = PURE_NUMBERS.get(field, unit)
            shown[element] = values[field], unit, "time"
        for element, (value, unit, time_unit) in shown.items():
            for replica, row in share.streams(value):
                group = group_name(self.first_replica + replica, share.partition.replicas)
                self.writer.append(f"{group}/{element}", frame.step, frame.time, row, unit, time_unit)


def group_name(replica: int, replicas: int) -> str:
    """The particle group of a replica."""
    return "particles/lattice" if replicas == 1 else f"particles/replica_{replica:04d}"
