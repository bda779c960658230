"""The command ``pycrcnn serve``: the service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pycrcnn.errors import MissingPackageError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Serve models over HTTP. Each setting is also an environment variable PYCRCNN_NAME."
    parser.add_argument("--models", type=Path, help="directory of models, as `pycrcnn publish` writes them")
    parser.add_argument("--host", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 for a free one (default: 8000)")
    parser.add_argument("--state", type=Path, help="directory for keys, jobs and compiled programs")
    parser.add_argument("--workers", type=int, help="evaluations side by side (default: one a core)")
    parser.add_argument("--threads", type=int, help="threads of an evaluation (default: what idle workers leave)")
    parser.add_argument("--engine", choices=("process", "ray"), help="evaluate here, or on a Ray cluster")
    parser.add_argument(
        "--address",
        dest="ray_address",
        metavar="HOST:PORT",
        help="of the Ray cluster that this machine is a node of (default: the one that runs here)",
    )
    parser.add_argument("--server", choices=("granian", "uvicorn"), help="ASGI server (default: granian)")
    parser.add_argument("--tls-certificate", type=Path, help="PEM file")
    parser.add_argument("--tls-key", type=Path, help="PEM file")
    parser.add_argument(
        "--allow-insecure-listen", action="store_true", default=None, help="listen beyond loopback without TLS"
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop when standard input ends: with the process that started it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    try:
        from pydantic import ValidationError

        from pycrcnn.server.listening import serve
        from pycrcnn.server.settings import Settings
    except ImportError as error:
        raise MissingPackageError("the service needs more packages: pip install 'pycrcnn[server]'") from error
    given: dict[str, Any] = {
        name: value for name in Settings.model_fields if (value := getattr(arguments, name, None)) is not None
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for found in error.errors():
            print(f"pycrcnn: {'.'.join(map(str, found['loc']))}: {found['msg']}".replace(": :", ":"), file=sys.stderr)
        return 2
    serve(settings, until_stdin_ends=arguments.until_stdin_ends)
    return 0
