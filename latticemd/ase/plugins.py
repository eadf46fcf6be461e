"""The calculators as ASE's next plug-in system finds it, by the entry point `ase.plugins`."""

from __future__ import annotations

from typing import Any


def _plugins() -> set[Any]:
    """The calculators in the words of that system; none where this version of ASE has another one."""
    try:
        from ase._4.plugins.plugin import CalculatorPlugin

        return {
            CalculatorPlugin("latticemd", implementation="latticemd.ase.calculator.LatticeCalculator"),
            CalculatorPlugin("latticemd_points", implementation="latticemd.ase.points.PointCalculator"),
        }
    except (ImportError, TypeError):  # a private module as yet, which must not break ASE when it changes
        return set()


__ase_plugins__ = _plugins()
