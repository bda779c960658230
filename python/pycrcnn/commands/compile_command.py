"""The command ``pycrcnn compile``: from a model to the server's and the client's files."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from pycrcnn import models
from pycrcnn.commands import read_array
from pycrcnn.errors import InvalidValueError
from pycrcnn.program import compile, compile_interactive  # noqa: A004 - the field's word for it

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help=f"an .onnx or .safetensors file, or one of {', '.join(models.names())}")
    parser.add_argument("--output", type=Path, required=True, help="the server's file: weights and parameters")
    parser.add_argument("--client", type=Path, required=True, help="the client's file: parameters only")
    parser.add_argument("--architecture", type=Path, help="JSON list of the layers of a safetensors file")
    parser.add_argument("--input-shape", type=int, nargs="+", help="of one image, such as 1 28 28")
    parser.add_argument(
        "--calibration", type=Path, help=".npy file of examples [n, *input_shape], as the network takes"
    )
    parser.add_argument("--layout", choices=("auto", "packed", "batched", "per-value"), default="auto")
    parser.add_argument("--scheme", choices=("ckks", "bfv"), default="ckks", help="bfv: packed, exact on integers")
    parser.add_argument("--batch", type=int, default=1, help="images to be answered at a time (default: 1)")
    parser.add_argument("--security", type=int, choices=(128, 192, 256), default=128)
    parser.add_argument("--precision", type=int, help="bits of precision of every value, 1 to 30 (default: 12, bfv 8)")
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="in as many parts as it takes, between which the client refreshes; both outputs are folders",
    )
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores (default)")


def run(arguments: argparse.Namespace) -> int:
    """Compile, write both files, print the plan."""
    shipped = arguments.model in models.names()
    if arguments.interactive and arguments.scheme != "ckks":
        raise InvalidValueError("--interactive: programs in parts are CKKS; leave out --scheme, or --interactive")
    make = compile_interactive if arguments.interactive else partial(compile, scheme=arguments.scheme)
    program = make(
        models.load(arguments.model) if shipped else arguments.model,
        arguments.input_shape,
        architecture=arguments.architecture,
        layout=arguments.layout,
        batch=arguments.batch,
        security=arguments.security,
        precision=arguments.precision,
        calibration=None if arguments.calibration is None else read_array(arguments.calibration),
        threads=arguments.threads,
    )
    program.save(arguments.output)
    program.client.save(arguments.client)
    print(program.explain())
    return 0
