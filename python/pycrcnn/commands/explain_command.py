"""The command ``pycrcnn explain``: the plan of a program, and what it takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pycrcnn.program import InteractiveProgram, Program

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("program", type=Path, help="the server's file (or folder) of `pycrcnn compile`")
    parser.add_argument("--json", type=Path, help="write the plan to this file as well")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    kind = InteractiveProgram if arguments.program.is_dir() else Program
    explanation = kind.load(arguments.program).explain()
    print(explanation)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(explanation.as_dict(), indent=1) + "\n")
    return 0
