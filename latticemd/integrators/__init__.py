"""Equations of motion, one step at a time."""

from __future__ import annotations

from latticemd.integrators.integrator import Integrator, is_word, load_integrator

__all__ = ["Integrator", "is_word", "load_integrator"]
