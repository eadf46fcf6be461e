"""What `test_mpi.py` starts under mpirun: jobs from a JSON file, one after the other, on all ranks.

A job is a call of `latticemd.runner.run`, or the failure of one rank.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.parallel.launch import together
from latticemd.runner import run


def main() -> None:
    with together() as world:
        for job in json.loads(Path(sys.argv[1]).read_text()):
            if "fails" in job:
                if world.rank == job["fails"]:
                    raise InputError("this rank has had enough")
                world.anywhere(False)  # never comes back
            os.chdir(job["workplace"])
            run(load_input(Path(job["input"]), job.get("settings", ())), resume=job.get("resume", False), world=world)


if __name__ == "__main__":
    main()
