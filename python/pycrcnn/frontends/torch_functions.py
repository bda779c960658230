"""Functions and methods of torch on the values of a traced network, under torch's names and with its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pycrcnn.frontends.fields import real_array
from pycrcnn.frontends.graph import Value, added, multiplied

__all__ = ["BATCH", "FUNCTIONS", "Sizes", "hyperparameters"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Batch:
    """The length of the batch axis, which no network may depend on."""

    def __repr__(self) -> str:
        return "the batch size"


BATCH = _Batch()
FUNCTIONS: dict[str, Callable[..., Any]] = {}

_KEEP_BATCH = "write it so that the first axis stays the batch, as x.flatten(1) or x.view(x.size(0), -1) do"


class Sizes:
    """The shape of a value, the batch axis first; it is worked out where a length is asked for."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def __getitem__(self, index: int | slice) -> Any:
        return BATCH if index == 0 else (BATCH, *self.value.shape)[index]


def hyperparameters(module: Any, names: str) -> dict[str, Any]:
    """Those attributes of a module."""
    return {name: getattr(module, name) for name in names.split() if hasattr(module, name)}


def _named(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


def _weights(x: Value, name: str, tensor: Any) -> NDArray[np.float64] | None:
    if isinstance(tensor, Value):
        raise x.graph.refuse(f"its {name} depends on the input", "replace it by a constant, and retrain")
    return None if tensor is None else real_array(f"layer {x.graph.place}: {name}", tensor)


def _axis(x: Value, dim: Any, what: str) -> int:
    """An axis of one image from one of a batch."""
    if not isinstance(dim, int) or isinstance(dim, bool) or dim == 0:
        raise x.graph.refuse(f"{what} along dim={dim}", "name one axis that is not the batch's, such as dim=1")
    return dim - 1 if dim > 0 else dim


# Arithmetic.


def _symbol(a: Any, b: Any) -> Value:
    value: Value = a if isinstance(a, Value) else b
    return value


def _operand(x: Value, other: Any) -> Any:
    return other if isinstance(other, Value) else real_array(f"layer {x.graph.place}: its constant", other)


@_named("add", "iadd")
def _add(a: Any, b: Any, *, alpha: float = 1) -> Value:
    x = _symbol(a, b)
    if alpha != 1:
        b = b.times(alpha) if isinstance(b, Value) else _operand(x, b) * alpha
    return added(_operand(x, a), _operand(x, b))


@_named("sub", "subtract", "isub")
def _sub(a: Any, b: Any, *, alpha: float = 1) -> Value:
    return _add(a, b.negative() if isinstance(b, Value) else -_operand(_symbol(a, b), b), alpha=alpha)


@_named("rsub")
def _rsub(a: Any, b: Any, *, alpha: float = 1) -> Value:
    return _sub(b, a, alpha=alpha)


@_named("mul", "multiply", "imul")
def _mul(a: Any, b: Any) -> Value:
    x = _symbol(a, b)
    return multiplied(_operand(x, a), _operand(x, b))


@_named("truediv", "itruediv", "div", "divide", "true_divide")
def _div(a: Any, b: Any, *, rounding_mode: None = None) -> Value:
    x = _symbol(a, b)
    if isinstance(b, Value) or rounding_mode is not None:
        raise x.graph.refuse("it divides by a value, or rounds", "replace it by a polynomial, and retrain")
    divisor = _operand(x, b)
    if not np.all(divisor):
        raise x.graph.refuse("it divides by 0", "leave it out")
    return x.times(1.0 / divisor)


@_named("neg", "negative")
def _neg(x: Value) -> Value:
    return x.negative()


@_named("pow", "ipow")
def _pow(x: Any, exponent: Any) -> Value:
    base = _symbol(x, exponent)
    if not isinstance(x, Value):
        raise base.graph.refuse("the value is an exponent", "replace it by a polynomial, and retrain")
    return x.power(exponent if isinstance(exponent, Value) else _operand(x, exponent))


@_named("square")
def _square(x: Value) -> Value:
    return x.power(2)


@_named("polynomial")
def _polynomial(x: Value, coefficients: Any) -> Value:
    return x.then("polynomial", coefficients=_weights(x, "coefficients", coefficients))


# Layers with weights.


def _convolution(kind: str) -> Callable[..., Value]:
    def convolution(
        x: Value,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Value:
        arrays = {"weight": _weights(x, "weight", weight), "bias": _weights(x, "bias", bias)}
        stride, padding, dilation = (_lone(each) for each in (stride, padding, dilation))
        return x.then(kind, **arrays, stride=stride, padding=padding, dilation=dilation, groups=groups)

    return convolution


def _lone(value: Any) -> Any:
    """A sequence of one number as the number, as torch takes it."""
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1 else value


FUNCTIONS.update({kind: _convolution(kind) for kind in ("conv1d", "conv2d")})


@_named("linear")
def _linear(x: Value, weight: Any, bias: Any = None) -> Value:
    return x.then("linear", weight=_weights(x, "weight", weight), bias=_weights(x, "bias", bias))


@_named("batch_norm")
def _batch_norm(
    x: Value,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Value:
    if running_mean is None or running_var is None or training:
        raise x.graph.refuse("it has no running statistics", "set track_running_stats=True, and retrain")
    given = {"mean": running_mean, "variance": running_var, "weight": weight, "bias": bias}
    return x.then("batch_norm", **{name: _weights(x, name, each) for name, each in given.items()}, epsilon=eps)


# Pooling and padding.


def _average_pool(kind: str) -> Callable[..., Value]:
    def average_pool(
        x: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:
        if divisor_override is not None:
            raise x.graph.refuse("divisor_override is not supported", "leave it out, and retrain")
        options = {"padding": _lone(padding), "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        stride = None if stride is None or stride == () else _lone(stride)
        return x.then(kind, kernel=_lone(kernel_size), stride=stride, **options)

    return average_pool


FUNCTIONS.update({kind: _average_pool(kind) for kind in ("avg_pool1d", "avg_pool2d")})


@_named("adaptive_avg_pool1d")
def _adaptive1d(x: Value, output_size: Any) -> Value:
    return x.then("adaptive_avg_pool1d", output=_lone(output_size))


@_named("adaptive_avg_pool2d")
def _adaptive2d(x: Value, output_size: Any) -> Value:
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    return x.then("adaptive_avg_pool2d", output=sizes)


@_named("mean")
def _mean(x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    rank = len(x.shape)
    axes = sorted({_axis(x, each, "a mean") % rank for each in (dim if isinstance(dim, Sequence) else [dim])})
    if rank not in (2, 3) or axes != list(range(1, rank)):
        raise x.graph.refuse("a mean of other axes than all but the channels", "replace it by average pooling")
    pooled = x.then(f"adaptive_avg_pool{rank - 1}d", output=(1,) * (rank - 1))
    return pooled if keepdim else pooled.then("flatten")


@_named("pad")
def _pad(x: Value, pad: Any, mode: str = "constant", value: float | None = None) -> Value:
    if mode != "constant" or value:
        raise x.graph.refuse(
            f"padding by {mode} {value or ''}".rstrip(), "replace it by padding with zeros, and retrain"
        )
    sides = [pad] * 2 * (len(x.shape) - 1) if isinstance(pad, int) else list(pad)
    pairs = [sides[index : index + 2] for index in range(0, len(sides), 2)]
    return x.then("pad", padding=pairs[::-1])


# Shapes.


@_named("getattr")
def _attribute(x: Value, name: str, *_: Any) -> Any:
    if name == "shape":
        return Sizes(x)
    raise x.graph.refuse(f"the attribute {name} of a tensor is not followed", "leave it out")


@_named("size")
def _size(x: Value, dim: int | None = None) -> Any:
    return Sizes(x) if dim is None else Sizes(x)[dim]


@_named("getitem")
def _item(x: Any, index: Any) -> Any:
    return _part(x, index) if isinstance(x, Value) else x[index]


def _part(x: Value, index: Any) -> Value:
    """Whole numbers and slices of any axes but the batch's, as NumPy has them."""
    indices = list(index) if isinstance(index, tuple) else [index]
    shape, places = x.shape, [place for place, each in enumerate(indices) if each is Ellipsis]
    if places:
        indices[places[0] : places[0] + 1] = [slice(None)] * (len(shape) + 2 - len(indices))
    plain = all(isinstance(each, int | slice) and not isinstance(each, bool) for each in indices)
    if not plain or indices[:1] != [slice(None)] or len(indices) > len(shape) + 1:
        raise x.graph.refuse(f"it takes the part {index} of a tensor", "keep the batch, and take numbers and slices")
    kept: list[int] = []
    for axis, length in enumerate(shape):
        each = indices[axis + 1] if axis + 1 < len(indices) else slice(None)
        positions = range(length)[each] if isinstance(each, slice) else range(length)[each : each + 1 or None]
        if not positions or positions.step < 0:
            raise x.graph.refuse(f"it takes the part {index} of a tensor", "take at least one value, in order")
        if isinstance(each, slice):
            kept.append(len(positions))
        if positions != range(length):
            x = x.then("slice", axis=axis, start=positions[0], stop=positions[-1] + 1, step=positions.step)
    return x if len(kept) == len(shape) else x.then("reshape", shape=tuple(kept))


@_named("select")
def _select(x: Value, dim: int, index: int) -> Value:
    return _part(x, (*[slice(None)] * (1 + _axis(x, dim, "select") % len(x.shape)), index))


@_named("narrow")
def _narrow(x: Value, dim: int, start: int, length: int) -> Value:
    return _part(x, (*[slice(None)] * (1 + _axis(x, dim, "narrow") % len(x.shape)), slice(start, start + length)))


@_named("dim")
def _dim(x: Value) -> int:
    return len(x.shape) + 1


@_named("flatten")
def _flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    if (start_dim, end_dim) == (1, -1):
        return x.then("flatten")
    rank = len(x.shape) + 1
    start, end = start_dim % rank, end_dim % rank
    if start == 0 and end:
        raise x.graph.refuse("it flattens the batch", _KEEP_BATCH)
    shape = (1, *x.shape)
    return x.then("reshape", shape=(*shape[1:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@_named("reshape", "view")
def _reshape(x: Value, *shape: Any) -> Value:
    target = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if isinstance(shape[0], Sizes):
        target = (BATCH, *shape[0].value.shape)
    keeps = target and (target[0] is BATCH or (target[0] == -1 and -1 not in target[1:]))
    if not keeps or not all(isinstance(length, int) for length in target[1:]):
        raise x.graph.refuse(f"it reshapes to {list(target)}", _KEEP_BATCH)
    return x.then("flatten") if target[1:] == (-1,) else x.then("reshape", shape=target[1:])


@_named("unflatten")
def _unflatten(x: Value, dim: int, sizes: Sequence[int]) -> Value:
    shape = list(x.shape)
    axis = _axis(x, dim, "unflatten") % len(shape)
    shape[axis : axis + 1] = sizes
    return x.then("reshape", shape=tuple(shape))


@_named("squeeze")
def _squeeze(x: Value, dim: Any = None) -> Value:
    shape = x.shape
    given = dim if isinstance(dim, Sequence) else [dim]
    axes = {_axis(x, each, "squeeze") % len(shape) for each in given}
    return x.then("reshape", shape=tuple(n for axis, n in enumerate(shape) if axis not in axes or n != 1))


@_named("unsqueeze")
def _unsqueeze(x: Value, dim: int) -> Value:
    shape = list(x.shape)
    shape.insert(_axis(x, dim, "unsqueeze") % (len(shape) + 1), 1)
    return x.then("reshape", shape=tuple(shape))


# What changes nothing.


@_named("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def _dropout(x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    return x


@_named("contiguous", "clone", "detach", "float", "double", "half", "bfloat16", "cpu", "cuda", "to", "type_as")
def _same(x: Value, *_: Any, **__: Any) -> Value:
    return x


# What the client computes.


@_named("softmax")
def _softmax(x: Value, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Value:
    return x.then("softmax", axis=_axis(x, dim, "softmax"))


@_named("log_softmax")
def _log_softmax(x: Value, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Value:
    return x.then("log_softmax", axis=_axis(x, dim, "log_softmax"))


@_named("argmax")
def _argmax(x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return x.then("argmax", axis=_axis(x, dim, "argmax"), keepdims=keepdim)


@_named("sigmoid")
def _sigmoid(x: Value) -> Value:
    return x.then("sigmoid")
