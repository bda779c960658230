"""Average pooling; zeros of the padding count in the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import as_pair
from pycrcnn._engine import engine_of
from pycrcnn._layers import AffineLayer, image_batch

__all__ = ["AveragePoolLayer", "avg_pool2d"]


class AveragePoolLayer(AffineLayer):
    """Means over windows of encrypted images.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    kernel_size : (int, int) or int
        The window, ``(y, x)``.
    stride : (int, int) or int, optional
        Its steps; None stands for the window's size, as in PyTorch.
    padding : (int, int) or int, optional
        Zeros on both sides of each axis.

    Notes
    -----
    Whole numbers (BFV without fractional encoding) have no 1/area: the windows are summed, and each ciphertext
    remembers what decryption divides by. CKKS does the same, for an average costs no level then.

    Examples
    --------
    >>> from pycrcnn.he.HE import MockHE
    >>> AveragePoolLayer(MockHE(), kernel_size=2, stride=2)([[[[1, 2, 3, 4], [5, 6, 7, 8]]]])
    array([[[[3.5, 5.5]]]])
    """

    def __init__(self, HE: Any, kernel_size: Any, stride: Any = (1, 1), padding: Any = (0, 0)) -> None:
        super().__init__(HE)
        self.kernel_size = as_pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else as_pair(stride, "stride", 1)
        self.padding = as_pair(padding, "padding", 0)

    def __call__(self, images: Any) -> Any:
        """Pools ``[n, channels, y, x]`` to ``[n, channels, y', x']``."""
        images = image_batch(images, (4,), "AveragePoolLayer")
        shape, geometry = images.shape[1:], (self.kernel_size, self.stride, self.padding)

        def build(weight: float) -> _native.AffineMap:
            return self._cached((shape, geometry, weight), lambda: window_sums(shape, *geometry, weight))

        return engine_of(self.HE).average(build, self.kernel_size[0] * self.kernel_size[1], images)


def window_sums(
    shape: tuple[int, ...],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    weight: float,
) -> _native.AffineMap:
    """The map from images ``[channels, y, x]`` to their window sums times a weight: one filter a channel."""
    filters = np.full((shape[0], 1, *kernel_size), weight)
    return _native.AffineMap.conv2d(shape, filters, None, stride, padding, (1, 1), shape[0])


def avg_pool2d(HE: Any, images: Any, kernel_size: Any, stride: Any) -> Any:
    """Pools ``[n, channels, y, x]`` as :class:`AveragePoolLayer` does; the name of PyCrCNN's early scripts."""
    return AveragePoolLayer(HE, kernel_size, stride)(images)


def _avg(HE: Any, image: Any, kernel_size: Any, stride: Any) -> Any:
    """Means over windows of one image ``[y, x]``; PyCrCNN's helper of this name."""
    return AveragePoolLayer(HE, kernel_size, stride)(np.asarray(image)[None, None])[0, 0]
