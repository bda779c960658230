"""ONNX files as models: they compute what onnx's own reference evaluator computes."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn import models
from pycrcnn.errors import (
    FormatError,
    InvalidValueError,
    MissingPackageError,
    PyCrCNNError,
    ShapeError,
    UnsupportedError,
    UnsupportedLayerError,
)
from pycrcnn.frontends import Described, describe

onnx = pytest.importorskip("onnx", reason="an optional package: pip install --group check")
ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

RNG = np.random.default_rng(11)
Nodes = list[Any]
DOUBLE = TensorProto.DOUBLE


def node(kind: str, *inputs: Any, **attributes: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return kind, inputs, attributes


def graph(nodes: Nodes, shape: Any, opset: int = 17, batch: Any = "n") -> Any:
    """A model of nodes in a row: "x" stands for the node before, numbers for nodes, arrays for initializers."""
    made, tensors, names = [], [], ["image"]
    for index, (kind, inputs, attributes) in enumerate(nodes):
        arguments = []
        for position, each in enumerate(inputs):
            if isinstance(each, np.ndarray):
                tensors.append(numpy_helper.from_array(each, f"w{index}.{position}"))
                arguments.append(tensors[-1].name)
            else:
                arguments.append(names[-1] if each == "x" else "" if each is None else names[each])
        names.append(f"y{index}")
        made.append(helper.make_node(kind, arguments, [names[-1]], name=f"{kind.lower()}{index}", **attributes))
    x = helper.make_tensor_value_info("image", DOUBLE, None if shape is None else [batch, *shape])
    y = helper.make_tensor_value_info(names[-1], DOUBLE, None)
    # The version of the file format that goes with these operators.
    return helper.make_model(
        helper.make_graph(made, "net", [x], [y], tensors), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )


def saved(model: Any, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def evaluated(described: Described, images: Any) -> Any:
    network = described.network
    answers = network.evaluate(images.reshape(-1)).reshape(len(images), *network.output_shape)
    for layer in described.client_head:
        answers = layer(answers)
    return answers


def assert_same(model: Any, shape: tuple[int, ...], folder: Path, count: int = 2, **options: Any) -> Described:
    described = describe(saved(model, folder), **options)
    images = RNG.normal(size=(count, *shape))
    (expected,) = ReferenceEvaluator(model).run(None, {"image": images})
    np.testing.assert_allclose(evaluated(described, images), expected, rtol=1e-9, atol=1e-9)
    return described


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def number(value: float) -> Any:
    return np.array(value, np.float64)


@pytest.mark.parametrize("name", ["fashion-5layer", "fashion-6layer", "mnist-cryptonets"])
def test_shipped_networks(name: str, tmp_path: Path) -> None:
    model = models.load(name)
    nodes: Nodes = []
    for layer in model.layers:
        match layer["type"]:
            case "conv2d":
                pads, strides = list(layer["padding"]) * 2, list(layer["stride"])
                nodes.append(node("Conv", "x", layer["weight"], layer["bias"], strides=strides, pads=pads))
            case "avg_pool2d":
                options = {"kernel_shape": list(layer["kernel"]), "strides": list(layer["stride"])}
                nodes.append(node("AveragePool", "x", **options))
            case "linear":
                nodes.append(node("Gemm", "x", layer["weight"], layer["bias"], transB=1))
            case "flatten":
                nodes.append(node("Flatten", "x"))
            case "square":
                nodes.append(node("Mul", "x", "x"))
    assert_same(graph(nodes, model.input_shape), model.input_shape, tmp_path)


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([node("Conv", "x", normal(4, 1, 3, 2), normal(4), group=2, dilations=[1, 2], strides=[2, 1])], (2, 6, 7)),
        ([node("Conv", "x", normal(1, 1, 3, 3), pads=[1, 0, 2, 3])], (1, 5, 5)),
        ([node("Conv", "x", normal(1, 1, 2, 3), auto_pad="SAME_UPPER", strides=[2, 2])], (1, 5, 6)),
        ([node("Conv", "x", normal(1, 1, 2, 4), auto_pad="SAME_LOWER")], (1, 5, 6)),
        ([node("Conv", "x", normal(1, 1, 2, 2), auto_pad="VALID")], (1, 5, 6)),
        ([node("Conv", "x", normal(3, 2, 3), normal(3), pads=[1, 1])], (2, 8)),
        ([node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], (2, 7, 6)),
        ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], (2, 5, 6)),
        ([node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)], (2, 5, 6)),
        ([node("AveragePool", "x", kernel_shape=[2], strides=[2])], (2, 6)),
        ([node("GlobalAveragePool", "x"), node("Flatten", "x")], (3, 4, 5)),
        ([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], (3, 4, 5)),
        ([node("ReduceMean", "x", axes=[-1])], (3, 4)),
        ([node("Pad", "x", whole(0, 0, 1, 2, 0, 0, 0, 3))], (1, 3, 2)),
        ([node("Gemm", "x", normal(4, 2), normal(1, 2), alpha=0.5, beta=2.0)], (4,)),
        ([node("Gemm", "x", normal(2, 4), number(0.5), transB=1)], (4,)),
        ([node("MatMul", "x", normal(4, 2)), node("Add", normal(2), "x")], (4,)),
        ([node("BatchNormalization", "x", normal(3), normal(3), normal(3), abs(normal(3)), epsilon=0.01)], (3, 2, 4)),
        ([node("Sub", "x", normal(3, 1, 1)), node("Div", "x", abs(normal(1, 3, 1, 1)) + 1)], (3, 2, 4)),
        ([node("Flatten", "x", axis=1), node("Identity", "x"), node("Dropout", "x")], (3, 2, 4)),
        ([node("Reshape", "x", whole(0, -1))], (3, 2, 4)),
        ([node("Reshape", "x", whole(-1, 4, 6))], (3, 2, 4)),
        ([node("Reshape", "x", whole(0, 0, -1))], (3, 2, 4)),
        ([node("Unsqueeze", "x", whole(1)), node("Squeeze", "x", whole(-2)), node("Cast", "x", to=DOUBLE)], (1, 4)),
        # The shape, looked at and put together again, as exporters write x.view(x.size(0), -1).
        (
            [
                node("Shape", "x"),
                node("Gather", "x", np.array(0, np.int64)),
                node("Unsqueeze", "x", whole(0)),
                node("Concat", "x", whole(-1), axis=0),
                node("Reshape", 0, "x"),
            ],
            (3, 2, 4),
        ),
        # Polynomials.
        ([node("Pow", "x", number(3.0))], (3,)),
        ([node("Mul", "x", "x"), node("Mul", "x", number(0.5)), node("Sub", "x", 0), node("Add", "x", 1)], (3,)),
        ([node("Sub", number(1.0), "x"), node("Mul", 0, "x"), node("Neg", "x")], (3,)),
        ([node("Constant", value_float=0.25), node("Cast", "x", to=DOUBLE), node("Mul", 0, "x")], (3,)),
        # Branches.
        ([node("Gemm", "x", normal(3, 3)), node("Mul", "x", "x"), node("Add", "x", 0)], (3,)),
        ([node("Gemm", "x", normal(3, 3)), node("Gemm", 0, normal(3, 3)), node("Sum", 0, 1, 2, normal(3))], (3,)),
        # What the client computes.
        ([node("Gemm", "x", normal(3, 4)), node("Softmax", "x")], (3,)),
        ([node("Identity", "x"), node("LogSoftmax", "x", axis=1)], (3, 2)),
        ([node("Neg", "x"), node("ArgMax", "x", axis=1)], (5,)),
        ([node("Neg", "x"), node("ArgMax", "x", axis=-1, keepdims=0)], (5, 2)),
        ([node("Neg", "x"), node("Sigmoid", "x")], (5,)),
    ],
    ids=lambda value: "-".join(each[0] for each in value) if isinstance(value, list) else "",
)
def test_nodes(nodes: Nodes, shape: tuple[int, ...], tmp_path: Path) -> None:
    count = 1 if any(each[0] == "Shape" for each in nodes) else 2
    assert_same(graph(nodes, shape), shape, tmp_path, count)


def test_operators_of_earlier_versions(tmp_path: Path) -> None:
    nodes = [
        node("Pad", "x", pads=[0, 0, 1, 0, 0, 0, 0, 1]),
        node("Unsqueeze", "x", axes=[1]),
        node("Squeeze", "x", axes=[1]),
        node("Flatten", "x"),
        node("Softmax", "x"),
    ]
    described = describe(saved(graph(nodes, (1, 2, 2), opset=9), tmp_path))
    images = normal(2, 1, 2, 2)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 0), (0, 1))).reshape(2, -1)
    expected = np.exp(padded) / np.exp(padded).sum(1, keepdims=True)
    np.testing.assert_allclose(evaluated(described, images), expected, rtol=1e-12)


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_a_fixed_batch_may_be_written_into_a_reshape(batch: Any, tmp_path: Path) -> None:
    size = batch if batch != "n" else 1
    model = graph([node("Reshape", "x", whole(size, 6))], (2, 3), batch=batch)
    described = assert_same(model, (2, 3), tmp_path, size)
    assert described.network.output_shape == [6]


def test_half_precision_weights(tmp_path: Path) -> None:
    weight = normal(3, 2).astype(np.float16)
    model = graph([node("Gemm", "x", weight)], (3,))
    np.testing.assert_array_equal(evaluated(describe(saved(model, tmp_path)), np.eye(3)), weight.astype(np.float64))
    # bfloat16 has no type in NumPy: the upper half of a float32.
    bits = (weight.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor = model.graph.initializer[0]
    tensor.data_type, tensor.raw_data = TensorProto.BFLOAT16, bits.tobytes()
    expected = (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    np.testing.assert_array_equal(evaluated(describe(saved(model, tmp_path)), np.eye(3)), expected)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    weight = normal(30, 20)
    path = tmp_path / "net.onnx"
    model = graph([node("Gemm", "x", weight)], (30,))
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (tmp_path / "net.data").exists()
    np.testing.assert_allclose(evaluated(describe(path), np.eye(30)), weight)
    (tmp_path / "net.data").unlink()
    with pytest.raises(FormatError, match="net.onnx"):
        describe(path)


def test_compiled_and_encrypted(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x", normal(3, 4)), node("Mul", "x", "x"), node("ArgMax", "x", axis=1, keepdims=0)]
    path = saved(graph(nodes, (3,)), tmp_path)
    images = normal(6, 3)
    program = pycrcnn.compile(str(path), calibration=images)
    answers = program.predict(images, mode="encrypted")
    assert answers.dtype.kind == "i"
    np.testing.assert_array_equal(answers, program.predict(images))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Relu", "x")], r"relu0 \(Relu\).*pycrcnn\.nn\.Square"),
        ([node("MaxPool", "x", kernel_shape=[2, 2])], r"maxpool0 \(MaxPool\).*average pooling, and retrain"),
        ([node("LSTM", "x")], r"lstm0 \(LSTM\).*recurrent"),
        ([node("QLinearConv", "x")], "qlinearconv0 .*floating-point original"),
        ([node("Loop", "x")], "loop0"),
        ([node("Softmax", "x"), node("Neg", "x"), node("Flatten", "x")], "softmax0 softmax can only be the last"),
        ([node("Gemm", "x", "x")], "input 1 depends on the image"),
        ([node("Gemm", "x", normal(4, 4), transA=1)], "transA"),
        ([node("Conv", "x", normal(1, 1, 1, 1, 1))], "3 axes"),
        ([node("AveragePool", "x", kernel_shape=[3, 3], ceil_mode=1)], "ceil_mode"),
        ([node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], "out of the mean"),
        ([node("Pad", "x", whole(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")], "zeros"),
        ([node("Pad", "x", whole(0, 0, 1, 1, 0, 0, 1, 1), number(2.0))], "zeros"),
        ([node("Pad", "x", whole(0, 1, 0, 0, 0, 0, 0, 0))], "pads the batch or the channels"),
        ([node("Flatten", "x", axis=0)], "flattens the batch"),
        ([node("Reshape", "x", whole(2, -1))], r"reshapes to \[2, -1\]"),
        ([node("ReduceMean", "x", axes=[1])], "average pooling"),
        ([node("Cast", "x", to=TensorProto.INT64)], "whole numbers"),
        ([node("Div", number(1.0), "x")], "divides by a value"),
        ([node("Pow", "x", number(0.5))], "exponent of 0.5"),
        ([node("Pow", "x", normal(2))], "exponent"),
        ([node("ArgMax", "x")], "axis 0"),
        ([node("Conv", normal(1, 1, 4, 4), "x")], "depends on the image"),
    ],
    ids=lambda value: "-".join(each[0] for each in value) if isinstance(value, list) else "",
)
def test_nodes_that_cannot_be_evaluated(nodes: Nodes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        describe(saved(graph(nodes, (1, 4, 4)), tmp_path))
    assert caught.value.layer.split()[0] == f"{nodes[0][0].lower()}0"
    assert caught.value.replacement in str(caught.value)


@pytest.mark.parametrize(
    ("change", "shape", "error", "message"),
    [
        (lambda m: m.graph.input.append(m.graph.output[0]), None, UnsupportedError, "2 inputs and 1 answers"),
        (lambda m: m.graph.output.append(m.graph.output[0]), None, UnsupportedError, "1 inputs and 2 answers"),
        (
            lambda m: m.graph.node[0].input.__setitem__(0, "lost"),
            None,
            UnsupportedError,
            "layer conv0: its input 'lost'",
        ),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), None, InvalidValueError, "such as"),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].Clear(), None, InvalidValueError, "such as"),
        (lambda m: None, (1, 5, 4), ShapeError, r"takes \[1, 4, 4\], got \[1, 5, 4\]"),
        (lambda m: None, (4, 4), ShapeError, r"got \[4, 4\]"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), (2, 4, 4), ShapeError, "layer conv0 conv2d"),
        (lambda m: setattr(m.graph.initializer[0], "raw_data", b"1"), None, FormatError, "tensor 'w0.1'"),
        (lambda m: m.graph.output[0].__setattr__("name", "w0.1"), None, UnsupportedError, "does not depend"),
        (lambda m: m.graph.node[0].__setattr__("domain", "com.microsoft"), None, UnsupportedError, "conv0 .Conv."),
        (lambda m: m.graph.initializer[0].CopyFrom(NAN), None, InvalidValueError, "layer conv0 conv2d: .*NaN"),
    ],
)
def test_graphs_that_do_not_fit(
    change: Any, shape: Any, error: type[PyCrCNNError], message: str, tmp_path: Path
) -> None:
    model = graph([node("Conv", "x", normal(1, 1, 2, 2))], (1, 4, 4))
    change(model)
    with pytest.raises(error, match=message):
        describe(saved(model, tmp_path), shape)


NAN = numpy_helper.from_array(np.full((1, 1, 2, 2), np.nan), "w0.1")


def test_an_open_shape_is_taken_from_the_caller(tmp_path: Path) -> None:
    model = graph([node("Conv", "x", normal(1, 1, 2, 2))], (1, "height", "width"))
    assert describe(saved(model, tmp_path), (1, 3, 5)).network.output_shape == [1, 2, 4]


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(FileNotFoundError):
        describe(path)
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(FormatError, match="not an ONNX file"):
        describe(path)
    path.write_bytes(b"")
    with pytest.raises(PyCrCNNError):
        describe(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"pip install 'pycrcnn\[onnx\]'"):
        describe(tmp_path / "net.onnx")
