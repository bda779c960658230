"""The command ``pycrcnn``.

Each sub-command is a module with two functions: ``add_arguments(parser)`` and ``run(arguments)``, which returns the
exit status. A module is imported only when its command is called, so that ``pycrcnn --help`` is immediate.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from pycrcnn.errors import PyCrCNNError

__all__ = ["main"]


class CommandModule(Protocol):
    """What the module of a sub-command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work and return the exit status."""


@dataclass(frozen=True)
class _Command:
    module: str
    help: str


_COMMANDS = {
    "compile": _Command("pycrcnn.commands.compile_command", "compile a model: the server's and the client's files"),
    "keygen": _Command("pycrcnn.commands.keygen_command", "generate a client's keys"),
    "encrypt": _Command("pycrcnn.commands.encrypt_command", "encrypt images"),
    "run": _Command("pycrcnn.commands.run_command", "evaluate a program on encrypted images"),
    "refresh": _Command("pycrcnn.commands.refresh_command", "interactive programs: decrypt, square, encrypt again"),
    "decrypt": _Command("pycrcnn.commands.decrypt_command", "decrypt answers"),
    "explain": _Command("pycrcnn.commands.explain_command", "show the plan of a program and what it takes"),
    "publish": _Command("pycrcnn.commands.publish_command", "compile a model for a service's directory of models"),
    "serve": _Command("pycrcnn.commands.serve_command", "serve models over HTTP"),
    "batch": _Command("pycrcnn.commands.batch_command", "answer encrypted files of a folder or an object store"),
    "predict": _Command("pycrcnn.commands.predict_command", "classify images by a service that does not see them"),
    "demo": _Command("pycrcnn.demo", "classify real images, encrypted, and show what it costs"),
    "bench": _Command("pycrcnn.bench", "measure speed, memory and bytes, as JSON"),
    "capacity": _Command("pycrcnn.commands.capacity_command", "simulate many machines from what was measured on one"),
    "experiment": _Command("pycrcnn.experiments", "compute the figures and the table of the paper"),
    "datasets": _Command("pycrcnn.datasets_command", "say where the data sets are, or download them"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; by default those of the process.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="pycrcnn", description="Convolutional neural networks on encrypted images.")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is being done")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, command in _COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help)
        if name == called:
            module = cast(CommandModule, importlib.import_module(command.module))
            module.add_arguments(subparser)
            subparser.set_defaults(call=module.run)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="%(message)s")
    try:
        return cast(int, arguments.call(arguments))
    except (PyCrCNNError, OSError) as error:
        print(f"pycrcnn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pycrcnn: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
