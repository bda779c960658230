"""Layers as `pycrcnn.models` describes them, checked and turned into the native network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native
from pycrcnn.errors import InvalidTypeError, InvalidValueError, ParameterError, ShapeError, UnsupportedError
from pycrcnn.pyfhel._parameters import checked_integer

__all__ = ["image_shape", "native_network", "real_array", "whole_number"]

_REQUIRED = {"conv2d": ("weight",), "linear": ("weight",), "avg_pool2d": ("kernel",), "square": (), "flatten": ()}
_OPTIONAL = {"conv2d": ("bias", "stride", "padding", "dilation", "groups"), "linear": ("bias",)}
_OPTIONAL["avg_pool2d"] = ("stride", "padding")
_REPLACEMENTS = {"relu": "a square, and retrain", "max_pool2d": "average pooling, and retrain"}
#: The most values that a tensor may have, and the largest stride, kernel or padding.
_MOST = 2**31 - 1


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`; otherwise InvalidTypeError or InvalidValueError."""
    try:
        return checked_integer(name, value, low, high)
    except ParameterError as error:
        raise InvalidValueError(str(error)) from None


def real_array(name: str, values: Any) -> NDArray[np.float64]:
    """A contiguous array of doubles from anything that NumPy reads as booleans, integers or floats."""
    try:
        array = np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidTypeError(f"{name}: an array of real numbers is needed ({error})") from error
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(f"{name}: an array of real numbers is needed, not of {array.dtype}")
    if np.ma.is_masked(array):
        raise InvalidValueError(f"{name}: some values are masked; fill them first")
    # What is beyond doubles becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.asarray(array), dtype=np.float64)


def image_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one image, checked."""
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence):
        raise InvalidTypeError(f"input_shape: a tuple such as (1, 28, 28) is needed, not {shape!r}")
    checked = tuple(whole_number("input_shape", length, 1, _MOST) for length in shape)
    if math.prod(checked) > _MOST:
        raise ShapeError(f"input_shape: {list(checked)} has more than {_MOST} values")
    return checked


def native_network(layers: Sequence[Mapping[str, Any]], shape: tuple[int, ...]) -> _native.Network:
    """The network in clear, evaluated natively.

    Raises
    ------
    UnsupportedError
        A layer cannot be evaluated on ciphertexts; the message says what to use in its place.
    InvalidTypeError, InvalidValueError, ShapeError
        A layer's fields do not describe it, or it does not fit the one before it.
    """
    operations: list[tuple[str, _native.AffineMap | list[float]]] = []
    current = list(shape)
    for index, layer in enumerate(layers):
        if not isinstance(layer, Mapping) or "type" not in layer:
            raise InvalidTypeError(f"layer {index}: a dictionary with a 'type' is needed, see pycrcnn.models.Layer")
        kind = layer["type"]
        name = f"{index} {kind}"
        _check_fields(layer, kind, name)
        if kind == "square":
            operations.append((name, [0.0, 0.0, 1.0]))
            continue
        affine_map = _affine_map(layer, kind, name, current)
        if affine_map.input_shape != current:
            taken = affine_map.input_shape
            flatten = "; put a flatten layer before it" if math.prod(taken) == math.prod(current) else ""
            raise ShapeError(f"layer {name} takes values of shape {taken}, got {current}{flatten}")
        operations.append((name, affine_map))
        current = list(affine_map.output_shape)
    return _native.Network(list(shape), operations)


def _check_fields(layer: Mapping[str, Any], kind: Any, name: str) -> None:
    if not isinstance(kind, str) or kind not in _REQUIRED:
        choice = "a convolution, average pooling, a fully connected layer or a square"
        advice = _REPLACEMENTS.get(kind, choice) if isinstance(kind, str) else choice
        raise UnsupportedError(f"layer {name} cannot be evaluated on ciphertexts: replace it by {advice}")
    for field in _REQUIRED[kind]:
        if layer.get(field) is None:
            raise InvalidValueError(f"layer {name}: its {field} is missing")
    unknown = set(layer) - {"type", *_REQUIRED[kind], *_OPTIONAL.get(kind, ())}
    if unknown:
        raise UnsupportedError(f"layer {name}: the field {min(map(str, unknown))} is not known; leave it out")


def _affine_map(layer: Mapping[str, Any], kind: str, name: str, shape: list[int]) -> _native.AffineMap:
    if kind == "flatten":
        return _native.AffineMap.flatten(shape)
    if kind == "linear":
        return _native.AffineMap.linear(_weights(layer, "weight", 2, name), _bias(layer, name))
    if len(shape) != 3:
        raise ShapeError(f"layer {name} takes images [channels, height, width], got values of shape {shape}")
    if kind == "avg_pool2d":
        kernel = _pair(layer, "kernel", (1, 1), 1, name)
        stride = _pair(layer, "stride", kernel, 1, name)
        return _native.AffineMap.avg_pool2d(shape, kernel, stride, _pair(layer, "padding", (0, 0), 0, name))
    return _native.AffineMap.conv2d(
        shape,
        _weights(layer, "weight", 4, name),
        _bias(layer, name),
        _pair(layer, "stride", (1, 1), 1, name),
        _pair(layer, "padding", (0, 0), 0, name),
        _pair(layer, "dilation", (1, 1), 1, name),
        whole_number(f"layer {name}: groups", layer.get("groups", 1), 1, _MOST),
    )


def _weights(layer: Mapping[str, Any], field: str, rank: int, name: str) -> NDArray[np.float64]:
    array = real_array(f"layer {name}: {field}", layer[field])
    if array.ndim != rank:
        raise ShapeError(f"layer {name}: its {field} has {array.ndim} dimensions, {rank} are needed")
    return array


def _bias(layer: Mapping[str, Any], name: str) -> NDArray[np.float64] | None:
    return None if layer.get("bias") is None else _weights(layer, "bias", 1, name)


def _pair(layer: Mapping[str, Any], field: str, default: Sequence[int], low: int, name: str) -> list[int]:
    value = layer.get(field, default)
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value, value]
    if len(pair) != 2:
        raise InvalidValueError(f"layer {name}: {field} {value!r} is not a number or a pair of numbers")
    return [whole_number(f"layer {name}: {field}", number, low, _MOST) for number in pair]
