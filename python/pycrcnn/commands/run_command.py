"""The command ``pycrcnn run``: the server's part."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn.program import EncryptedImages, EvaluationKeys, Program

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("program", type=Path, help="the server's file of `pycrcnn compile`")
    parser.add_argument("keys", type=Path, help="the client's evaluation.key: its public and evaluation keys")
    parser.add_argument("images", type=Path, help="the file of `pycrcnn encrypt`")
    parser.add_argument("--output", type=Path, required=True, help="where the encrypted answers go")
    parser.add_argument(
        "--bare", action="store_true", help="leave out the re-randomisation that hides the weights from the client"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and write."""
    program = Program.load(arguments.program, arguments.threads)
    keys = EvaluationKeys.load(arguments.keys)
    answer = program.run(EncryptedImages.load(arguments.images), keys)
    (answer if arguments.bare else program.rerandomize(answer, keys)).save(arguments.output)
    return 0
