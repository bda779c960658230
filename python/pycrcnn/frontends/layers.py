"""Layers as `pycrcnn.models.Layer` describes them, checked and turned into the native network.

Every source of models is described by such layers first, so what a layer means is said here only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pycrcnn import _native
from pycrcnn.errors import InvalidTypeError, InvalidValueError, PyCrCNNError, ShapeError, UnsupportedError
from pycrcnn.frontends.advice import unsupported, unsupported_before_the_end
from pycrcnn.frontends.fields import Fields, whole_number
from pycrcnn.frontends.head import HEADS, ClientLayer, client_head
from pycrcnn.frontends.pooling import adaptive_average, average
from pycrcnn.frontends.recurrent import sliced, unrolled

__all__ = ["fields_of", "native_network"]

AffineMap = _native.AffineMap
#: What the native network is made of; a residual layer is a pair of lists of named operations.
Operation = Any
Operations = list[tuple[str, Operation]]
Shape = list[int]

#: How deep residual layers may lie in one another; the native network takes no more either.
_DEEPEST = 16


def native_network(
    layers: Sequence[Mapping[str, Any]], shape: tuple[int, ...]
) -> tuple[_native.Network, tuple[ClientLayer, ...]]:
    """The network in clear, evaluated natively, and what the client computes on its decrypted answers.

    Raises
    ------
    UnsupportedLayerError
        A layer cannot be evaluated on ciphertexts; the message says what to use in its place.
    InvalidTypeError, InvalidValueError, ShapeError, UnsupportedError
        A layer's fields do not describe it, or it does not fit the one before it.
    """
    named = [(_name(layer, index), layer) for index, layer in enumerate(layers)]
    body = len(named)
    while body and named[body - 1][1]["type"] in (*HEADS, "identity", "dropout"):
        body -= 1
    operations, output = _operations(named[:body], list(shape), 0)
    head = [(name, layer) for name, layer in named[body:] if layer["type"] in HEADS]
    for name, layer in head:
        _check_fields(layer, name)
    if named and not operations:
        operations.append(("input", AffineMap.flatten(output).reshaped(output, output)))
    return _native.Network(list(shape), operations), client_head(head, tuple(output))


def fields_of(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The fields that a layer of a kind needs, and those that it may have; None for kinds that are not known."""
    if kind in _KINDS:
        return _KINDS[kind].required, _KINDS[kind].optional
    return ((), HEADS[kind]) if kind in HEADS else None


def _name(layer: Any, index: int) -> str:
    if not isinstance(layer, Mapping) or "type" not in layer:
        raise InvalidTypeError(f"layer {index}: a dictionary with a 'type' is needed, see pycrcnn.models.Layer")
    name = layer.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidTypeError(f"layer {index}: its name {name!r} is not a text")
    if not isinstance(layer["type"], str):
        raise InvalidTypeError(f"layer {index}: its type {layer['type']!r} is not a text")
    return f"{index if name is None else name} {layer['type']}"


def _operations(layers: Sequence[tuple[str, Mapping[str, Any]]], shape: Shape, depth: int) -> tuple[Operations, Shape]:
    """The operations of consecutive layers, and the shape that they give."""
    operations: Operations = []
    for name, layer in layers:
        _check_fields(layer, name)
        if layer["type"] in HEADS:
            raise unsupported_before_the_end(name)
        if layer["type"] == "residual":
            operation, shape = _residual(layer, name, shape, depth + 1)
            operations.append((name, operation))
            continue
        if layer["type"] == "recurrent":
            steps = [(f"{name} {inner['type']}", inner) for inner in unrolled(Fields(layer, name), shape)]
            unfolded, shape = _operations(steps, shape, depth)
            operations += unfolded
            continue
        for operation in _of_layer(layer, name, shape):
            operations.append((name, operation))
            if isinstance(operation, AffineMap):
                shape = operation.output_shape
    return operations, shape


def _of_layer(layer: Mapping[str, Any], name: str, shape: Shape) -> list[Operation]:
    kind = _KINDS[layer["type"]]
    if kind.rank and len(shape) != kind.rank:
        what = {3: "images [channels, height, width]", 2: "signals [channels, length]"}[kind.rank]
        raise ShapeError(f"layer {name} takes {what}, got values of shape {shape}")
    try:
        return kind.build(Fields(layer, name), shape)
    except PyCrCNNError as error:
        if f"layer {name}" in str(error):
            raise
        raise type(error)(f"layer {name}: {error}", error.code) from None


