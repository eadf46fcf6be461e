"""Quenched disorder: numbers that belong to the sites of a lattice once and for all, drawn from a seed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuda_kernels.philox import uniform_pair
from latticemd.lattice import Lattice
from latticemd.rng import Stream

Array = NDArray[Any]


@lru_cache(maxsize=8)
def uniforms(seed: int, stream: Stream, sites: int) -> Array:
    """Independent numbers, uniform in (0, 1), one for each site, (N,); the same for all replicas and steps."""
    words = (np.uint64(seed), np.uint64(stream), np.uint64(0), np.uint64(0), np.uint64(0))
    both = np.stack(uniform_pair(*words, np.arange((sites + 1) // 2, dtype=np.uint64)), axis=1)
    values = both.ravel()[:sites]
    values.setflags(write=False)
    return values


@lru_cache(maxsize=8)
def uniforms_on(seed: int, stream: Stream, lattice: Lattice) -> Array:
    """Those of the sites of a lattice, (N,), which may be a part of a larger one."""
    if lattice.whole is lattice:
        return uniforms(seed, stream, lattice.sites)
    words = (np.uint64(seed), np.uint64(stream), np.uint64(0), np.uint64(0), np.uint64(0))
    even, odd = uniform_pair(*words, (lattice.numbers // 2).astype(np.uint64))
    values = np.where(lattice.numbers % 2, odd, even)
    values.setflags(write=False)
    return values


@lru_cache(maxsize=8)
def vacancies_on(seed: int, share: float, lattice: Lattice) -> Array:
    """Which sites of a lattice are vacant, (N,) of bool; which are so on the whole is a matter of all of its sites."""
    vacant = missing_sites(seed, share, lattice.whole.sites)
    return vacant if lattice.whole is lattice else vacant[lattice.numbers]


@lru_cache(maxsize=8)
def neighbours_there(seed: int, share: float, lattice: Lattice) -> Array:
    """The table `Lattice.neighbours` (N, z) without vacant sites: -1 in their places, and all along their own rows."""
    table, vacant = lattice.neighbours(), vacancies_on(seed, share, lattice)
    there: Array = np.where((table < 0) | vacant[table] | vacant[:, None], -1, table)
    there.setflags(write=False)
    return there


@lru_cache(maxsize=8)
def missing_sites(seed: int, share: float, sites: int) -> Array:
    """Which sites are vacant, (N,) of bool: exactly round(share N) of them."""
    vacant = np.zeros(sites, dtype=bool)
    vacant[np.argsort(uniforms(seed, Stream.VACANCIES, sites), kind="stable")[: round(share * sites)]] = True
    vacant.setflags(write=False)
    return vacant
