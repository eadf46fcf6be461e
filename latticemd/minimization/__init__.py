"""Down the free energy to a configuration without forces: `fire` moves a state, `runner` does it in a directory.

`latticemd minimize` is the runner; `progress` and `figure` show it.
"""

from __future__ import annotations

from latticemd.minimization.fire import Fire, largest_force, minimize

__all__ = ["Fire", "largest_force", "minimize"]
