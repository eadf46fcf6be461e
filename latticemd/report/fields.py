"""Order fields as a page carries them: a byte for each site, which a small script turns into colours.

    value = (byte - 128) step,     step = max |phi| / 127

so that a value is off by at most step/2, which is 0.4 % of the largest one; byte 0 stands for what is not known.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latticemd.errors import InputError
from latticemd.figures.maps import Map
from latticemd.figures.style import largest_shown
from latticemd.lattice import Lattice
from latticemd.output.frames import Frames

Array = NDArray[Any]

BYTES = 6_600_000  # of all fields of a page: with base64, which turns 3 bytes to 4, a page stays below 10 MB
SIDE = 256  # pixels of a map; sites of a larger square lattice are averaged over blocks
LEVELS, MIDDLE = 127, 128


@dataclass(frozen=True)
class Shape:
    """How the field of a lattice lies on the page.

    ========  ==========================================================================================
    kind      what a byte of a frame stands for
    ========  ==========================================================================================
    pixels    a block of `block` x `block` sites, rows from the top
    polygons  a site, in the order of `Map.shown`
    stripes   a site of a lattice with one direction; each frame is a row, sites of one kind side by side
    ========  ==========================================================================================
    """

    kind: str
    lattice: Lattice
    block: int = 1

    @classmethod
    def of(cls, lattice: Lattice) -> Shape:
        """The shape that suits a lattice."""
        if lattice.directions == 1:
            return cls("stripes", lattice)
        if not Map(lattice).squares:
            return cls("polygons", lattice)
        return cls("pixels", lattice, -(-max(lattice.shape[:2]) // SIDE))

    @property
    def cells(self) -> int:
        """Bytes of a frame."""
        if self.kind == "pixels":
            return int(np.prod([-(-n // self.block) for n in self.lattice.shape[:2]]))
        return self.lattice.sites if self.kind == "stripes" else len(Map(self.lattice).shown)

    def values(self, field: Array) -> Array:
        """The numbers of one frame (cells,) in the order of the page, from the field of all sites (N,)."""
        if self.kind == "stripes":
            kinds = len(self.lattice.cell.basis)
            return field.reshape(-1, kinds).T.ravel()
        shown: Array = Map(self.lattice).values(field)
        return block_means(shown, self.block)[::-1].ravel() if self.kind == "pixels" else shown

    def described(self) -> dict[str, Any]:
        """What the page needs to draw a frame."""
        about: dict[str, Any] = {"kind": self.kind, "cells": self.cells, "block": self.block}
        if self.kind == "pixels":
            about["columns"] = -(-self.lattice.shape[0] // self.block)
            about["sites"] = list(self.lattice.shape[:2])
        if self.kind == "polygons":
            drawn = Map(self.lattice)
            about["outlines"] = [np.round(outline, 4).tolist() for outline in drawn.outlines]
            about["points"] = np.round(drawn.points, 4).ravel().tolist()
            about["kinds"] = (drawn.shown % len(drawn.outlines)).tolist() if len(drawn.outlines) > 1 else []
        return about


def frames_allowed(needed: int, what: str, runs: int, wanted: int) -> int:
    """How many frames of `needed` bytes fit on a page with so many runs. Raises InputError where not even one does."""
    room = BYTES // (runs * needed)
    if room < 1:
        raise InputError(
            f"a report of {runs} run(s) has room for {BYTES // runs} bytes of each, one frame of {what} takes {needed}: give "
            "fewer runs, or use latticemd movie"
        )
    return min(wanted, room)


def quantised(frames: Frames, chosen: list[int], shape: Shape) -> dict[str, Any]:
    """The order field of the first replica at the chosen frames, read one by one: bytes, their `step` and the end of the colours.

    Memory O(frames x cells).
    """
    values = np.stack([shape.values(frames.order_field(frame)[0]) for frame in chosen])
    step = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-300) / LEVELS
    known = np.isfinite(values)
    levels = np.where(known, np.rint(np.where(known, values, 0.0) / step) + MIDDLE, 0).astype(np.uint8)
    limit = largest_shown(values[-1][known[-1]])
    return {**shape.described(), "step": step, "limit": limit, "bytes": packed(levels.tobytes())}


def packed(content: bytes) -> str:
    """Bytes as text that the page unpacks."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def block_means(values: Array, block: int) -> Array:
    """Means over blocks of block x block values (rows, columns); those at the far edges may be smaller."""
    if block == 1:
        return values
    sums, counts = values, np.ones(values.shape)
    for axis in (0, 1):
        edges = np.arange(0, values.shape[axis], block)
        sums, counts = np.add.reduceat(sums, edges, axis=axis), np.add.reduceat(counts, edges, axis=axis)
    return np.asarray(sums / counts)
