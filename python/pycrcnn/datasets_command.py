"""``pycrcnn datasets``: where the data sets are, and their download."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn import datasets

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``list``, which is the default, and ``download NAME``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="say which data sets are found and where the package looks (the default)")
    download = actions.add_parser("download", help="fetch the originals into the user's cache and verify them")
    download.add_argument(
        "names", nargs="+", choices=datasets.names(), metavar="NAME", help=", ".join(datasets.names())
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line a data set."""
    if arguments.action == "download":
        for name in arguments.names:
            print(f"{name}: {datasets.download(name)}")
        return 0
    for name in datasets.names():
        print(f"{name}: {_place(name) or 'not found'}")
    print(f"looked in: {', '.join(map(str, datasets.search_path()))}")
    return 0


def _place(name: str) -> Path | None:
    try:
        return datasets.find(name, "test")
    except datasets.DatasetNotFoundError:
        return None
