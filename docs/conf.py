"""Sphinx configuration."""

from latticemd import __version__

project = "latticemd"
author = "The latticemd developers"
copyright = "2026, The latticemd developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "input_keys.md", "training_keys.md"]  # included by input.md and training.md
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


def setup(app):  # type: ignore[no-untyped-def]
    """Connect the hook."""
    app.connect("autodoc-process-docstring", _escape_formulas)
