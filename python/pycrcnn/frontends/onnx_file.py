"""ONNX files: the protobuf is parsed, and its graph read node by node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn.errors import FormatError, InvalidValueError, MissingPackageError, ShapeError, UnsupportedError
from pycrcnn.frontends.advice import unsupported
from pycrcnn.frontends.fields import image_shape
from pycrcnn.frontends.graph import Graph, Value
from pycrcnn.frontends.onnx_operators import OPERATORS, Node
from pycrcnn.models import Layer

__all__ = ["layers_of"]

#: Operators that only compute with constants, mostly shapes, and cannot grow them much.
_FOLDED = frozenset(
    [
        *("Add", "Cast", "Concat", "Constant", "Div", "Gather", "Identity", "Mul", "Neg", "Reshape", "Slice", "Sqrt"),
        *("Squeeze", "Sub", "Transpose", "Unsqueeze"),
    ]
)


def layers_of(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None
) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """The layers of an ONNX file, and the shape of one image; that of the file unless given.

    Raises
    ------
    MissingPackageError
        The package `onnx` is not installed.
    UnsupportedLayerError
        A node cannot be evaluated on ciphertexts; the message says what to use in its place.
    FormatError, UnsupportedError, InvalidValueError, ShapeError
        The file is damaged, or has several inputs or answers, or does not say its input's shape or another one.
    OSError
        It cannot be read.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError("reading ONNX files needs the package onnx: pip install 'pycrcnn[onnx]'") from error
    with Path(path).open("rb"):  # a missing file is an OSError, whatever onnx makes of it
        pass
    try:
        model = onnx.load(path)
    except Exception as error:  # of protobuf's and onnx's own kinds, by version
        raise FormatError(f"{path}: not an ONNX file ({error})") from error
    return _Walk(model, onnx, input_shape).layers()


class _Walk:
    """Goes through the nodes of a graph, with a `Value` for every tensor that depends on its input."""

    def __init__(self, model: Any, onnx: Any, input_shape: tuple[int, ...] | None) -> None:
        self._model, self._onnx = model, onnx
        graph = model.graph
        self._values: dict[str, Any] = {tensor.name: self._array(tensor) for tensor in graph.initializer}
        inputs = [each for each in graph.input if each.name not in self._values]
        if len(inputs) != 1 or len(graph.output) != 1:
            counts = f"{len(inputs)} inputs and {len(graph.output)} answers"
            raise UnsupportedError(f"model: the graph has {counts}; one of each is supported")
        batch, shape = self._input(inputs[0], input_shape)
        self._graph, self._batch = Graph(shape), batch
        self._values[inputs[0].name] = self._graph.image

    def _array(self, tensor: Any) -> Any:
        try:
            return self._onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # of whatever a damaged tensor leads to
            raise FormatError(f"tensor {tensor.name!r} of the ONNX file is damaged ({error})") from error

    def _input(self, declared: Any, given: tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
        """The length of the batch axis, 1 where it is open, and the shape of one image."""
        dims = [dim.dim_value for dim in declared.type.tensor_type.shape.dim]
        if given is None:
            if len(dims) < 2 or min(dims[1:]) < 1:
                raise InvalidValueError("input_shape: the ONNX file leaves it open; give it, such as (1, 28, 28)")
            given = image_shape(dims[1:])
        elif dims and (
            len(dims) != len(given) + 1 or any(d not in (0, g) for d, g in zip(dims[1:], given, strict=True))
        ):
            expected = [dim or "any" for dim in dims[1:]]
            raise ShapeError(f"input_shape: the input {declared.name} takes {expected}, got {list(given)}")
        return (dims[0] if dims and dims[0] > 0 else 1), given

    def layers(self) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
        for index, node in enumerate(self._model.graph.node):
            self._graph.place = node.name or f"{node.op_type}_{index}"
            result = self._result(node)
            self._values.update(dict.fromkeys(node.output[:1], result))
        answer = self._values.get(self._model.graph.output[0].name)
        if not isinstance(answer, Value):
            raise UnsupportedError("model: its answer does not depend on its input")
        return answer.layers(), self._graph.input_shape

    def _result(self, node: Any) -> Any:
        missing = [name for name in node.input if name and name not in self._values]
        if missing:
            raise UnsupportedError(f"layer {self._graph.place}: its input {missing[0]!r} was not computed before it")
        inputs = [self._values[name] if name else None for name in node.input]
        attributes = {each.name: self._onnx.helper.get_attribute_value(each) for each in node.attribute}
        known = node.domain in ("", "ai.onnx")
        if not any(isinstance(each, Value) for each in inputs) and known and node.op_type in _FOLDED:
            return self._folded(node)
        convert = OPERATORS.get(node.op_type) if known else None
        if convert is None or not any(isinstance(each, Value) for each in inputs):
            raise unsupported(self._graph.place, node.op_type)
        return convert(Node(self._graph, inputs, attributes, self._batch, self._opset()))

    def _folded(self, node: Any) -> Any:
        """The result of a node whose inputs are constants."""
        names = [name for name in node.input if name]
        function = self._onnx.helper.make_function(
            "pycrcnn", "folded", names, node.output[:1], [node], self._model.opset_import
        )
        try:
            from onnx.reference import ReferenceEvaluator

            given = {name: self._values[name] for name in names}
            (result,) = ReferenceEvaluator(function).run(None, given, attributes={})
        except Exception as error:  # of whatever a damaged node leads to
            raise FormatError(f"layer {self._graph.place}: its constant cannot be computed ({error})") from error
        return np.asarray(result)

    def _opset(self) -> int:
        versions: Sequence[int] = [each.version for each in self._model.opset_import if each.domain in ("", "ai.onnx")]
        return max(versions, default=1)
