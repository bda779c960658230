"""The command ``pycrcnn keygen``: keys for a program, in three files."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn.commands import PASSPHRASE, passphrase
from pycrcnn.program import ClientProgram, InteractiveClient

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("client", type=Path, help="the client's file (or folder) of `pycrcnn compile`")
    parser.add_argument(
        "--output", type=Path, required=True, help="directory for secret.key, public.key, evaluation.key"
    )
    parser.epilog = f"The secret key is locked under the passphrase in the environment variable {PASSPHRASE}, if any."
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Generate and write the keys."""
    kind = InteractiveClient if arguments.client.is_dir() else ClientProgram
    kind.load(arguments.client, arguments.threads).keygen().save(arguments.output, passphrase())
    return 0
