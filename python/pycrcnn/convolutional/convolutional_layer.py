"""Convolutions in one and two dimensions (cross-correlations, as in PyTorch)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import as_pair, as_tensor
from pycrcnn._engine import engine_behind, engine_of
from pycrcnn._layers import WeightedLayer, image_batch
from pycrcnn.errors import ShapeError

__all__ = ["Conv1d", "Conv2d", "ConvolutionalLayer", "convolute1d", "convolute2d"]


class ConvolutionalLayer(WeightedLayer):
    """A two-dimensional convolution over encrypted images.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    weights : array_like
        Filters, ``[filters, channels, y, x]``; with groups, channels / groups.
    stride : (int, int) or int, optional
        Steps of the window, ``(y, x)``.
    padding : (int, int) or int, optional
        Zeros on both sides of each axis, ``(y, x)``.
    bias : array_like, optional
        One value for each filter.
    dilation : (int, int) or int, optional
        Distance between taps, ``(y, x)``.
    groups : int, optional
        Groups of filters and channels that do not see each other.

    Examples
    --------
    >>> from pycrcnn.he.HE import MockHE
    >>> layer = ConvolutionalLayer(MockHE(), [[[[1, 0], [0, -1]]]], bias=[10])
    >>> layer([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    array([[[[6., 6.],
             [6., 6.]]]])
    """

    axes = ("filters", "channels", "y", "x")

    def __init__(
        self,
        HE: Any,
        weights: Any,
        stride: Any = (1, 1),
        padding: Any = (0, 0),
        bias: Any = None,
        dilation: Any = (1, 1),
        groups: int = 1,
    ) -> None:
        super().__init__(HE, weights, bias)
        self.stride = as_pair(stride, "stride", 1)
        self.padding = as_pair(padding, "padding", 0)
        self.dilation = as_pair(dilation, "dilation", 1)
        self.groups = groups

    def __call__(self, images: Any) -> Any:
        """Convolves ``[n, channels, y, x]`` to ``[n, filters, y', x']``."""
        images = image_batch(images, (4,), "ConvolutionalLayer")
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        affine_map = self._cached(
            (images.shape[1:], geometry),
            lambda: _native.AffineMap.conv2d(images.shape[1:], self._weights, self._bias, *geometry),
        )
        return engine_of(self.HE).affine(affine_map, images)


class Conv2d(ConvolutionalLayer):
    """The second generation's name of :class:`ConvolutionalLayer`."""


class Conv1d(WeightedLayer):
    """A one-dimensional convolution over encrypted signals.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    weights : array_like
        Filters, ``[filters, channels, x]``; with groups, channels / groups.
    stride : int, optional
        Step of the window.
    padding : int, optional
        Zeros on both sides.
    bias : array_like, optional
        One value for each filter.
    dilation : int, optional
        Distance between taps.
    groups : int, optional
        Groups of filters and channels that do not see each other.

    Examples
    --------
    >>> from pycrcnn.he.HE import MockHE
    >>> Conv1d(MockHE(), [[[1, -1]]], padding=1)([[[3, 5, 4]]])
    array([[[-3., -2.,  1.,  4.]]])
    """

    axes = ("filters", "channels", "x")

    def __init__(
        self,
        HE: Any,
        weights: Any,
        stride: Any = 1,
        padding: Any = 0,
        bias: Any = None,
        dilation: Any = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(HE, weights, bias)
        self.stride = as_pair(stride, "stride", 1)[-1]
        self.padding = as_pair(padding, "padding", 0)[-1]
        self.dilation = as_pair(dilation, "dilation", 1)[-1]
        self.groups = groups

    def __call__(self, signals: Any) -> Any:
        """Convolves ``[n, channels, x]`` to ``[n, filters, x']``."""
        signals = image_batch(signals, (3,), "Conv1d")
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        affine_map = self._cached(
            (signals.shape[1:], geometry),
            lambda: _native.AffineMap.conv1d(signals.shape[1:], self._weights, self._bias, *geometry),
        )
        return engine_of(self.HE).affine(affine_map, signals)


def convolute2d(image: Any, filter_matrix: Any, stride: Any) -> Any:
    """Convolves one encrypted image with one filter.

    Parameters
    ----------
    image : array_like
        Ciphertexts (or numbers), ``[y, x]``.
    filter_matrix : array_like
        Plaintexts or numbers, ``[y, x]``.
    stride : (int, int) or int
        Steps of the window, ``(y, x)``.

    Returns
    -------
    numpy.ndarray
        ``[y', x']``

    Examples
    --------
    >>> convolute2d([[1, 2, 3], [4, 5, 6]], [[1], [1]], (1, 2))
    array([[5., 9.]])
    """
    return _convolve_one(image, filter_matrix, stride, 2)


def convolute1d(ts: Any, filter_matrix: Any, stride: Any) -> Any:
    """Convolves one encrypted signal ``[x]`` with one filter ``[x]``; see :func:`convolute2d`.

    Examples
    --------
    >>> convolute1d([1, 2, 4, 8], [-1, 1], 1)
    array([1., 2., 4.])
    """
    return _convolve_one(ts, filter_matrix, stride, 1)


def _convolve_one(image: Any, filter_matrix: Any, stride: Any, rank: int) -> Any:
    image, taps = as_tensor(image, "image"), as_tensor(filter_matrix, "filter_matrix")
    if image.ndim != rank or taps.ndim != rank:
        raise ShapeError(f"image and filter of rank {rank} are needed, not of shapes {image.shape} and {taps.shape}")
    engine = engine_behind(image, taps)
    weights = np.asarray(engine.numbers(taps, "filter_matrix"))[None, None]
    steps = as_pair(stride, "stride", 1)
    if rank == 2:
        affine_map = _native.AffineMap.conv2d((1, *image.shape), weights, None, steps)
    else:
        affine_map = _native.AffineMap.conv1d((1, *image.shape), weights, None, steps[-1])
    return engine.affine(affine_map, image[None, None])[0, 0]
