"""The command ``pycrcnn decrypt``: encrypted answers to numbers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from pycrcnn.bulk.customer import read_answers
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.commands import passphrase
from pycrcnn.errors import PyCrCNNError
from pycrcnn.program import Answer, ClientProgram, Keys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("client", type=Path, help="the client's file of `pycrcnn compile`")
    parser.add_argument("keys", type=Path, help="the directory of `pycrcnn keygen`")
    parser.add_argument(
        "answer", help="the file of `pycrcnn run`; or the output of `pycrcnn batch`, a folder or s3://bucket/prefix"
    )
    parser.add_argument("--output", type=Path, required=True, help=".npy file for the answers; or a folder of them")
    parser.add_argument(
        "--raw", action="store_true", help="with all digits, noise included: never to be shown to others"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Decrypt and write."""
    keys = Keys.load(ClientProgram.load(arguments.client, arguments.threads), arguments.keys, passphrase())
    if "://" in arguments.answer or Path(arguments.answer).is_dir():
        return _decrypt_all(keys, arguments)
    decrypt = keys.decrypt_raw if arguments.raw else keys.decrypt
    np.save(arguments.output, decrypt(Answer.load(arguments.answer)), allow_pickle=False)
    return 0


def _decrypt_all(keys: Keys, arguments: argparse.Namespace) -> int:
    arguments.output.mkdir(parents=True, exist_ok=True)
    status = 0
    for name, values in read_answers(open_prefix(arguments.answer), keys, raw=arguments.raw):
        if isinstance(values, PyCrCNNError):
            print(f"pycrcnn: {name}: {values}", file=sys.stderr)
            status = 1
        else:
            np.save(arguments.output / f"{name}.npy", values, allow_pickle=False)
    return status
