"""Encoded layers from a PyTorch network.

Layers are recognised by the names of their classes, so torch is not imported here, and a user's own class
``Square`` (or one derived from a torch layer) converts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pycrcnn.convolutional.convolutional_layer import Conv1d, ConvolutionalLayer
from pycrcnn.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from pycrcnn.functional.average_pool import AveragePoolLayer
from pycrcnn.functional.flatten_layer import FlattenLayer
from pycrcnn.functional.rencryption_layer import RencryptionLayer
from pycrcnn.functional.square_layer import SquareLayer
from pycrcnn.linear.linear_layer import LinearLayer
from pycrcnn.models import Model

__all__ = ["build_from_pytorch"]


def build_from_pytorch(HE: Any, net: Any, rencrypt_positions: int | Sequence[int] = ()) -> list[Any]:
    """Encoded layers that compute what a PyTorch network computes.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    net : torch.nn.Sequential or pycrcnn.models.Model
        Of ``Conv2d``, ``Conv1d``, ``Linear``, ``AvgPool2d``, ``Flatten``, a ``Square`` of your own, nested
        ``Sequential``; ``Identity`` and ``Dropout`` are left out. Any iterable of layers will do.
    rencrypt_positions : int or sequence of int, optional
        A position p puts a re-encryption layer at index p of the result.

    Returns
    -------
    list
        Layers to call one after the other.

    Raises
    ------
    UnsupportedError
        For a layer that cannot run on encrypted numbers, such as ReLU: it names the layer and what to use.
    """
    layers = [_build(HE, layer) for layer in _flattened(net)]
    positions = [rencrypt_positions] if isinstance(rencrypt_positions, int) else rencrypt_positions
    for position in positions:
        if not 0 <= position <= len(layers):
            raise InvalidValueError(f"rencrypt_positions: {position} is outside of 0 to {len(layers)}")
        layers.insert(position, RencryptionLayer(HE))
    return layers


def _names(layer: Any) -> list[str]:
    return [cls.__name__ for cls in type(layer).__mro__]


def _flattened(net: Any) -> Iterable[Any]:
    """The layers of a network, those of nested networks in their place."""
    try:
        layers = iter(net.layers if isinstance(net, Model) else net)
    except TypeError:
        raise InvalidTypeError(
            f"net: an nn.Sequential (or a list of layers) is needed, not {type(net).__name__}"
        ) from None
    for layer in layers:
        names = _names(layer)
        if "Sequential" in names:
            yield from _flattened(layer)
        elif not {"Identity", "Dropout", "Dropout1d", "Dropout2d"} & set(names):
            yield layer


def _build(HE: Any, layer: Any) -> Any:
    if isinstance(layer, Mapping):
        return _build_described(HE, layer)
    for name in _names(layer):
        if name in _BUILDERS:
            return _BUILDERS[name](HE, layer)
    advice = {
        "ReLU": "use a Square layer and train the network again",
        "MaxPool2d": "use AvgPool2d and train the network again",
        "BatchNorm2d": "fold it into the convolution before it (torch.nn.utils.fusion.fuse_conv_bn_eval)",
        "Softmax": "leave it out: the largest output is the same",
        "LogSoftmax": "leave it out: the largest output is the same",
    }
    name = type(layer).__name__
    hint = advice.get(name, f"these can: {', '.join(sorted(_BUILDERS))}")
    raise UnsupportedError(f"a {name} layer cannot run on encrypted numbers; {hint}")


def _build_described(HE: Any, layer: Mapping[str, Any]) -> Any:
    """A layer of a :class:`pycrcnn.models.Model`."""
    match layer["type"]:
        case "conv2d":
            return ConvolutionalLayer(
                HE, layer["weight"], layer.get("stride", 1), layer.get("padding", 0), layer.get("bias")
            )
        case "linear":
            return LinearLayer(HE, layer["weight"], layer.get("bias"))
        case "avg_pool2d":
            return AveragePoolLayer(HE, layer["kernel"], layer["stride"])
        case "square":
            return SquareLayer(HE)
        case "flatten":
            return FlattenLayer()
        case kind:
            raise UnsupportedError(f"a {kind} layer cannot run on encrypted numbers; take the network without -plain")


def _require(layer: Any, **expected: Any) -> None:
    """Options of a torch layer that must keep their defaults."""
    for option, value in expected.items():
        if getattr(layer, option, value) != value:
            raise UnsupportedError(
                f"{type(layer).__name__}({option}={getattr(layer, option)!r}) is not supported, only {value!r}"
            )


def _convolution(layer: Any, rank: int) -> dict[str, Any]:
    _require(layer, padding_mode="zeros")
    kernel, stride, dilation = tuple(layer.kernel_size), tuple(layer.stride), tuple(layer.dilation)
    padding = layer.padding
    if padding == "valid":
        padding = (0,) * rank
    elif padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(span % 2 for span in spans):
            raise UnsupportedError(f"padding='same' with a kernel {kernel} pads unevenly; choose odd kernels")
        padding = tuple(span // 2 for span in spans)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if rank == 1:
        options = {name: value[0] for name, value in options.items()}
    return {"weights": layer.weight, "bias": layer.bias, "groups": layer.groups, **options}


def _average_pool(HE: Any, layer: Any) -> AveragePoolLayer:
    _require(layer, ceil_mode=False, divisor_override=None)
    if layer.padding not in (0, (0, 0)):
        _require(layer, count_include_pad=True)
    return AveragePoolLayer(HE, layer.kernel_size, layer.stride, layer.padding)


def _flatten(HE: Any, layer: Any) -> FlattenLayer:
    _require(layer, start_dim=1, end_dim=-1)
    return FlattenLayer()


_BUILDERS: dict[str, Callable[[Any, Any], Any]] = {
    "Conv2d": lambda HE, layer: ConvolutionalLayer(HE, **_convolution(layer, 2)),
    "Conv1d": lambda HE, layer: Conv1d(HE, **_convolution(layer, 1)),
    "Linear": lambda HE, layer: LinearLayer(HE, layer.weight, layer.bias),
    "AvgPool2d": _average_pool,
    "Flatten": _flatten,
    "Square": lambda HE, layer: SquareLayer(HE),
}
