"""Flattening: one row of values for each image."""

from __future__ import annotations

from typing import Any

from pycrcnn._layers import image_batch

__all__ = ["FlattenLayer"]


class FlattenLayer:
    """Reshapes ``[n, c, y, x]`` or ``[n, c, x]`` to ``[n, values]``; an array ``[n, values]`` stays.

    Examples
    --------
    >>> import numpy as np
    >>> FlattenLayer()(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    """

    def __call__(self, image: Any) -> Any:
        """One row for each image."""
        image = image_batch(image, (4, 3, 2), "FlattenLayer")
        return image.reshape(image.shape[0], -1)
