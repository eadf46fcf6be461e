"""The Python blocks of every page run as they stand, one after the other, as a reader would type them."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "```python\n" in page.read_text())


def blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the number of its first line."""
    text = page.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in found]


def finished_quench(directory: Path) -> None:
    """What the pages take for granted: `runs/holstein_quench`, here of one step."""
    from latticemd.config import load_input
    from latticemd.runner import run

    settings = ["dynamics.steps=1", "output.every=1", "output.figures=false"]
    run(load_input(ROOT / "inputs/holstein_quench.yaml", [*settings, f"output.directory={directory}"]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").symlink_to(ROOT / "inputs")
    code = blocks(page)
    assert code
    if any("runs/holstein_quench" in block for _, block in code):
        finished_quench(tmp_path / "runs/holstein_quench")
    for extra in ("MDAnalysis", "torch"):
        if any(f"import {extra}" in block for _, block in code):
            pytest.importorskip(extra)
    module = types.ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look up the module they are defined in
    for line, block in code:
        # Blank lines before the block give tracebacks the line numbers of the page.
        exec(compile("\n" * (line - 1) + block, page, "exec"), module.__dict__)
    assert capsys.readouterr().out.count("\n") >= sum(block.count("print(") for _, block in code)


def test_every_picture_comes_from_a_command_and_is_shown():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "tools" / "pictures.py")
    tool = importlib.util.module_from_spec(spec)
    sys.modules["pictures"] = tool
    spec.loader.exec_module(tool)
    del sys.modules["pictures"]
    there = {
        str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.png") if "_build" not in path.parts
    }
    assert there == tool.PICTURES.keys()
    pages = [path.read_text() for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".py")]
    assert [name for name in there if not any(Path(name).name in page for page in pages)] == []
    for picture in tool.PICTURES.values():
        for word in " ".join(picture.commands).split():
            if word.startswith(("tools/", "inputs/", "forcefields/")):
                assert (ROOT / word).is_file(), word


def test_pages_do_not_hide_python_from_this_test():
    fences = re.compile(r"^```(py|python3|pycon|\{code.*)$", re.MULTILINE)
    assert [page.name for page in (ROOT / "docs").rglob("*.md") if fences.search(page.read_text())] == []
    assert {"python.md", "testing.md", "output.md"} <= {page.name for page in PAGES}