def _check_fields(layer: Mapping[str, Any], name: str) -> None:
    known = fields_of(layer["type"])
    if known is None:
        raise unsupported(name, layer["type"])
    required, optional = known
    for field in required:
        if layer.get(field) is None:
            raise InvalidValueError(f"layer {name}: its {field} is missing")
    unknown = set(layer) - {"type", "name", *required, *optional}
    if unknown:
        raise UnsupportedError(f"layer {name}: the field {min(map(str, unknown))} is not known; leave it out")


def _residual(layer: Mapping[str, Any], name: str, shape: Shape, depth: int) -> tuple[Operation, Shape]:
    if depth > _DEEPEST:
        raise UnsupportedError(f"layer {name}: residual layers lie more than {_DEEPEST} deep in one another")
    branches, shapes = [], []
    for field in ("body", "shortcut"):
        inner = layer.get(field, ())
        if isinstance(inner, str | bytes) or not isinstance(inner, Sequence):
            raise InvalidTypeError(f"layer {name}: its {field} is no list of layers")
        named = [(f"{name}, {field}: {_name(each, index)}", each) for index, each in enumerate(inner)]
        operations, output = _operations(named, shape, depth)
        branches.append(operations)
        shapes.append(output)
    if shapes[0] != shapes[1]:
        raise ShapeError(f"layer {name} adds values of shape {shapes[0]} to values of shape {shapes[1]}")
    return tuple(branches), shapes[0]


