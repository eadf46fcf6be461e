"""The trajectory format as ASE finds it, by the entry point `ase.ioformats`.

ASE loads this module while it is being imported itself, so nothing here may import more of ASE than the class below.
"""

from __future__ import annotations

from ase.utils.plugins import ExternalIOFormat

TRAJECTORY = ExternalIOFormat(
    desc="H5MD trajectory of latticemd", code="+S", module="latticemd.ase.trajectories", glob="*trajectory.h5"
)
