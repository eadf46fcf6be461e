"""Ranks as threads also where frames are looked at."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property

from latticemd.parallel.threads import on_ranks
from latticemd.simulation import Frame

__all__ = ["on_ranks"]

# Up to Python 3.11 a cached property has one lock for all frames, which ranks that wait for each other would hold.
for _shared in vars(Frame).values():
    if isinstance(_shared, cached_property):
        _shared.lock = nullcontext()
