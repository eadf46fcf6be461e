"""The directory of one training: which files it holds, and who may write in it."""

from __future__ import annotations

from pathlib import Path

from latticemd.errors import OutputError
from latticemd.output.directory import locked_directory, unlock_directory


class TrainingDirectory:
    """Exclusive use of a directory for one training, as a context manager.

    ================  ========================================================================
    property          what it names
    ================  ========================================================================
    `model`           model.safetensors: the network with the best weights so far, and its card
    `checkpoint`      checkpoint.safetensors: what the training continues from
    `history`         history.csv: errors at every validation
    `input`, `log`    train.yaml, the resolved input, and train.log
    `summary`         summary.json: written last, says that nothing is left to do
    `curve`           figures/learning_curve.png
    ================  ========================================================================

    Raises OutputError on entering when another process uses it, when it holds a training and neither `overwrite` nor `resume` is
    set, or when there is nothing to resume.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        if overwrite and resume:
            raise OutputError("--resume continues a training and --overwrite replaces it: give one of them")
        self.path = Path(path)
        self._overwrite = overwrite
        self.resumes = resume
        self._lock: int | None = None
        self.model = self.path / "model.safetensors"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.history = self.path / "history.csv"
        self.input = self.path / "train.yaml"
        self.log = self.path / "train.log"
        self.summary = self.path / "summary.json"
        self.curve = self.path / "figures" / "learning_curve.png"

    def __enter__(self) -> TrainingDirectory:
        self._lock = locked_directory(self.path)
        try:
            self._admit()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            unlock_directory(self.path, self._lock)
            self._lock = None

    def _admit(self) -> None:
        files = [self.model, self.checkpoint, self.history, self.input, self.log, self.summary, self.curve]
        if self.resumes:
            if not self.checkpoint.exists():
                raise OutputError(f"{self.path} holds no training to resume: it has no {self.checkpoint.name}")
            return
        if any(file.exists() for file in files) and not self._overwrite:
            raise OutputError(
                f"{self.path} already holds a training; use --resume to continue it, --overwrite to replace it, or "
                "--output for another directory"
            )
        for file in set(files) - {self.input}:
            file.unlink(missing_ok=True)
