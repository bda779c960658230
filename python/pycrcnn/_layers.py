"""What layers have in common: weights given as anything, kept encoded, and one affine map an input shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Numbers, as_tensor
from pycrcnn._engine import engine_of
from pycrcnn.errors import ShapeError

__all__ = ["AffineLayer", "WeightedLayer", "image_batch"]


def image_batch(images: Any, ranks: tuple[int, ...], layer: str) -> Any:
    """An array of one of the ranks, with at least one value.

    Raises
    ------
    ShapeError
        Otherwise.
    """
    array = as_tensor(images, "images")
    if array.ndim not in ranks or array.size == 0:
        wanted = " or ".join(f"{rank}-D" for rank in ranks)
        raise ShapeError(f"{layer}: a {wanted} array is needed, first the batch, not one of shape {array.shape}")
    return array


class AffineLayer:
    """A layer that is one affine map of each image; the map of an input shape is made once."""

    def __init__(self, HE: Any) -> None:
        self.HE = HE
        self._maps: dict[Any, _native.AffineMap] = {}

    def _cached(self, key: Any, make: Any) -> _native.AffineMap:
        if key not in self._maps:
            self._maps[key] = make()
        return self._maps[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


class WeightedLayer(AffineLayer):
    """An affine layer with weights and an optional bias.

    Both may be NumPy arrays, nested lists, torch tensors, or plaintexts of ``encode_matrix``. The attributes
    `weights` and `bias` show them encoded; to change them assign whole arrays.
    """

    #: What the axes of the weights mean.
    axes: tuple[str, ...]

    def __init__(self, HE: Any, weights: Any, bias: Any) -> None:
        super().__init__(HE)
        self.weights = weights
        self.bias = bias

    @property
    def weights(self) -> Any:
        """The weights, encoded, read-only."""
        return self._encoded("weights", self._weights)

    @weights.setter
    def weights(self, weights: Any) -> None:
        numbers = engine_of(self.HE).numbers(weights, "weights")
        if numbers.ndim != len(self.axes) or numbers.size == 0:
            raise ShapeError(
                f"{type(self).__name__}: weights of shape {numbers.shape}; [{', '.join(self.axes)}] is needed"
            )
        self._weights: Numbers = numbers
        self._forget("weights")

    @property
    def bias(self) -> Any:
        """The bias, encoded, read-only, or None."""
        return None if self._bias is None else self._encoded("bias", self._bias)

    @bias.setter
    def bias(self, bias: Any) -> None:
        numbers = None if bias is None else engine_of(self.HE).numbers(bias, "bias")
        if numbers is not None and numbers.shape != self._weights.shape[:1]:
            raise ShapeError(
                f"{type(self).__name__}: a bias of shape {numbers.shape}; one value for each of the "
                f"{self._weights.shape[0]} {self.axes[0]} is needed"
            )
        self._bias: Numbers | None = numbers
        self._forget("bias")

    def _encoded(self, name: str, numbers: Numbers) -> Any:
        if name not in self._encodings:
            encoded = np.array(engine_of(self.HE).encode(numbers))
            encoded.setflags(write=False)
            self._encodings[name] = encoded
        return self._encodings[name]

    def _forget(self, name: str) -> None:
        self._encodings: dict[str, Any] = {**self.__dict__.get("_encodings", {})}
        self._encodings.pop(name, None)
        self._maps.clear()
