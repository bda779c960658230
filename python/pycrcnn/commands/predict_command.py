"""The command ``pycrcnn predict``: classes of images, from a service that does not see them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.commands import PASSPHRASE, passphrase, read_array
from pycrcnn.errors import InvalidValueError, MissingPackageError, ShapeError
from pycrcnn.program.client import Keys
from pycrcnn.service import Client, Description, Offer, Transfer

__all__ = ["add_arguments", "run"]

#: Where the API key is looked for, so that no command line shows it.
API_KEY = "PYCRCNN_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "images", type=Path, nargs="+", help="image files (Pillow reads them), or .npy files of one image or several"
    )
    parser.add_argument("--url", required=True, help="the service's address, such as https://host:8000")
    parser.add_argument("--model", help="the model's name; not needed where there is one only")
    parser.add_argument(
        "--layout", choices=("packed", "batched", "per-value"), help="default: whichever answers sooner"
    )
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="ask a model that is too deep for one modulus part by part: between two parts this machine decrypts, "
        "squares and encrypts again",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        help=f"directory of keys, made and saved there if there are none; locked if {PASSPHRASE} is set",
    )
    parser.add_argument("--ca", type=Path, help="certificates (PEM) that the service's must be signed by")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that a request may take (default: 60)")
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")
    parser.add_argument(
        "--verbose", dest="details", action="store_true", help="show what travelled and what took how long"
    )
    parser.epilog = f"An API key is taken from the environment variable {API_KEY}."


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print a line for each image."""
    start = time.perf_counter()
    options = {"layout": arguments.layout, "ca": arguments.ca, "timeout": arguments.timeout}
    key = os.environ.get(API_KEY) or None
    with Client(arguments.url, arguments.model, api_key=key, threads=arguments.threads, **options) as client:
        description = client.description
        named = [pair for path in arguments.images for pair in _images(path, description)]
        images = np.array([image for _, image in named])
        if arguments.keys is not None:
            offers = client.conversation() if arguments.interactive else (client.offer(len(images)),)
            for offer in offers:
                _keys(client, arguments.keys, offer)
        answers = client.converse(images) if arguments.interactive else client.predict(images)
        for (name, _), answer in zip(named, answers, strict=True):
            print(f"{name}  {_shown(answer, description)}")
        seconds = time.perf_counter() - start
        print(f"{len(images)} image{'s' if len(images) > 1 else ''} in {seconds:.2f} s, encrypted throughout")
        if arguments.details:
            print("\n".join(_details(client.transfer)))
    return 0


def _keys(client: Client, directory: Path, offer: Offer) -> None:
    """Keys from a directory, or fresh ones that are saved there."""
    own = directory / offer.id[:16]
    if own.is_dir():
        client.use(Keys.load(client.program(offer), own, passphrase()))
    else:
        client.keys(offer).save(own, passphrase())


def _images(path: Path, description: Description) -> list[tuple[str, NDArray[np.float64]]]:
    """The images of a file, each with a name, as the model takes them."""
    shape = description.input_shape
    if path.suffix == ".npy":
        array = read_array(path)
        whole_numbers = array.dtype.kind in "bu"
        shaped = array.reshape(-1, *shape) if array.size and array.size % int(np.prod(shape)) == 0 else None
        if shaped is None:
            raise ShapeError(f"{path}: an array of images {list(shape)} is needed, got {list(array.shape)}")
        images = _pixels(shaped, description) if whole_numbers else shaped.astype(np.float64)
        names = [str(path)] if len(images) == 1 else [f"{path}[{i}]" for i in range(len(images))]
        return list(zip(names, images, strict=True))
    return [(str(path), _pixels(_picture(path, shape), description))]


def _picture(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Grey values or colours of a picture, ``[channels, height, width]``."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError(
            "reading pictures needs Pillow: pip install 'pycrcnn[client]', or give .npy files"
        ) from None
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ShapeError(f"the model takes arrays {list(shape)}, which are no pictures: give .npy files")
    try:
        with Image.open(path) as picture:
            found = np.asarray(picture.convert("L" if shape[0] == 1 else "RGB"))
    except UnidentifiedImageError:
        raise InvalidValueError(f"{path}: this is no picture that Pillow knows") from None
    found = found[None] if shape[0] == 1 else found.transpose(2, 0, 1)
    if found.shape != shape:
        raise ShapeError(f"{path}: {found.shape[2]} x {found.shape[1]} pixels; the model takes {shape[2]} x {shape[1]}")
    return found


def _pixels(values: NDArray[Any], description: Description) -> NDArray[np.float64]:
    pixels = description.pixels
    if pixels is None:
        raise InvalidValueError("the service does not say how pixels enter the model: give .npy files of numbers")
    return pixels.scale * values.astype(np.float64) + pixels.offset


def _shown(answer: NDArray[Any], description: Description) -> str:
    if answer.ndim == 1 and len(description.classes) == len(answer) > 1:
        best = int(answer.argmax())
        return f"{description.classes[best]} ({answer[best]:.4g})"
    return np.array2string(answer, precision=4, threshold=20)


def _details(transfer: Transfer) -> Iterable[str]:
    yield f"       bytes  {transfer.bytes_up:,} up, {transfer.bytes_down:,} down"
    yield f"     key set  {transfer.key_bytes:,} bytes up, once"
    yield f"      client  {transfer.client:.3f} s encrypting and decrypting, {transfer.keygen:.3f} s making keys"
    phases = ", ".join(f"{phase} {seconds:.3f} s" for phase, seconds in transfer.server.items())
    yield f"      server  {sum(transfer.server.values()):.3f} s: {phases or 'it does not say'}"
    yield f"    transfer  {transfer.travel:.3f} s here; at 72.2 Mb/s it would be {transfer.travel_at():.3f} s"
    if transfer.retried:
        yield f"  sent again  {transfer.retried} times"
