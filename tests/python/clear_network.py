"""The networks in plain NumPy, the oracle for everything that evaluates them another way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pycrcnn.models import Layer

Array = NDArray[np.float64]


def evaluate(layers: Iterable[Layer], x: Array) -> Array:
    """The output of `layers` on `x`, [n, channels, height, width]."""
    for layer in layers:
        x = _apply(layer, x)
    return x


def _apply(layer: Layer, x: Array) -> Array:
    match layer["type"]:
        case "conv2d":
            (py, px), weight = layer["padding"], layer["weight"]
            padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
            patches = _windows(padded, weight.shape[2:], layer["stride"])
            return np.einsum("ncyxij,ocij->noyx", patches, weight, optimize=True) + layer["bias"][:, None, None]
        case "avg_pool2d":
            return _windows(x, layer["kernel"], layer["stride"]).mean(axis=(4, 5))
        case "max_pool2d":
            return _windows(x, layer["kernel"], layer["stride"]).max(axis=(4, 5))
        case "linear":
            return x @ layer["weight"].T + layer["bias"]
        case "flatten":
            return x.reshape(len(x), -1)
        case "square":
            return x * x
        case "polynomial":
            return np.polynomial.Polynomial(layer["coefficients"])(x)
        case "reshape":
            return x.reshape(len(x), *layer["shape"])
        case "recurrent":
            function = np.polynomial.Polynomial(layer["coefficients"])
            state = np.zeros((len(x), len(layer["weight"])))
            for step in range(x.shape[1]):
                state = function(x[:, step] @ layer["weight"].T + layer["bias"] + state @ layer["recurrent"].T)
            return state
        case "relu":
            return np.maximum(x, 0)
        case other:
            raise AssertionError(f"no such layer: {other}")


def _windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    """[n, c, y, x, i, j]: the kernel-sized windows of each image."""
    return sliding_window_view(x, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
