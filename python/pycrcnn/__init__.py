"""Convolutional neural networks on encrypted images: PyCrCNN's API on Rust kernels."""

from pycrcnn import errors
from pycrcnn.program import Client, FractionalParameters, Keys, Program, compile  # noqa: A004 - the field's word for it

__all__ = ["Client", "FractionalParameters", "Keys", "Program", "compile", "errors"]
