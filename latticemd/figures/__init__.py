"""Figures of a run, drawn from the files it left: order in space, time series, structure factor, and a summary."""

from __future__ import annotations

from latticemd.figures.pages import draw_run
from latticemd.figures.reading import Run, read_run

__all__ = ["Run", "draw_run", "read_run"]
