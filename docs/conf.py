"""Sphinx: ``sphinx-build -W --keep-going docs target/docs`` builds the documentation; a warning is an error."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
from pathlib import Path
from typing import Any

from pycrcnn import cli

ROOT = Path(__file__).parents[1]

project = "pycrcnn"
author = "The pycrcnn developers"
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "pycrcnn"
suppress_warnings = ["toc.not_included"]  # model cards and results of experiments, where a command has written them

# A reference that leads nowhere is a warning. Types stand in the docstrings, in words, and are no references.
nitpicky = True
default_role = "literal"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "member-order": "bysource"}
numpydoc_show_class_members = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # their outputs are committed; tests execute them

# Pages that stand elsewhere in the repository are read from there.
NOTEBOOKS = Path(__file__).parent / "notebooks"
shutil.rmtree(NOTEBOOKS, ignore_errors=True)
NOTEBOOKS.mkdir()
for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
    shutil.copy(notebook, NOTEBOOKS)


def _commands() -> str:
    """The help of every command, as the command itself prints it."""
    os.environ["COLUMNS"] = "100"
    page = "# Commands\n"
    for name, command in cli._COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"pycrcnn {name}", description=command.help)
        importlib.import_module(command.module).add_arguments(parser)
        page += f"\n## pycrcnn {name}\n\n```text\n{parser.format_help()}```\n"
    return page


(Path(__file__).parent / "reference" / "commands.md").write_text(_commands())

#: Where docstrings mean a name that they do not qualify.
_HOMES = ("pycrcnn.errors", "pycrcnn", "pycrcnn.program", "pycrcnn.viz", "pycrcnn.models")


def _prepare(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Stars of shapes are no emphasis, and sections of a module are no sections of the page that it stands on."""
    lines[:] = [line.replace("[n, *", r"[n, \*") for line in lines]
    if what == "module" and "Examples" in lines:
        at = lines.index("Examples")
        lines[at : at + 2] = [".. rubric:: Examples", ""]


def _resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Look for an unqualified name at home before it is called missing."""
    if node.get("refdomain") != "py":
        return None
    domain, page = env.get_domain("py"), node.get("refdoc", "")
    found = (
        domain.resolve_xref(env, page, app.builder, node["reftype"], f"{home}.{node['reftarget']}", node, content)
        for home in _HOMES
    )
    return next((reference for reference in found if reference is not None), None)


def setup(app: Any) -> None:
    """Connect the above."""
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # before numpydoc
    app.connect("missing-reference", _resolve)
