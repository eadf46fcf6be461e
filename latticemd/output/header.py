"""What a trajectory says about the model it shows, so that other programs can read it without that model."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping

import numpy as np

from latticemd import __version__
from latticemd.models.model import Model
from latticemd.output.h5md import TrajectoryHeader, box_of


def header_of(model: Model, name: str, replicas: int, provenance: Mapping[str, str]) -> TrajectoryHeader:
    """The header of a trajectory of R replicas of a model that inputs call `name`.

    Beside `provenance` it stores the lattice and, of the model, its name and symbol, what kind of variable x is (`motion`),
    along which directions of space its components are drawn (`axes`) and the mass at step 0, or those of all sites.
    """
    edges, boundary = box_of(model.lattice)
    about = {
        "name": name,
        "symbol": model.symbol,
        "motion": model.motion.value,
        "axes": list(model.axes),
        "mass": np.squeeze(model.site_masses()).tolist(),
    }
    return TrajectoryHeader(
        version=__version__,
        author=_user(),
        box=edges,
        boundary=boundary,
        replicas=replicas,
        provenance={"lattice": json.dumps(model.lattice.to_dict()), "model": json.dumps(about), **provenance},
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers often run users that have no name
        return "unknown"
