"""Fully connected layers."""

from __future__ import annotations

from typing import Any

from pycrcnn import _native
from pycrcnn._engine import engine_of
from pycrcnn._layers import WeightedLayer, image_batch

__all__ = ["LinearLayer", "linear_multiply"]


class LinearLayer(WeightedLayer):
    """A fully connected layer over encrypted rows.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    weights : array_like
        ``[out, in]``
    bias : array_like, optional
        One value for each output.

    Examples
    --------
    >>> from pycrcnn.he.HE import MockHE
    >>> LinearLayer(MockHE(), [[1, 2], [0, -1]], bias=[0.5, 0])([[3, 4]])
    array([[11.5, -4. ]])
    """

    axes = ("out", "in")

    def __init__(self, HE: Any, weights: Any, bias: Any = None) -> None:
        super().__init__(HE, weights, bias)

    def __call__(self, t: Any) -> Any:
        """Maps ``[n, in]`` to ``[n, out]``."""
        t = image_batch(t, (2,), "LinearLayer")
        affine_map = self._cached(None, lambda: _native.AffineMap.linear(self._weights, self._bias))
        return engine_of(self.HE).affine(affine_map, t)


def linear_multiply(HE: Any, t: Any, weights: Any) -> Any:
    """Maps ``[n, in]`` to ``[n, out]`` by weights ``[out, in]``; the name of PyCrCNN's early scripts."""
    return LinearLayer(HE, weights)(t)