def _convolution(fields: Fields, shape: Shape) -> list[Operation]:
    axes = len(shape) - 1
    weights = fields.array("weight", axes + 2)
    stride, dilation = fields.whole_numbers("stride", axes, 1, 1), fields.whole_numbers("dilation", axes, 1, 1)
    maps: list[Operation] = []
    padding = fields.get("padding", 0)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        if any(step != 1 for step in stride):
            raise InvalidValueError(f"{fields.label('padding')} 'same' needs a stride of 1, not {stride}")
        spans = [d * (k - 1) for d, k in zip(dilation, weights.shape[2:], strict=True)]
        if any(span % 2 for span in spans):
            maps = [_padded(shape, [(span // 2, span - span // 2) for span in spans])]
            shape, padding = maps[0].output_shape, 0
        else:
            padding = [span // 2 for span in spans]
    padding = fields.each("padding", padding, axes, 0)
    groups = fields.whole("groups", 1, 1)
    if axes == 1:
        options = (stride[0], padding[0], dilation[0], groups)
        return [*maps, AffineMap.conv1d(shape, weights, fields.bias(), *options)]
    return [*maps, AffineMap.conv2d(shape, weights, fields.bias(), stride, padding, dilation, groups)]


def _padded(shape: Shape, padding: Sequence[Sequence[int]]) -> _native.AffineMap:
    if len(shape) == 3:
        return AffineMap.pad2d(shape, [[0, 0]] * (2 - len(padding)) + list(padding))
    padded = AffineMap.pad2d([shape[0], 1, shape[1]], [[0, 0], *padding])
    return padded.reshaped(shape, [shape[0], padded.output_shape[2]])


def _pad(fields: Fields, shape: Shape) -> list[Operation]:
    padding = fields.get("padding")
    if isinstance(padding, Sequence) and not isinstance(padding, str):
        pairs = [fields.each("padding", pair, 2, 0) for pair in padding]
    else:
        pairs = [fields.each("padding", padding, 2, 0)] * (len(shape) - 1)
    if len(shape) not in (2, 3) or not 1 <= len(pairs) < len(shape):
        raise ShapeError(f"layer {fields.name} pads {len(pairs)} axes of values of shape {shape}; channels stay as are")
    return [_padded(shape, pairs)]


def _linear(fields: Fields, shape: Shape) -> list[Operation]:
    weights = fields.array("weight", 2)
    taken = [weights.shape[1]]
    if taken != shape:
        flatten = "; put a flatten layer before it" if math.prod(shape) == taken[0] else ""
        raise ShapeError(f"layer {fields.name} takes values of shape {taken}, got {shape}{flatten}")
    return [AffineMap.linear(weights, fields.bias())]


def _batch_norm(fields: Fields, shape: Shape) -> list[Operation]:
    mean, variance = fields.array("mean", 1), fields.array("variance", 1)
    gamma, beta = fields.vector("weight", np.ones(len(mean))), fields.vector("bias", np.zeros(len(mean)))
    return [AffineMap.batch_norm(shape, gamma, beta, mean, variance, fields.real("epsilon", 1e-5))]


def _scale(fields: Fields, shape: Shape) -> list[Operation]:
    flat = []
    for field, default in (("weight", 1.0), ("bias", 0.0)):
        values = np.asarray(default) if fields.get(field) is None else fields.array(field)
        while values.ndim > len(shape) and len(values) == 1:
            values = values[0]
        try:
            flat.append(np.broadcast_to(values, shape).ravel())
        except ValueError:
            got = list(values.shape)
            raise ShapeError(
                f"layer {fields.name}: its {field} of shape {got} does not fit values of {shape}"
            ) from None
    return [AffineMap.elementwise(shape, *flat)]


def _polynomial(fields: Fields, shape: Shape) -> list[Operation]:
    coefficients = np.trim_zeros(fields.array("coefficients", 1), "b").tolist()
    if len(coefficients) > 2:
        return [coefficients]
    constant, slope = (*coefficients, 0.0, 0.0)[:2]
    size = math.prod(shape)
    return [AffineMap.elementwise(shape, np.full(size, slope), np.full(size, constant))]


def _reshape(fields: Fields, shape: Shape) -> list[Operation]:
    given = fields.get("shape")
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise InvalidTypeError(f"{fields.label('shape')}: a sequence of lengths is needed, not {given!r}")
    target, count = [whole_number(fields.label("shape"), length, -1, 2**31 - 1) for length in given], math.prod(shape)
    if target.count(-1) == 1:
        rest = math.prod(length for length in target if length != -1)
        target[target.index(-1)] = count // rest if rest else 0
    if min(target, default=1) < 1 or math.prod(target) != count:
        raise ShapeError(f"layer {fields.name}: values of shape {shape} cannot be seen as {list(given)}")
    return [AffineMap.flatten(shape).reshaped(shape, target)]


class _Kind(NamedTuple):
    build: Callable[[Fields, Shape], list[Operation]]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    rank: int = 0


_CONVOLUTION = ("bias", "stride", "padding", "dilation", "groups")
_POOLING = ("stride", "padding", "ceil_mode", "count_include_pad")
_KINDS = {
    "conv1d": _Kind(_convolution, ("weight",), _CONVOLUTION, 2),
    "conv2d": _Kind(_convolution, ("weight",), _CONVOLUTION, 3),
    "avg_pool1d": _Kind(lambda fields, shape: [average(fields, shape)], ("kernel",), _POOLING, 2),
    "avg_pool2d": _Kind(lambda fields, shape: [average(fields, shape)], ("kernel",), _POOLING, 3),
    "adaptive_avg_pool1d": _Kind(lambda fields, shape: [adaptive_average(fields, shape)], ("output",), (), 2),
    "adaptive_avg_pool2d": _Kind(lambda fields, shape: [adaptive_average(fields, shape)], ("output",), (), 3),
    "linear": _Kind(_linear, ("weight",), ("bias",)),
    "batch_norm": _Kind(_batch_norm, ("mean", "variance"), ("weight", "bias", "epsilon")),
    "scale": _Kind(_scale, (), ("weight", "bias")),
    "flatten": _Kind(lambda _, shape: [AffineMap.flatten(shape)]),
    "reshape": _Kind(_reshape, ("shape",)),
    "pad": _Kind(_pad, ("padding",)),
    "dropout": _Kind(lambda _, __: [], (), ("p",)),
    "identity": _Kind(lambda _, __: []),
    "square": _Kind(lambda _, __: [[0.0, 0.0, 1.0]]),
    "polynomial": _Kind(_polynomial, ("coefficients",)),
    "slice": _Kind(sliced, ("axis",), ("start", "stop", "step")),
    "residual": _Kind(lambda _, __: [], ("body",), ("shortcut",)),
    "recurrent": _Kind(lambda _, __: [], ("weight", "recurrent"), ("bias", "coefficients")),
}
