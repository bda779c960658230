"""The command ``pycrcnn decrypt``: encrypted answers to numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pycrcnn.commands import passphrase
from pycrcnn.program import Answer, ClientProgram, Keys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("client", type=Path, help="the client's file of `pycrcnn compile`")
    parser.add_argument("keys", type=Path, help="the directory of `pycrcnn keygen`")
    parser.add_argument("answer", type=Path, help="the file of `pycrcnn run`")
    parser.add_argument("--output", type=Path, required=True, help=".npy file for the answers")
    parser.add_argument(
        "--raw", action="store_true", help="with all digits, noise included: never to be shown to others"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Decrypt and write."""
    keys = Keys.load(ClientProgram.load(arguments.client, arguments.threads), arguments.keys, passphrase())
    decrypt = keys.decrypt_raw if arguments.raw else keys.decrypt
    np.save(arguments.output, decrypt(Answer.load(arguments.answer)), allow_pickle=False)
    return 0
