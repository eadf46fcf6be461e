"""Every tutorial runs as it stands, in less than 40 seconds of processor time, and prints what its page says."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parent.parent / "docs" / "tutorials").glob("*.py"))
NEEDS = {"training_an_enn": "torch", "ase_phonons": "ase", "many_ranks": "mpi4py", "on_a_gpu": "numba_cuda"}
SECONDS = 40.0


def words_of(text):
    """A text without its numbers, which may differ in the last digit from machine to machine."""
    return re.sub(r"[-+]?\d[\d.]*(e[-+]?\d+)?", "#", text).split()


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_prints_what_its_page_says(script, tmp_path):
    if script.stem in NEEDS:
        pytest.importorskip(NEEDS[script.stem])
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    if script.stem == "restart_and_verify":  # digests are those of the machine; that they agree is what counts
        assert "equal bytes: True" in done.stdout
        assert "fail" not in done.stdout
    else:
        assert words_of(done.stdout) == words_of(script.with_suffix(".txt").read_text())


def test_every_tutorial_is_in_the_list_and_its_pictures_are_there():
    listed = (TUTORIALS[0].parent / "index.md").read_text()
    for script in TUTORIALS:
        assert f"\n{script.stem}\n" in listed
        for picture in re.findall(r"\{image\} (\S+)", script.read_text()):
            assert (script.parent / picture).is_file()
