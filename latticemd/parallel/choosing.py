"""How the replicas and cells of an input are cut for a number of ranks."""

from __future__ import annotations

import dataclasses
import math

from latticemd.errors import InputError
from latticemd.forcefield import Capabilities, ForceField
from latticemd.models.model import Model, Motion
from latticemd.parallel.partition import Partition, least_surface

_ENOUGH = 48  # cells in a direction beyond which no force field looks further on a larger lattice


def rim_of(model: Model, forcefield: ForceField) -> int | None:
    """Layers of cells that a block needs around it for electronic and classical forces; None where forces need all sites."""
    promised = promises(model, forcefield)
    rim = promised.halo if promised.rim is None else promised.rim
    return None if rim is None else max(1, model.reach, rim)


def promises(model: Model, forcefield: ForceField) -> Capabilities:
    """What a force field promises for one replica, asked without any table of a lattice that is large."""
    lattice = model.lattice
    if max(lattice.shape) > _ENOUGH:
        lattice = lattice.resized([min(n, _ENOUGH) for n in lattice.shape])
    return forcefield.capabilities(dataclasses.replace(model, lattice=lattice), 1)


def chosen_partition(
    model: Model,
    forcefield: ForceField,
    name: str,
    replicas: int,
    ranks: int,
    groups: int | None = None,
    grid: tuple[int, ...] | None = None,
) -> Partition:
    """Replicas first, because they need not talk to each other; then blocks with the least surface, or the work on all sites.

    `groups` and `grid` are the user's wishes. Raises InputError where the ranks cannot be given work that fits.
    """
    rim = rim_of(model, forcefield)
    if grid is not None and groups is None:
        groups = max(1, ranks // math.prod(grid))
    if groups is None:
        groups = ranks if rim is None and ranks <= replicas else math.gcd(ranks, replicas)
    blocks, crew = math.prod(grid) if grid else ranks // groups, 1
    if rim is None and grid is None and promises(model, forcefield).shares_work:
        blocks, crew = 1, blocks
    if groups * blocks * crew != ranks:
        asked = f"parallel: {groups} group(s) of replicas times a grid of {blocks} rank(s) make {groups * blocks}"
        raise InputError(f"{asked}, but {ranks} rank(s) were started; change one of them")
    if blocks > 1:
        _require_blocks(model, name, rim, replicas, ranks)
    return Partition(
        model.lattice, replicas, groups, grid or least_surface(model.lattice.shape, blocks), rim or 0, crew
    )


def _require_blocks(model: Model, name: str, rim: int | None, replicas: int, ranks: int) -> None:
    share = f"replicas alone can be shared, by at most {replicas} rank(s), and {ranks} were started"
    if rim is None:
        raise InputError(
            f"forcefield {name} needs all sites for the force on one: {share}; use fewer ranks, more replicas or a local force "
            "field, such as cavity or window at fixed mu"
        )
    if model.motion is Motion.OCCUPATION:
        raise InputError(f"exchanges of neighbours follow each other all over the lattice: {share}")
