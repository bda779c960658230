"""Zero padding of arrays of ciphertexts."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycrcnn._arrays import as_pair, as_tensor
from pycrcnn.errors import ShapeError

__all__ = ["apply_padding"]


def apply_padding(t: Any, padding: Any) -> Any:
    """Puts zeros on both sides of the last axes.

    Parameters
    ----------
    t : array_like
        Ciphertexts or numbers, ``[..., y, x]``; with one number as padding, ``[..., x]``.
    padding : (int, int), (int,) or int
        Zeros on both sides of each axis. One number pads the last axis only.

    Returns
    -------
    numpy.ndarray
        The zeros are the number 0, which every layer and operator takes beside ciphertexts.

    Examples
    --------
    >>> apply_padding([[1, 2], [3, 4]], (0, 1))
    array([[0, 1, 2, 0],
           [0, 3, 4, 0]])
    """
    t = as_tensor(t, "t")
    axes = 1 if np.ndim(padding) == 0 else np.size(padding)
    pads = as_pair(padding, "padding", 0)[-axes:]
    if t.ndim < len(pads):
        raise ShapeError(f"padding {padding!r} needs at least {len(pads)} axes, not an array of shape {t.shape}")
    widths = [(0, 0)] * (t.ndim - len(pads)) + [(pad, pad) for pad in pads]
    return np.pad(t, widths, constant_values=0)
