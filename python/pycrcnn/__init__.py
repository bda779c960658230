"""Convolutional neural networks on encrypted images: PyCrCNN's API on Rust kernels."""

from pycrcnn import errors

__all__ = ["errors"]
