"""The suite notices the errors of tools/mutations.py, and tests/README.md lists them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOL = [sys.executable, str(ROOT / "tools/mutations.py")]


def test_the_table_of_mutations_is_up_to_date():
    listed = subprocess.run([*TOOL, "--list"], capture_output=True, text=True, check=True).stdout
    assert listed.strip() in (ROOT / "tests/README.md").read_text()
    for line in listed.splitlines():
        _, file, test = (cell.strip(" `") for cell in line.strip("|").split("|"))
        name, _, function = test.partition("::")
        assert (ROOT / file).is_file()
        assert f"def {function}(" in (ROOT / "tests" / name).read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_mutation_is_caught():
    done = subprocess.run(TOOL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
