"""Trained networks that come with the package.

Each is one safetensors file: the tensors by layer, and in the metadata the architecture, how images are normalised, the
accuracy on the test split, and the seed and the command that made it (``training/train.py``).

>>> model = load("fashion-5layer")
>>> model.input_shape, [layer["type"] for layer in model.layers]
((1, 28, 28), ['conv2d', 'square', 'avg_pool2d', 'flatten', 'linear', 'linear'])
>>> model.layers[0]["weight"].shape, model.layers[0]["stride"]
((16, 1, 3, 3), (3, 3))
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn.errors import InvalidValueError, ShapeError

__all__ = ["Layer", "Model", "card", "from_torch", "load", "names", "placed", "read", "save"]

_DIRECTORY = Path(__file__).parent

#: What a table of a model's layers shows.
_TENSORS = ("weight", "bias", "mean", "variance")


class Layer(TypedDict, total=False):
    """One layer; which fields it has depends on its type. Those in brackets may be left out; all may have a `name`.

    The batch axis does not count: a shape is that of one image, and axis 0 is its first.

    ============================== ====================================================================================
    type                           fields
    ============================== ====================================================================================
    conv1d                         weight [out, in / groups, x], (bias [out], stride, padding, dilation, groups);
                                   padding may be "same" or "valid"
    conv2d                         weight [out, in / groups, y, x], and as conv1d
    linear                         weight [out, in], (bias [out])
    avg_pool1d, avg_pool2d         kernel, (stride = kernel, padding, ceil_mode, count_include_pad = True)
    adaptive_avg_pool1d, ...2d     output: the size, None for an axis that stays as it is
    batch_norm                     mean [channels], variance [channels], (weight = 1, bias = 0, epsilon = 1e-5)
    scale                          (weight = 1, bias = 0): arrays that broadcast to the values' shape
    flatten                        none
    reshape                        shape, in which one length may be -1
    pad                            padding: zeros, as a number or a pair (before, after) for each of the last axes
    square                         none
    polynomial                     coefficients, from the constant upwards
    slice                          axis, (start = 0, stop = the end, step = 1): a part of the values along one axis
    recurrent                      weight [hidden, inputs], recurrent [hidden, hidden], (bias [hidden], coefficients =
                                   (0, 0, 1)) on values [steps, inputs]: the last state of h_t = f(W x_t + b + U h_t-1)
    residual                       body, (shortcut = the input): lists of layers whose outputs are added
    identity, dropout              none, (p)
    softmax, log_softmax, argmax   (axis = -1; argmax: keepdims = False); the last layers only: the client computes them
    sigmoid                        none; likewise
    max_pool2d, relu               kernel, stride; none. Of plain networks, which cannot be evaluated on ciphertexts
    ============================== ====================================================================================
    """

    type: str
    name: str
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    stride: int | tuple[int, ...]
    padding: int | str | Sequence[Any]
    dilation: int | tuple[int, ...]
    groups: int
    kernel: int | tuple[int, ...]
    ceil_mode: bool
    count_include_pad: bool
    output: int | tuple[int | None, ...]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    epsilon: float
    recurrent: NDArray[np.float64]
    start: int
    stop: int
    step: int
    shape: Sequence[int]
    coefficients: Sequence[float]
    body: Sequence[Layer]
    shortcut: Sequence[Layer]
    p: float
    axis: int
    keepdims: bool


@dataclass(frozen=True)
class Model:
    """A trained network.

    Attributes
    ----------
    name : str
        As `load` knows it.
    input_shape : tuple of int
        Channels, height, width.
    layers : tuple of Layer
        In the order of evaluation.
    dataset : str
        What it was trained on; a name for `pycrcnn.datasets.load`.
    accuracy : float
        On the test split, from 0 to 1, computed in double precision; NaN where that is not known.
    scale, offset : float
        A pixel enters the network as ``scale * pixel + offset``.
    fraction_bits : int or None
        Weights and biases are multiples of 2^-fraction_bits, which keeps their encodings short; None if they are not.
    largest_magnitudes : tuple of float
        Over the training split: of the input and of each layer's output. Empty where that is not known.
    training : mapping
        Where the weights come from, as JSON has it: the command, the seed, the version of PyTorch, the options, and the
        log, a list of loss and test accuracy by epoch.
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    dataset: str
    accuracy: float
    scale: float
    offset: float
    fraction_bits: int | None = None
    largest_magnitudes: tuple[float, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def card(self) -> str:
        """What it is and where it comes from, in a few lines for people."""
        known = "" if math.isnan(self.accuracy) else f": {self.accuracy:.2%} of the {self.dataset} test split"
        made = f"\nmade by `{self.training['command']}`" if "command" in self.training else ""
        torch = f" with PyTorch {self.training['torch']}" if made and "torch" in self.training else ""
        return f"{self.name}{known}{made}{torch}"

    def __repr__(self) -> str:
        kinds = ", ".join(layer["type"] for layer in self.layers)
        known = "" if math.isnan(self.accuracy) else f"; {self.accuracy:.2%} of {self.dataset}"
        return f"Model({self.name!r}: {list(self.input_shape)}, {kinds}{known})"

    def _repr_html_(self) -> str:
        def tensors(layer: Mapping[str, Any]) -> str:
            return ", ".join(f"{name} {list(layer[name].shape)}" for name in _TENSORS if name in layer)

        rows = "".join(f"<tr><td>{layer['type']}</td><td>{tensors(layer)}</td></tr>" for layer in self.layers)
        return f"<p>{html.escape(self.card)}</p><table><tr><th>layer</th><th>tensors</th></tr>{rows}</table>"

    def normalise(self, images: ArrayLike) -> NDArray[np.float64]:
        """Turn pixels into what the network takes.

        Parameters
        ----------
        images : array_like of numbers from 0 to 255
            ``[n, height, width]``, as `pycrcnn.datasets.load` gives them, or one image ``[height, width]``. Smaller
            images than the network's stand in the middle of zeros; every channel gets the same.

        Returns
        -------
        ndarray of float64, shape [n, channels, height, width]

        Raises
        ------
        ShapeError
            The images are larger than the network's.

        Examples
        --------
        >>> load("fashion-5layer").normalise(np.zeros((2, 28, 28), np.uint8)).shape
        (2, 1, 28, 28)
        """
        pixels = np.asarray(images, dtype=np.float64)
        height, width = self.input_shape[1:]
        if pixels.ndim not in (2, 3) or pixels.shape[-2] > height or pixels.shape[-1] > width:
            raise ShapeError(f"{self.name} takes images of shape [n, {height}, {width}], got {list(pixels.shape)}")
        return self.scale * placed(pixels, self.input_shape) + self.offset


def placed(images: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Images in the middle of zeros, the same in every channel.

    Parameters
    ----------
    images : ndarray, shape [n, height, width] or [height, width]
        At most as high and wide as `shape` says.
    shape : tuple of int
        Channels, height, width.

    Returns
    -------
    ndarray, shape [n, channels, height, width]
    """
    batch = images.reshape(-1, 1, *images.shape[-2:])
    margins = [(whole - part, part) for whole, part in zip(shape[1:], images.shape[-2:], strict=True)]
    sides = [(margin // 2, margin - margin // 2) for margin, _ in margins]
    return np.repeat(np.pad(batch, [(0, 0), (0, 0), *sides]), shape[0], axis=1)


def names() -> tuple[str, ...]:
    """The names that `load` knows; those that end in ``-plain`` cannot be evaluated on encrypted images.

    >>> names()  # doctest: +ELLIPSIS
    ('fashion-2conv', ..., 'mnist-cryptonets', 'mnist-lenet1', 'mnist-lenet5', 'mnist-recurrent')
    """
    return tuple(sorted(path.stem for path in _DIRECTORY.glob("*.safetensors")))


def load(name: str) -> Model:
    """A network that comes with the package.

    Raises
    ------
    InvalidValueError
        There is none of this name.
    """
    if name not in names():
        raise InvalidValueError(f"unknown model {name!r}: choose one of {', '.join(names())}")
    return read(_DIRECTORY / f"{name}.safetensors")


# Below what they use, which they import.
from pycrcnn.models.cards import card  # noqa: E402
from pycrcnn.models.conversion import from_torch  # noqa: E402
from pycrcnn.models.files import read, save  # noqa: E402
