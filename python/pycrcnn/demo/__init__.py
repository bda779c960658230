"""The command ``pycrcnn demo``: classify real images, encrypted, and show what it costs.

Fashion-MNIST and the paper's 5-layer network where the data set is found, scikit-learn's digits otherwise. Every number
that is printed was measured in the run that prints it.
"""

from __future__ import annotations

import argparse

from pycrcnn.demo.measurement import measure
from pycrcnn.demo.report import heading, section
from pycrcnn.demo.subject import choose
from pycrcnn.program.program import Layout

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--layout",
        choices=("both", "per-value", "batched"),
        default="both",
        help="per-value: the paper's, one value of one image a ciphertext; batched: as many images as a ciphertext has "
        "slots (default: both)",
    )
    parser.add_argument(
        "--images", type=_positive, default=1, metavar="N", help="images of the per-value layout (default: 1)"
    )
    parser.add_argument("--threads", type=_natural, default=0, help="threads of every call (default: 0, all cores)")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print, one layout after the other."""
    layouts: tuple[Layout, ...] = ("per-value", "batched") if arguments.layout == "both" else (arguments.layout,)
    subject = choose()
    print(heading(subject, arguments.threads), flush=True)
    for layout in layouts:
        measurement = measure(subject, layout, arguments.images if layout == "per-value" else None, arguments.threads)
        print(section(subject, measurement), flush=True)
    return 0


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
