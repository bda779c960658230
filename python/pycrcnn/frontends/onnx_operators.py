"""Operators of ONNX on the values of a traced network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import FormatError
from pycrcnn.frontends.fields import real_array
from pycrcnn.frontends.graph import Graph, Value, added, multiplied

__all__ = ["OPERATORS", "Node"]


class Node:
    """A node of an ONNX graph.

    Attributes
    ----------
    graph : Graph
    inputs : list
        Values, arrays where they are constants, None where they are left out.
    batch : int
        The length of the batch axis, as shapes in the file have it.
    opset : int
        The version of the operators.
    """

    def __init__(self, graph: Graph, inputs: list[Any], attributes: dict[str, Any], batch: int, opset: int) -> None:
        self.graph = graph
        self.inputs = inputs
        self._attributes = attributes
        self.batch = batch
        self.opset = opset

    @property
    def x(self) -> Value:
        """The first input, which must be a value."""
        if self.inputs and isinstance(self.inputs[0], Value):
            return self.inputs[0]
        raise self.graph.refuse("its first input is constant and another is not", "swap them")

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, texts decoded."""
        value = self._attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def constant(self, index: int) -> NDArray[np.float64] | None:
        """A constant input as real numbers; None where it is left out."""
        given = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(given, Value):
            raise self.graph.refuse(f"its input {index} depends on the image", "replace it by a constant, and retrain")
        return None if given is None else real_array(f"layer {self.graph.place}: input {index}", given)

    def needed(self, index: int) -> NDArray[np.float64]:
        """A constant input that must be there."""
        given = self.constant(index)
        if given is None:
            raise FormatError(f"layer {self.graph.place}: its input {index} is missing")
        return given

    def integers(self, name: str, index: int) -> list[int] | None:
        """Whole numbers that are an attribute in early versions of an operator, and an input in later ones."""
        given = self.constant(index)
        value = self.attribute(name) if given is None else given.reshape(-1)
        return None if value is None else [int(each) for each in value]

    def axis(self, axis: int) -> int:
        """An axis of one image from one of a batch."""
        rank = len(self.x.shape) + 1
        if not -rank < axis < rank or axis == 0:
            raise self.graph.refuse(f"it works along axis {axis}, the batch's or none", "choose another")
        return axis % rank - 1


OPERATORS: dict[str, Callable[[Node], Any]] = {}


def _operator(*names: str) -> Callable[[Callable[[Node], Any]], Callable[[Node], Any]]:
    def register(function: Callable[[Node], Any]) -> Callable[[Node], Any]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


# Windows.


