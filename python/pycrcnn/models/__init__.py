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

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn.errors import FormatError, InvalidValueError, ShapeError

__all__ = ["Layer", "Model", "load", "names", "placed", "read"]

_DIRECTORY = Path(__file__).parent

_FIELDS = {
    "conv2d": {"stride", "padding", "weight", "bias"},
    "linear": {"weight", "bias"},
    "avg_pool2d": {"kernel", "stride"},
    "max_pool2d": {"kernel", "stride"},
    "square": set[str](),
    "relu": set[str](),
    "flatten": set[str](),
}
_RANKS = {"conv2d": 4, "linear": 2}


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
        On the test split, from 0 to 1, computed in double precision.
    scale, offset : float
        A pixel enters the network as ``scale * pixel + offset``.
    fraction_bits : int or None
        Weights and biases are multiples of 2^-fraction_bits, which keeps their encodings short; None if they are not.
    largest_magnitudes : tuple of float
        Over the training split: of the input and of each layer's output.
    card : str
        Where the weights come from, in a few lines for people.
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    dataset: str
    accuracy: float
    scale: float
    offset: float
    fraction_bits: int | None
    largest_magnitudes: tuple[float, ...]
    card: str

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
    ('fashion-5layer', ..., 'fashion-cifar', 'mnist-cryptonets', 'mnist-lenet1', 'mnist-lenet5')
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


def read(path: str | os.PathLike[str]) -> Model:
    """A network from a safetensors file with the metadata that ``training/train.py`` writes.

    Raises
    ------
    FormatError
        The file, its metadata or a tensor is not as expected; the message says which.
    OSError
        It cannot be read.
    """
    from safetensors import SafetensorError, safe_open  # not needed by clients

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from error
    try:
        return _model(metadata, tensors)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{path}: the metadata does not describe a network: {detail}") from error


def _model(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> Model:
    channels, height, width = json.loads(metadata["input_shape"])
    normalisation = json.loads(metadata["normalisation"])
    accuracy = json.loads(metadata["accuracy"])
    return Model(
        name=metadata["name"],
        input_shape=(channels, height, width),
        layers=tuple(_layer(description, tensors) for description in json.loads(metadata["architecture"])),
        dataset=metadata["dataset"],
        accuracy=accuracy,
        scale=normalisation["scale"],
        offset=normalisation["offset"],
        fraction_bits=json.loads(metadata.get("fraction_bits", "null")),
        largest_magnitudes=tuple(json.loads(metadata["largest_magnitudes"])),
        card=(
            f"{metadata['name']}: {accuracy:.2%} of the {metadata['dataset']} test split\n"
            f"made by `{metadata['command']}` with PyTorch {metadata['torch']}"
        ),
    )


def _layer(description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Layer:
    kind = description["type"]
    if kind not in _FIELDS:
        raise ValueError(f"unknown layer type {kind!r}")
    layer: dict[str, Any] = {"type": kind}
    for field in _FIELDS[kind]:
        value = description[field]
        layer[field] = _tensor(value, tensors) if field in ("weight", "bias") else _pair(field, value)
    if kind in _RANKS and (layer["weight"].ndim != _RANKS[kind] or layer["bias"].shape != layer["weight"].shape[:1]):
        shapes = layer["weight"].shape, layer["bias"].shape
        raise ValueError(f"{kind} with weight {shapes[0]} and bias {shapes[1]}")
    return cast(Layer, layer)


def _tensor(name: str, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    array = tensors[name].astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"tensor {name!r} holds values that are not finite")
    array.flags.writeable = False
    return array


def _pair(field: str, value: Any) -> tuple[int, int]:
    y, x = value
    if not (isinstance(y, int) and isinstance(x, int)) or min(y, x) < (0 if field == "padding" else 1):
        raise ValueError(f"{field} {value!r} is not a pair of positive integers")
    return y, x
