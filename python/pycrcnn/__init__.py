"""Convolutional neural networks on encrypted images: PyCrCNN's API on Rust kernels."""

from pycrcnn import errors
from pycrcnn.approximation import approximate
from pycrcnn.program import (
    ClientProgram,
    FractionalParameters,
    InteractiveProgram,
    Keys,
    Program,
    compile,  # noqa: A004 - the field's word for it
    compile_interactive,
)
from pycrcnn.service import Client

__all__ = [
    "Client",
    "ClientProgram",
    "FractionalParameters",
    "InteractiveProgram",
    "Keys",
    "Program",
    "approximate",
    "compile",
    "compile_interactive",
    "errors",
]