def _pads(node: Node, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis."""
    mode, axes = node.attribute("auto_pad", "NOTSET"), len(kernel)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for length, size, step, spread in zip(node.x.shape[1:], kernel, stride, dilation, strict=True):
            total = max((-(-length // step) - 1) * step + spread * (size - 1) + 1 - length, 0)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return pairs
    pads = node.attribute("pads") or [0] * 2 * axes
    if mode not in ("NOTSET", "VALID") or len(pads) != 2 * axes:
        raise FormatError(f"layer {node.graph.place}: auto_pad {mode!r} or pads {list(pads)} are not as ONNX has them")
    return [(0, 0)] * axes if mode == "VALID" else list(zip(pads[:axes], pads[axes:], strict=True))


def _window(node: Node, kernel: Sequence[int]) -> tuple[Value, dict[str, Any], list[tuple[int, int]]]:
    """The input, padded where the sides differ, and stride, dilation and padding of a window."""
    axes = len(kernel)
    if len(node.x.shape) != axes + 1:
        raise node.graph.refuse(f"its window has {axes} axes, its input {len(node.x.shape) - 1}", "mend the file")
    stride, dilation = (list(node.attribute(name) or [1] * axes) for name in ("strides", "dilations"))
    pairs = _pads(node, kernel, stride, dilation)
    options = {"stride": stride, "padding": [before for before, _ in pairs]}
    if all(before == after for before, after in pairs):
        return node.x, {**options, "dilation": dilation}, pairs
    return node.x.then("pad", padding=pairs), {**options, "dilation": dilation, "padding": [0] * axes}, pairs


@_operator("Conv")
def _conv(node: Node) -> Value:
    weight = node.needed(1)
    if weight.ndim not in (3, 4):
        raise node.graph.refuse(f"its kernel has {weight.ndim - 2} axes", "replace it by one of one or two axes")
    x, options, _ = _window(node, weight.shape[2:])
    groups = node.attribute("group", 1)
    return x.then(f"conv{weight.ndim - 2}d", weight=weight, bias=node.constant(2), groups=groups, **options)


@_operator("AveragePool")
def _average_pool(node: Node) -> Value:
    kernel = list(node.attribute("kernel_shape") or ())
    x, options, pairs = _window(node, kernel)
    zeros_count = bool(node.attribute("count_include_pad", 0))
    if (
        len(kernel) not in (1, 2)
        or any(step != 1 for step in options.pop("dilation"))
        or node.attribute("ceil_mode", 0)
    ):
        raise node.graph.refuse("its ceil_mode or dilations", "replace it by average pooling without, and retrain")
    if x is not node.x and not zeros_count:
        raise node.graph.refuse(f"it leaves its zeros {pairs} out of the mean", "pad evenly, and retrain")
    return x.then(f"avg_pool{len(kernel)}d", kernel=kernel, count_include_pad=zeros_count, **options)


def _global_average(node: Node, keepdims: bool) -> Value:
    axes = len(node.x.shape) - 1
    if axes not in (1, 2):
        raise node.graph.refuse(f"it averages over {axes} axes", "replace it by average pooling over one or two")
    pooled = node.x.then(f"adaptive_avg_pool{axes}d", output=(1,) * axes)
    return pooled if keepdims else pooled.then("flatten")


@_operator("GlobalAveragePool")
def _global_average_pool(node: Node) -> Value:
    return _global_average(node, keepdims=True)


@_operator("ReduceMean")
def _reduce_mean(node: Node) -> Value:
    axes = node.integers("axes", 1) or []
    if sorted(node.axis(axis) for axis in axes) != list(range(1, len(node.x.shape))):
        raise node.graph.refuse("a mean of other axes than all but the channels", "replace it by average pooling")
    return _global_average(node, keepdims=bool(node.attribute("keepdims", 1)))


@_operator("Pad")
def _pad(node: Node) -> Value:
    pads, value = node.integers("pads", 1) or [], node.constant(2)
    mode, rank = node.attribute("mode", "constant"), len(node.x.shape) + 1
    axes = node.integers("axes", 3) or list(range(rank))
    if mode != "constant" or (node.attribute("value", 0.0) if value is None else np.any(value)):
        raise node.graph.refuse(f"padding by {mode}, or by other numbers than 0", "replace it by padding with zeros")
    if len(pads) != 2 * len(axes):
        raise FormatError(f"layer {node.graph.place}: {len(pads)} pads for {len(axes)} axes")
    sides = {axis % rank: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if any(sides.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        raise node.graph.refuse("it pads the batch or the channels", "pad heights and widths only")
    return node.x.then("pad", padding=[sides.get(axis, (0, 0)) for axis in range(2, rank)])


# Matrices and normalisation.


@_operator("Gemm")
def _gemm(node: Node) -> Value:
    if node.attribute("transA", 0):
        raise node.graph.refuse("it transposes the batch (transA)", "transpose the weights instead")
    weight, bias = node.needed(1) * node.attribute("alpha", 1.0), node.constant(2)
    weight = weight if node.attribute("transB", 0) else weight.T
    if bias is not None:
        bias = _row(node, bias * node.attribute("beta", 1.0), len(weight))
    return node.x.then("linear", weight=weight, bias=bias)


def _row(node: Node, bias: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    try:
        row: NDArray[np.float64] = np.broadcast_to(bias, (1, count))[0]
    except ValueError:
        raise FormatError(f"layer {node.graph.place}: a bias of shape {list(bias.shape)} for {count} outputs") from None
    return row


@_operator("MatMul")
def _matmul(node: Node) -> Value:
    weight = node.needed(1)
    if weight.ndim != 2:
        raise node.graph.refuse(f"it multiplies by an array of shape {list(weight.shape)}", "use a matrix")
    return node.x.then("linear", weight=weight.T)


@_operator("BatchNormalization")
def _batch_norm(node: Node) -> Value:
    if node.attribute("training_mode", 0):
        raise node.graph.refuse("it is in training mode", "export the model in evaluation mode")
    names = ("weight", "bias", "mean", "variance")
    parameters = {name: node.needed(index) for index, name in enumerate(names, 1)}
    return node.x.then("batch_norm", epsilon=node.attribute("epsilon", 1e-5), **parameters)


# Arithmetic.


def _operands(node: Node) -> list[Any]:
    label = f"layer {node.graph.place}: its constant"
    return [each if isinstance(each, Value) else real_array(label, each) for each in node.inputs]


@_operator("Add", "Sum")
def _add(node: Node) -> Value:
    # A value first, so that no two constants meet.
    total: Value = reduce(added, sorted(_operands(node), key=lambda each: not isinstance(each, Value)))
    return total


@_operator("Sub")
def _sub(node: Node) -> Value:
    a, b = _operands(node)
    return added(a, b.negative() if isinstance(b, Value) else -b)


@_operator("Mul")
def _mul(node: Node) -> Value:
    return multiplied(*_operands(node))


@_operator("Div")
def _div(node: Node) -> Value:
    a, b = _operands(node)
    if isinstance(b, Value) or not np.all(b):
        raise node.graph.refuse("it divides by a value or by 0", "replace it by a polynomial, and retrain")
    quotient: Value = a.times(1.0 / b)
    return quotient


@_operator("Neg")
def _neg(node: Node) -> Value:
    return node.x.negative()


@_operator("Pow")
def _pow(node: Node) -> Value:
    return node.x.power(node.needed(1))


# Shapes.


@_operator("Shape")
def _shape(node: Node) -> NDArray[np.int64]:
    whole = np.array([node.batch, *node.x.shape], np.int64)
    return whole[node.attribute("start", 0) : node.attribute("end")]


@_operator("Flatten")
def _flatten(node: Node) -> Value:
    if node.attribute("axis", 1) not in (1, -len(node.x.shape)):
        raise node.graph.refuse("it flattens the batch", "flatten from axis 1 on")
    return node.x.then("flatten")


@_operator("Reshape")
def _reshape(node: Node) -> Value:
    target = node.integers("shape", 1) or []
    if not node.attribute("allowzero", 0):
        known = (0, *node.x.shape)
        target = [known[i] if n == 0 and i < len(known) else n for i, n in enumerate(target)]
    open_batch = target[:1] == [-1] and -1 not in target[1:]
    if not open_batch and target[:1] not in ([0], [node.batch]):
        raise node.graph.refuse(f"it reshapes to {target}", "keep the first axis for the batch")
    return node.x.then("reshape", shape=target[1:])


@_operator("Squeeze")
def _squeeze(node: Node) -> Value:
    shape = node.x.shape
    given = node.integers("axes", 1)
    axes = {node.axis(axis) for axis in given} if given else {i for i, length in enumerate(shape) if length == 1}
    return node.x.then("reshape", shape=tuple(n for i, n in enumerate(shape) if i not in axes or n != 1))


@_operator("Unsqueeze")
def _unsqueeze(node: Node) -> Value:
    given = node.integers("axes", 1) or []
    rank = len(node.x.shape) + 1 + len(given)
    axes = sorted(axis % rank for axis in given)
    if axes[:1] == [0]:
        raise node.graph.refuse("it adds an axis before the batch", "add it after the batch")
    shape = list(node.x.shape)
    for axis in axes:
        shape.insert(axis - 1, 1)
    return node.x.then("reshape", shape=shape)


@_operator("Identity", "Dropout")
def _same(node: Node) -> Value:
    return node.x


@_operator("Cast")
def _cast(node: Node) -> Value:
    if node.attribute("to") not in (1, 10, 11, 16):  # float, float16, double, bfloat16
        raise node.graph.refuse("it turns values into whole numbers", "leave it out")
    return node.x


# What the client computes.


def _along_axis(kind: str) -> Callable[[Node], Value]:
    def layer(node: Node) -> Value:
        if node.opset < 13 and len(node.x.shape) != 1:  # it flattened its input then
            raise node.graph.refuse(f"{kind} of several axes in opset {node.opset}", "export with opset 13 or later")
        return node.x.then(kind, axis=node.axis(node.attribute("axis", -1 if node.opset >= 13 else 1)))

    return layer


OPERATORS.update({"Softmax": _along_axis("softmax"), "LogSoftmax": _along_axis("log_softmax")})


@_operator("ArgMax")
def _argmax(node: Node) -> Value:
    if node.attribute("select_last_index", 0):
        raise node.graph.refuse("it takes the last of equal values", "leave select_last_index out")
    keepdims = bool(node.attribute("keepdims", 1))
    return node.x.then("argmax", axis=node.axis(node.attribute("axis", 0)), keepdims=keepdims)


@_operator("Sigmoid")
def _sigmoid(node: Node) -> Value:
    return node.x.then("sigmoid")
