"""The command ``pycrcnn encrypt``: images to ciphertexts."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn.bulk.customer import ask
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.commands import passphrase, read_array
from pycrcnn.errors import InvalidValueError
from pycrcnn.program import ClientProgram, Keys, PublicKey

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("client", type=Path, help="the client's file of `pycrcnn compile`")
    parser.add_argument("keys", type=Path, help="the directory of `pycrcnn keygen`, or a public key's file")
    parser.add_argument("images", type=Path, help=".npy file of images [n, *input_shape], as the network takes")
    parser.add_argument("--output", required=True, help="where the encrypted images go")
    parser.add_argument(
        "--files-of",
        type=int,
        metavar="N",
        help="for `pycrcnn batch`: files of N images under --output, a folder or s3://bucket/prefix, and the key set",
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Encrypt and write."""
    client = ClientProgram.load(arguments.client, arguments.threads)
    path = arguments.keys
    keys = Keys.load(client, path, passphrase()) if path.is_dir() else PublicKey.load(client, path)
    images = read_array(arguments.images)
    if arguments.files_of is None:
        keys.encrypt(images).save(arguments.output)
        return 0
    if isinstance(keys, PublicKey):
        raise InvalidValueError("--files-of: give the directory of `pycrcnn keygen`; the key set goes with the images")
    questions = ask(open_prefix(arguments.output), keys, images, arguments.images.stem, arguments.files_of)
    print(f"{len(questions)} files under {questions[0].keys}")
    return 0
