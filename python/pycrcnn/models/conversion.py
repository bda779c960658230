"""From a PyTorch network to a `pycrcnn.models.Model`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn.errors import InvalidTypeError, MissingPackageError
from pycrcnn.models import Layer, Model

__all__ = ["from_torch"]

#: What a field is where it is left out.
_DEFAULTS = {"dilation": 1, "groups": 1, "ceil_mode": False, "count_include_pad": True}
_FOLDABLE = ("conv1d", "conv2d", "linear")


def from_torch(
    network: Any,
    input_shape: tuple[int, int, int],
    *,
    name: str,
    dataset: str = "",
    accuracy: float = math.nan,
    scale: float = 1 / 255,
    offset: float = 0.0,
    fraction_bits: int | None = None,
    examples: ArrayLike | None = None,
    training: Mapping[str, Any] | None = None,
) -> Model:
    """Describe a PyTorch network as it is in evaluation mode.

    Batch normalisation is multiplied into the convolution or the fully connected layer before it. Dropout is left out.

    Parameters
    ----------
    network : torch.nn.Module
        As `pycrcnn.compile` takes it; ReLU and max pooling may be in it too, for comparison.
    input_shape : tuple of int
        Channels, height, width.
    name, dataset, accuracy, scale, offset, fraction_bits, training
        As :class:`pycrcnn.models.Model` has them.
    examples : array_like, shape [n, *input_shape], optional
        By which `largest_magnitudes` are measured, in an `nn.Sequential`.

    Raises
    ------
    UnsupportedLayerError, UnsupportedError
        A layer has no description; the message says what to use in its place.
    InvalidTypeError, MissingPackageError
        It is no network, or PyTorch is missing.

    Examples
    --------
    >>> from torch import nn
    >>> from pycrcnn.nn import Square
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), Square(), nn.Flatten(), nn.Linear(1152, 10))
    >>> [layer["type"] for layer in from_torch(network, (1, 28, 28), name="mine").layers]
    ['conv2d', 'square', 'flatten', 'linear']
    """
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError("pycrcnn.models.from_torch needs PyTorch: pip install 'pycrcnn[torch]'") from error
    if not isinstance(network, torch.nn.Module):
        raise InvalidTypeError(f"network: a torch.nn.Module is needed, not {type(network).__name__}")
    from pycrcnn.frontends.torch_module import layers_of

    kind = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    precision = np.dtype(np.float64 if kind == torch.float64 else np.float32)
    layers = tuple(map(_plain, _folded(layers_of(network, input_shape, plain=True), precision)))
    magnitudes: tuple[float, ...] = ()
    if examples is not None and isinstance(network, torch.nn.Sequential):
        magnitudes = _magnitudes(network, torch.as_tensor(examples, dtype=kind), torch)
    return Model(
        name=name,
        input_shape=input_shape,
        layers=layers,
        dataset=dataset,
        accuracy=accuracy,
        scale=scale,
        offset=offset,
        fraction_bits=fraction_bits,
        largest_magnitudes=magnitudes,
        training=training or {},
    )


def _folded(layers: Sequence[Mapping[str, Any]], precision: np.dtype[Any]) -> list[dict[str, Any]]:
    """The layers with batch normalisation multiplied into what stands before it, in the network's precision."""
    folded: list[dict[str, Any]] = []
    for layer in layers:
        if layer["type"] == "batch_norm" and folded and folded[-1]["type"] in _FOLDABLE:
            before = folded[-1]
            factor = layer.get("weight", 1.0) / np.sqrt(layer["variance"] + layer.get("epsilon", 1e-5))
            bias = (before.get("bias", 0.0) - layer["mean"]) * factor + layer.get("bias", 0.0)
            weight = before["weight"] * factor.reshape(-1, *[1] * (before["weight"].ndim - 1))
            before.update(weight=_rounded(weight, precision), bias=_rounded(bias, precision))
            continue
        branches = {field: _folded(layer[field], precision) for field in ("body", "shortcut") if field in layer}
        folded.append({**layer, **branches})
    return folded


def _rounded(values: NDArray[np.float64], precision: np.dtype[Any]) -> NDArray[np.float64]:
    return values.astype(precision).astype(np.float64)


def _plain(layer: Mapping[str, Any]) -> Layer:
    """Without fields that say nothing, and with pairs for strides and kernels of images."""
    plain: dict[str, Any] = {}
    for field, value in layer.items():
        axes = (value,) if not isinstance(value, tuple) else value
        if field in ("body", "shortcut"):
            plain[field] = tuple(map(_plain, value))
        elif field == "padding" and "pool" in layer["type"] and not any(axes):
            continue
        elif field in ("stride", "kernel", "padding", "dilation") and layer["type"].endswith("2d") and len(axes) == 1:
            plain[field] = value if isinstance(value, str) else axes * 2
        else:
            plain[field] = value
        if field in _DEFAULTS and field in plain and set(np.atleast_1d(plain[field])) == {_DEFAULTS[field]}:
            del plain[field]
    return cast(Layer, plain)


def _magnitudes(network: Any, examples: Any, torch: Any) -> tuple[float, ...]:
    """The largest magnitude of the input and of the output of each layer that is described."""
    steps = list(network)
    skipped = (torch.nn.Identity, torch.nn.Dropout, torch.nn.Dropout2d)
    normalised = torch.nn.BatchNorm1d, torch.nn.BatchNorm2d
    largest: dict[int, float] = {}
    with torch.no_grad():
        for x in examples.split(1000):
            largest[-1] = max(largest.get(-1, 0.0), x.abs().max().item())
            for index, layer in enumerate(steps):
                x = layer(x)
                if isinstance(layer, skipped) or isinstance([*steps, None][index + 1], normalised):
                    continue
                largest[index] = max(largest.get(index, 0.0), x.abs().max().item())
    return tuple(largest[index] for index in sorted(largest))
