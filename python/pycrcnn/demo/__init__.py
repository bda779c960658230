"""The command ``pycrcnn demo``: classify real images, encrypted, by a service, and show what it costs.

The paper's system on one machine: a server process on loopback, and a client process that sends it ciphertexts over
REST, in the three layouts one after the other. Fashion-MNIST and the paper's 5-layer network where the data set is
found, scikit-learn's digits otherwise. Every number that is printed was measured in the run that prints it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from pycrcnn.demo.measurement import measure
from pycrcnn.demo.provider import publish
from pycrcnn.demo.report import heading, section, table
from pycrcnn.demo.subject import choose
from pycrcnn.program.program import Layout

__all__ = ["add_arguments", "run"]

_LAYOUTS: tuple[Layout, ...] = ("per-value", "packed", "batched")
#: Images that are sent one by one, where nobody says how many; the batched layout takes as many as there are slots.
_IMAGES = {"per-value": 1, "packed": 10}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--layout",
        choices=("all", *_LAYOUTS),
        default="all",
        help="per-value: the paper's, one value of one image a ciphertext; packed: one image a ciphertext; batched: as "
        "many images as a ciphertext has slots (default: all)",
    )
    parser.add_argument(
        "--images",
        type=_positive,
        metavar="N",
        help="images of the per-value and the packed layout (default: 1 and 10)",
    )
    parser.add_argument("--threads", type=_natural, default=0, help="threads of every call (default: 0, all cores)")


def run(arguments: argparse.Namespace) -> int:
    """Publish, start the server, ask in one layout after the other, print, stop the server."""
    from pycrcnn.server.child import ChildService

    layouts = _LAYOUTS if arguments.layout == "all" else (arguments.layout,)
    subject = choose()
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        with tempfile.TemporaryDirectory(prefix="pycrcnn-demo-") as directory:
            models, state = Path(directory) / "models", Path(directory) / "state"
            offered = publish(subject, layouts, models, arguments.threads)
            with ChildService(models, state, threads=str(arguments.threads), grace_seconds="1") as service:
                print(heading(subject, arguments.threads, service.url, service.process.pid), flush=True)
                measurements = []
                for published in offered:
                    layout = published.program.layout
                    images = None if layout == "batched" else arguments.images or _IMAGES[layout]
                    measurements.append(measure(subject, published, service.url, images, arguments.threads))
                    print(section(subject, measurements[-1]), flush=True)
        print(table(subject, measurements), flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that the server is stopped and directories are removed."""
    sys.exit(128 + number)


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
