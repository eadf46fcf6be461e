"""How ranks begin and end together."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from latticemd.errors import InputError, LatticeMDError
from latticemd.parallel.comm import Alone, Mpi
from latticemd.parallel.distributed import Torchrun

T = TypeVar("T")

# Where starters of MPI programs say how many ranks there are: Open MPI, MPICH and Intel MPI, MVAPICH, Slurm's srun.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_TORCHRUN = "TORCHELASTIC_RUN_ID"  # which torchrun alone gives; its WORLD_SIZE and RANK count however torchrun itself was started
PATIENCE = 3.0  # seconds that a rank with an error waits for others to have one too


def ranks_started() -> int:
    """How many ranks this process was started with, by torchrun, mpirun or the like; 1 without it."""
    names = ("WORLD_SIZE",) if _TORCHRUN in os.environ else _SIZES
    return max((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), default=1)


def started_first() -> bool:
    """Whether this process is the first rank, as far as is known before anybody is asked."""
    names = ("RANK",) if _TORCHRUN in os.environ else _RANKS
    return all(os.environ.get(name, "0") == "0" for name in names)


def world(*, learning: bool = False) -> Alone:
    """All ranks. Raises InputError where several were started and cannot talk to each other.

    torchrun starts ranks for what `learning` does, which needs no messages between single ranks.
    """
    ranks = ranks_started()
    if ranks == 1:
        return Alone()
    if _TORCHRUN in os.environ:
        if not learning:
            raise InputError(
                f"torchrun is for latticemd train and latticemd label; start this command with mpirun -n {ranks} instead"
            )
        return Torchrun()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"{ranks} ranks were started, but they cannot talk to each other ({error}): needs pip install 'latticemd[mpi]', "
            "or mpi4py built for the MPI of this machine"
        ) from error
    found = MPI.COMM_WORLD.Get_size()
    if found != ranks:
        raise InputError(
            f"{ranks} ranks were started, but mpi4py sees {found}: it is built for another MPI than the one of this mpirun; "
            "start with the mpirun that belongs to it"
        )
    return Mpi(MPI.COMM_WORLD.Dup())


@contextmanager
def together(*, learning: bool = False) -> Iterator[Alone]:
    """All ranks, which leave together: an error that all of them have is raised once, by the first; one that a single rank has
    ends all others, with its message and its exit code. For `learning` see `world`.
    """
    try:
        everybody = world(learning=learning)
    except InputError:
        if not started_first():
            time.sleep(PATIENCE)  # who leaves first ends the others: the one that says why shall have said it
            sys.exit(InputError.exit_code)
        raise
    if not isinstance(everybody, Mpi | Torchrun):
        yield everybody
        return
    here = everybody.part(0)
    if everybody.rank:  # the first one says it all
        logging.getLogger("latticemd").addHandler(logging.NullHandler())
        logging.getLogger("latticemd").propagate = False
    try:
        yield everybody
    except BaseException as error:
        code = _exit_code(error)
        if not here.met(PATIENCE):
            print(f"error on rank {everybody.rank}: {_words(error)}", file=sys.stderr, flush=True)
            here.end_all(code)
        here.wait()  # one that has lost its patience does not come: its end may have been the error of the others
        if everybody.rank == 0:
            print(f"error: {_words(error)}", file=sys.stderr, flush=True)
        here.wait()  # whoever has started us ends all others when the first one leaves, also one that has not spoken yet
        sys.exit(code)


def first_alone(everybody: Alone, action: Callable[[], T]) -> T | None:
    """What the first rank gets from an action that it alone takes; an error of its user is one of all ranks."""
    result, problem = None, None
    if everybody.rank == 0:
        try:
            result = action()
        except LatticeMDError as error:
            problem = error
    problem = everybody.told(problem)
    if problem is not None:
        raise problem
    return result


def first_enters(everybody: Alone, stack: ExitStack, context: Callable[[], AbstractContextManager[T]]) -> T | None:
    """Let the first rank alone enter a context, for as long as the stack lasts; the others get nothing."""
    return first_alone(everybody, lambda: stack.enter_context(context()))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, LatticeMDError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 1


def _words(error: BaseException) -> str:
    if isinstance(error, LatticeMDError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: the last checkpoint is intact"
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()
