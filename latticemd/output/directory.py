"""The directory of one run: who may write in it, which files it holds, and how a file is replaced in one step.

HDF5 is not needed here, so a command can refuse an unusable directory before anything expensive is imported.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latticemd.errors import OutputError, StoppedEarly

log = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_FIGURES = {".png", ".pdf", ".svg", ".gif", ".mp4"}


class RunDirectory:
    """Exclusive use of a directory for one run.

    ==========================  ====================================================================
    property                    what it names
    ==========================  ====================================================================
    `trajectory`                trajectory.h5: H5MD, see `latticemd.output.trajectory`
    `segments`                  segments/: rows of an unfinished trajectory; trajectory.h5 needs them
    `checkpoint`                checkpoint.h5: the state the run continues from
    `previous_checkpoint`       checkpoint_previous.h5: the one before, should the last be damaged
    `diverged`, `last_good`     diverged.h5 and last_good.h5: the state of a run that left the finite numbers, and the
                                last one before
    `minimum`                   minimum.h5: the configuration a minimisation has reached
    `uncertain`                 uncertain.h5: states worth labelling, of a run with `stop_when`
    `input`                     input.yaml: the resolved input, itself runnable
    `log`, `summary`            run.log and summary.json
    `figures`                   figures/
    `analysis`                  analysis/: what `latticemd analyze` made of the run
    ==========================  ====================================================================

    Use it as a context manager, and enter it only once the input has been validated: with `overwrite` the files of
    the previous run are removed on entering. Files that no run writes are never touched; input.yaml stays until the new
    run replaces it, since it may be the very file the user started from.

    Raises `OutputError` on entering when the path cannot be written, another process uses it, it holds a run and
    neither `overwrite` nor `resume` is set, or there is nothing to resume. The lock is an flock, which the kernel drops
    when the process dies; it also holds between the nodes of a Linux NFS mount. A file system without locks gives a
    warning.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        if overwrite and resume:
            raise OutputError("--resume continues a run and --overwrite replaces it: give one of them")
        self.path = Path(path)
        self._overwrite = overwrite
        self._resume = resume
        self._lock: int | None = None

        self.trajectory = self.path / "trajectory.h5"
        self.segments = self.path / "segments"
        self.checkpoint = self.path / "checkpoint.h5"
        self.previous_checkpoint = self.path / "checkpoint_previous.h5"
        self.diverged = self.path / "diverged.h5"
        self.last_good = self.path / "last_good.h5"
        self.minimum = self.path / "minimum.h5"
        self.uncertain = self.path / "uncertain.h5"
        self.input = self.path / "input.yaml"
        self.log = self.path / "run.log"
        self.summary = self.path / "summary.json"
        self.figures = self.path / "figures"
        self.analysis = self.path / "analysis"

    def removes(self, path: Path) -> bool:
        """Whether entering with `overwrite` removes this file, so that it cannot be what the new run starts from."""
        parts = path.parent.resolve() == self.segments.resolve() and path.suffix == ".h5"
        return self._overwrite and (parts or path.resolve() in {file.resolve() for file in self._files()})

    def forget_earlier_end(self) -> None:
        """Remove what says how an earlier attempt ended, now that this run goes on."""
        for file in (self.summary, self.diverged, self.last_good):
            file.unlink(missing_ok=True)

    def __enter__(self) -> RunDirectory:
        self._lock = locked_directory(self.path)
        try:
            self._admit()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            unlock_directory(self.path, self._lock)
            self._lock = None

    def _files(self) -> list[Path]:
        return [
            self.trajectory,
            self.checkpoint,
            self.previous_checkpoint,
            self.diverged,
            self.last_good,
            self.minimum,
            self.uncertain,
            self.input,
            self.log,
            self.summary,
        ]

    def _admit(self) -> None:
        """Refuse the directory, or remove what a previous run or a kill has left and this run must not meet."""
        files = self._files()
        ours = {*files, self.segments, self.figures}
        partial = {_partial(file) for file in files}
        present = set(self.path.iterdir()) - {self.path / ".lock"}
        if self._resume:
            if not present & {self.checkpoint, self.previous_checkpoint}:
                raise OutputError(f"{self.path} holds no run to resume: it has no checkpoint.h5; run without --resume")
        elif present and not self._overwrite:
            if present & ours:
                held = "a minimum; use" if self.minimum in present else "a run; use --resume to continue it,"
                raise OutputError(
                    f"{self.path} already holds {held} --overwrite to replace it, or --output for another directory"
                )
            if present - partial:
                raise OutputError(
                    f"{self.path} is not empty, though it holds no run; use --output for another directory, "
                    "or --overwrite to write beside its files (they are kept)"
                )
        for file in partial & present:
            file.unlink()
        if self._overwrite:
            for file in set(files) - {self.input}:
                file.unlink(missing_ok=True)
            remove_files(self.segments, {".h5"})
            remove_files(self.figures, _FIGURES)
            remove_files(self.analysis / "figures", _FIGURES)
            remove_files(self.analysis, {".h5", ".csv"})


def locked_directory(path: Path) -> int:
    """Make a directory where there is none and lock it; the lock, for `unlock_directory`. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        return _locked(path / ".lock")
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"output {path} is or lies below a file; use --output for another directory") from error
    except OSError as error:
        raise OutputError(
            f"output directory {path} cannot be written: {error.strerror}; use --output for another directory"
        ) from error


def unlock_directory(path: Path, lock: int) -> None:
    """Let others use the directory."""
    (path / ".lock").unlink(missing_ok=True)
    os.close(lock)


def remove_files(folder: Path, suffixes: set[str]) -> None:
    """Delete the files of `folder` that end in one of `suffixes`, and the folder itself if nothing else is in it."""
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix in suffixes:
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file beside `path`; once it is written, it takes the place of `path` in one step.

    A reader, and a process started after a kill, sees the old file or the new one, complete. After an exception the
    temporary file is removed and the old file stays. Raises `StoppedEarly` when the disk is full.

    On NFS the replacement is atomic on the server; another node may see the old file for some seconds more.
    """
    temporary = _partial(path)
    with stopping_when_full(path, path.parent):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; see `replace_atomically`."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)


def fsync_directory(path: Path) -> None:
    """Make names created or replaced in `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot, and order names by themselves
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def stopping_when_full(path: Path, directory: Path) -> Iterator[None]:
    """Turn "no space left", "quota exceeded" and "file too large" into `StoppedEarly` with what to do about it.

    `path` is being written, by the run in `directory`.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _errno(error)
        if number not in _FULL:
            raise
        checkpoint = directory / "checkpoint.h5"
        advice = (
            f"the last checkpoint {checkpoint} is intact; free space and run with --resume"
            if checkpoint.exists()
            else "no checkpoint was written yet; free space and start again with --overwrite"
        )
        raise StoppedEarly(f"disk full ({os.strerror(number)}) at {path}; {advice}") from error


def _errno(error: OSError | RuntimeError) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    # HDF5 has the cause of a failed close in its message only.
    reported = re.search(r"errno = (\d+)", str(error))
    return int(reported[1]) if reported else None


def _partial(path: Path) -> Path:
    # One name per file, not a random one: what a killed process left is overwritten by the next.
    return path.with_name(f".{path.name}.partial")


def _locked(path: Path) -> int:
    """An open descriptor of `path` that holds its exclusive lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
                raise OutputError(
                    f"{path.parent} is in use by {holder}; wait for it, or use --output for another directory"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS_HERE:
                    raise
                log.warning("%s: this file system has no locks; start no second run in this directory", path.parent)
            if _same_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    """False if the previous holder removed the file between our opening and locking it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
