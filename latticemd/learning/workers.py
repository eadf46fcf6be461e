"""Labelling in several processes or on several ranks: each does some trajectories, and the dataset is the same for any number.

Processes share nothing but the files of finished trajectories. One that fails leaves its trajectory to the caller, who meets
the same error and reports it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from latticemd.errors import LatticeMDError
from latticemd.learning.labelling import Plan, Watch, finish_part, part_files, plan_labels
from latticemd.parallel.comm import Alone

POLL = 0.2  # seconds between looks at what is finished
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def label_in_processes(
    path: Path, overrides: Sequence[str], plan: Plan, workers: int, stop: Callable[[], bool], watch: Watch
) -> None:
    """Make the trajectories of `plan`, which is that of `path` and `overrides`, with this many processes.

    Returns when they are done or `stop()` is true; `label` then does what is missing and puts the dataset together.
    """
    files = part_files(plan)
    missing = [number for number, file in enumerate(files) if not file.exists()]
    context = multiprocessing.get_context("spawn")  # threads of numba and BLAS do not survive a fork
    shares = [missing[first::workers] for first in range(workers)]
    processes = [context.Process(target=_work, args=(str(path), list(overrides), share)) for share in shares if share]
    with _shared_cores(workers):
        for process in processes:
            process.start()
    try:
        while any(process.is_alive() for process in processes) and not stop():
            watch(sum(job.cost for job, file in zip(plan.jobs, files, strict=True) if file.exists()))
            time.sleep(POLL)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def label_on_ranks(plan: Plan, world: Alone, stop: Callable[[], bool], watch: Watch) -> None:
    """Make the trajectories of `plan` on all ranks of a world, each every K-th of them; otherwise as `label_in_processes`."""
    files = part_files(plan)
    for number in range(world.rank, len(plan.jobs), world.size):
        if stop():
            break
        try:
            finish_part(plan, number, stop)
        except LatticeMDError:  # the first rank finds it missing
            continue
        watch(sum(job.cost for job, file in zip(plan.jobs, files, strict=True) if file.exists()))
    world.anywhere(False)  # wait for all


def _work(path: str, overrides: list[str], numbers: list[int]) -> None:
    plan = plan_labels(Path(path), overrides)
    for number in numbers:
        try:
            finish_part(plan, number)
        except LatticeMDError:  # the caller finds it missing
            continue


@contextmanager
def _shared_cores(workers: int) -> Iterator[None]:
    """Processes that start meanwhile compute with their share of the cores, unless the user has said with how many threads."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ours = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, str(max(1, usable // workers))))
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
