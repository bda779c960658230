"""What layers and matrix functions need of an engine, and the engine for plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Numbers, as_numbers, as_tensor
from pycrcnn.errors import ShapeError

__all__ = ["ClearEngine", "LayerEngine", "check_shape"]


class LayerEngine(Protocol):
    """What layers and matrix functions need of an engine."""

    def encode(self, values: Any) -> Any:
        """Encodes each number of an array."""

    def decode(self, values: Any) -> Any:
        """The numbers of an array of plaintexts."""

    def encrypt(self, values: Any) -> Any:
        """Encrypts each number of an array."""

    def decrypt(self, values: Any) -> Any:
        """The numbers of an array of ciphertexts."""

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Any:
        """Maps each image of a batch."""

    def average(self, build: Callable[[float], _native.AffineMap], area: int, images: Any) -> Any:
        """Averages over windows of `area` values; `build(w)` maps by window sums times w."""

    def square(self, values: Any) -> Any:
        """Squares each value."""

    def refresh(self, values: Any) -> Any:
        """Decrypts and encrypts again."""

    def numbers(self, values: Any, name: str) -> Numbers:
        """The numbers behind encoded or plain values."""


class ClearEngine:
    """The same layers on plain numbers."""

    def encode(self, values: Any) -> Any:
        """The values themselves."""
        return as_tensor(values)

    decode = encrypt = decrypt = encode

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Numbers:
        """Maps each image of a batch."""
        values = as_numbers(images, "images")
        check_shape(affine_map, values.shape)
        return affine_map.apply(values.reshape(-1)).reshape(values.shape[0], *affine_map.output_shape)

    def average(self, build: Callable[[float], _native.AffineMap], area: int, images: Any) -> Numbers:
        """Averages over windows."""
        return self.affine(build(1 / area), images)

    def square(self, values: Any) -> Numbers:
        """Squares each value."""
        return np.square(as_numbers(values))

    def refresh(self, values: Any) -> Numbers:
        """The values themselves."""
        return as_numbers(values)

    def numbers(self, values: Any, name: str) -> Numbers:
        """The values themselves."""
        return as_numbers(values, name)


def check_shape(affine_map: _native.AffineMap, shape: tuple[int, ...]) -> None:
    """Refuses images of another shape than the map takes; the first axis is the batch."""
    if shape[1:] != tuple(affine_map.input_shape):
        raise ShapeError(
            f"the layer takes images of shape {tuple(affine_map.input_shape)}, not {shape[1:]} (the first axis, "
            f"{shape[0]}, is the batch)"
        )
