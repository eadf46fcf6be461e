"""The checkpoint of a training: all its tensors as safetensors, its numbers as JSON beside them, in one file.

Floats go through JSON to the last bit, and the file is verified by a sha256 before it is believed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticemd.errors import OutputError
from latticemd.learning.trainer import Record, Trainer
from latticemd.output.directory import write_atomically

if TYPE_CHECKING:
    import torch

FORMAT = 1


def write_training(path: Path, trainer: Trainer, about: dict[str, Any]) -> None:
    """Replace the checkpoint at `path`; `about` comes back with it: the resolved input, what the data are."""
    from safetensors.torch import save

    record = json.dumps({"format": FORMAT, "record": dataclasses.asdict(trainer.record), **about})
    content = save({name: value.contiguous() for name, value in trainer.tensors().items()}, {"latticemd": record})
    write_atomically(path, hashlib.sha256(content).hexdigest().encode() + content)


def read_training(path: Path) -> tuple[dict[str, torch.Tensor], Record, dict[str, Any]]:
    """The tensors, the record, and what was kept with them. Raises OutputError where the file is none or is damaged."""
    from safetensors.torch import load

    content = path.read_bytes()
    digest, content = content[:64], content[64:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise OutputError(
            f"{path} is damaged: it does not have the sha256 written with it; start again with --overwrite"
        )
    length = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["latticemd"])
    if about.pop("format") != FORMAT:
        raise OutputError(f"{path} has another format than {FORMAT}; continue with the version that has written it")
    record = Record(**about.pop("record"))
    return load(content), record, about
