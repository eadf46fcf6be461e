"""Equations of motion, one step at a time."""

from __future__ import annotations

from latticemd.integrators.catalogue import is_word, load_integrator
from latticemd.integrators.integrator import Integrator

__all__ = ["Integrator", "is_word", "load_integrator"]
