"""The command ``pycrcnn refresh``: between two parts of an interactive program the client squares what it decrypts."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn.commands import passphrase
from pycrcnn.program import Answer, InteractiveClient, InteractiveKeys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("client", type=Path, help="the client's folder of `pycrcnn compile --interactive`")
    parser.add_argument("keys", type=Path, help="the folder of `pycrcnn keygen`")
    parser.add_argument("answer", type=Path, help="the file of `pycrcnn run` on a part before the last")
    parser.add_argument("--stage", type=int, required=True, help="the part that answered, from 1")
    parser.add_argument("--output", type=Path, required=True, help="where the encrypted images for the next part go")
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Decrypt, square, encrypt, write."""
    keys = InteractiveKeys.load(
        InteractiveClient.load(arguments.client, arguments.threads), arguments.keys, passphrase()
    )
    keys.refresh(arguments.stage - 1, Answer.load(arguments.answer)).save(arguments.output)
    return 0
