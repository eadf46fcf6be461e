"""Sphinx configuration."""

import re
from pathlib import Path

from latticemd import __version__

project = "latticemd"
author = "The latticemd developers"
copyright = "2026, The latticemd developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".py": "markdown"}  # scripts under tutorials/ are pages, see `_tutorial_as_page`
exclude_patterns = ["_build", "conf.py", "input_keys.md", "training_keys.md"]  # included by input.md and training.md
default_role = "code"
html_theme = "furo"
html_title = "latticemd"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True}


def _escape_formulas(app, what, name, obj, options, lines):  # type: ignore[no-untyped-def]
    """Docstrings are written to be read in the editor: |phi| and S* are formulas there, not markup."""
    for i, line in enumerate(lines):
        lines[i] = line.replace("|", r"\|").replace("*", r"\*")


def _tutorial_as_page(app, name, source):  # type: ignore[no-untyped-def]
    """A script as a page: its docstring and the comments that begin a line are text, the rest is code, then what it prints."""
    path = Path(app.srcdir, f"{name}.py")
    if not path.is_file():
        return
    docstring, _, script = source[0].removeprefix('"""').partition('"""\n')
    parts = re.split(r"((?:^#(?: .*)?\n)+)", script, flags=re.MULTILINE)
    page = [docstring]
    for code, text in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if code.strip():
            page.append(f"```python\n{code.strip()}\n```")
        page.append(re.sub(r"^# ?", "", text, flags=re.MULTILINE))
    if path.with_suffix(".txt").is_file():
        page.append(f"## What it prints\n\n```{{literalinclude}} {path.stem}.txt\n:language: text\n```")
    page.append(f"{{download}}`The script <{path.name}>`")
    source[0] = "\n\n".join(page)


def setup(app):  # type: ignore[no-untyped-def]
    """Connect the hooks."""
    app.connect("source-read", _tutorial_as_page)
    app.connect("autodoc-process-docstring", _escape_formulas)
