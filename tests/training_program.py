"""What `test_training_ranks.py` starts on several ranks: trainings of its input from a JSON file, one after the other.

With `fails`, that rank has an error in the middle of the last of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from networks import register_networks

from latticemd.config import load_training
from latticemd.errors import InputError
from latticemd.learning.runner import train
from latticemd.learning.trainer import Trainer
from latticemd.parallel.launch import together


def main() -> None:
    register_networks()
    with together(learning=True) as world:
        for job in json.loads(Path(sys.argv[1]).read_text()):
            if job.get("fails") == world.rank:
                Trainer.validate = fail
            train(load_training("train.yaml", job["settings"]), resume=job.get("resume", False), world=world)


def fail(_):
    raise InputError("this rank has had enough")


if __name__ == "__main__":
    main()
