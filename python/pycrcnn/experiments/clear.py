"""Networks in clear, those among them that cannot be evaluated on ciphertexts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pycrcnn.frontends.layers import native_network
from pycrcnn.models import Layer

__all__ = ["evaluate"]


def evaluate(layers: Sequence[Layer], images: NDArray[np.float64], threads: int = 0) -> NDArray[np.float64]:
    """The outputs of a network in double precision.

    Parameters
    ----------
    layers : sequence of Layer
        ReLU and max pooling may be among them.
    images : ndarray of float64, shape [n, channels, height, width]
    threads : int
        0 stands for all cores.

    Returns
    -------
    ndarray of float64, shape [n, ...]
    """
    values = images
    for kind, group in itertools.groupby(layers, lambda layer: layer["type"] if _compares(layer) else "polynomial"):
        run = list(group)
        if kind == "polynomial":
            network, _ = native_network(run, values.shape[1:])
            flat = network.evaluate(values.reshape(-1), threads)
            values = flat.reshape(len(values), *network.output_shape)
        elif kind == "relu":
            values = np.maximum(values, 0)
        else:
            for layer in run:
                values = _max_pool(layer, values)
    return values


def _compares(layer: Layer) -> bool:
    return layer["type"] in ("relu", "max_pool2d")


def _max_pool(layer: Layer, values: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel, (y, x) = _pair(layer["kernel"]), _pair(layer["stride"])
    windows = sliding_window_view(values, kernel, axis=(2, 3))[:, :, ::y, ::x]
    pooled: NDArray[np.float64] = windows.max(axis=(4, 5))
    return pooled


def _pair(sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    return (sizes, sizes) if isinstance(sizes, int) else sizes
