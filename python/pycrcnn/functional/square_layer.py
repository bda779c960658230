"""The square: the activation that encrypted networks use in place of ReLU."""

from __future__ import annotations

from typing import Any

from pycrcnn._arrays import as_tensor
from pycrcnn._engine import engine_of

__all__ = ["SquareLayer", "square", "square2d"]


class SquareLayer:
    """Squares each value of an array of any rank.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys; CKKS needs a relinearisation key.

    Examples
    --------
    >>> from pycrcnn.he.HE import MockHE
    >>> SquareLayer(MockHE())([[1, -2, 3]])
    array([[1., 4., 9.]])
    """

    def __init__(self, HE: Any) -> None:
        self.HE = HE

    def __call__(self, image: Any) -> Any:
        """Squares each value."""
        return square(self.HE, image)


def square(HE: Any, image: Any) -> Any:
    """Squares each value of an array, in one call of the native module."""
    return engine_of(HE).square(as_tensor(image, "image"))


# PyCrCNN's early scripts have a name for arrays of rank 2.
square2d = square
