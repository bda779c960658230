"""Lists of layers as models: what is not tested through PyTorch, ONNX or `pycrcnn.compile`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycrcnn import models
from pycrcnn.errors import (
    InvalidTypeError,
    InvalidValueError,
    PyCrCNNError,
    ShapeError,
    UnsupportedError,
    UnsupportedLayerError,
)
from pycrcnn.frontends import describe
from pycrcnn.frontends.head import ClientLayer

LINEAR = {"type": "linear", "weight": np.eye(2)}
POOL = {"type": "avg_pool2d", "kernel": 3}
SQUARE = {"type": "square"}


def outputs(layers: Any, image: Any) -> Any:
    image = np.asarray(image, float)
    network = describe(layers, image.shape).network
    return network.evaluate(image.reshape(-1)).reshape(network.output_shape).tolist()


@pytest.mark.parametrize(
    ("layer", "image", "expected"),
    [
        ({"type": "pad", "padding": ((1, 0),)}, [[1, 2]], [[0, 1, 2]]),
        ({"type": "pad", "padding": 1}, [[[3]]], [[[0, 0, 0], [0, 3, 0], [0, 0, 0]]]),
        ({"type": "pad", "padding": ((0, 1),)}, [[[3], [4]]], [[[3, 0], [4, 0]]]),
        ({"type": "pad", "padding": [[1, 0], [0, 1]]}, [[[3]]], [[[0, 0], [3, 0]]]),
        ({"type": "scale", "weight": 2}, [1, 2], [2, 4]),
        ({"type": "scale", "bias": [[[1], [2]]]}, [[1, 2], [3, 4]], [[2, 3], [5, 6]]),
        ({"type": "polynomial", "coefficients": [1, 0, 0, 2]}, [2, -1], [17, -1]),
        ({"type": "polynomial", "coefficients": [1, 2, 0.0]}, [2, -1], [5, -1]),
        ({"type": "polynomial", "coefficients": [3]}, [2, -1], [3, 3]),
        ({"type": "reshape", "shape": (1, -1)}, [2, -1], [[2, -1]]),
        ({"type": "adaptive_avg_pool1d", "output": (2,)}, [[1, 2, 3]], [[1.5, 2.5]]),
        ({"type": "adaptive_avg_pool2d", "output": 1}, [[[1, 2], [3, 6]]], [[[3]]]),
        ({"type": "batch_norm", "mean": [1.0], "variance": [4.0], "epsilon": 0}, [3], [1]),
        ({"type": "residual", "body": [SQUARE]}, [3, 1], [12, 2]),
        ({"type": "residual", "body": [LINEAR], "shortcut": [{"type": "residual", "body": [LINEAR]}]}, [3, 1], [9, 3]),
        ({"type": "dropout", "p": 0.5}, [3, 1], [3, 1]),
    ],
)
def test_layers(layer: Any, image: Any, expected: Any) -> None:
    assert outputs([layer], image) == expected


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        ({}, "sigmoid", 1 / (1 + np.exp([[-1.0, -3.0]]))),
        ({}, "softmax", np.exp([[1.0, 3.0]]) / np.exp([1.0, 3.0]).sum()),
        ({"axis": 0}, "log_softmax", [[1, 3] - np.log(np.exp([1.0, 3.0]).sum())]),
        ({"keepdims": True}, "argmax", [[1]]),
    ],
)
def test_the_client_computes_the_last_layers(layer: Any, kind: str, expected: Any) -> None:
    described = describe([LINEAR, {"type": kind, **layer}, {"type": "identity"}], (2,))
    assert described.network.output_shape == [2]
    (head,) = described.client_head
    np.testing.assert_allclose(head(np.array([[1.0, 3.0]])), expected, rtol=1e-14)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e5, 0.0, -1e5]])
    assert ClientLayer("softmax")(logits).tolist() == [[1, 0, 0]]
    assert ClientLayer("log_softmax")(logits).tolist() == [[0, -1e5, -2e5]]
    assert ClientLayer("sigmoid")(logits).tolist() == [[1, 0.5, 0]]


@pytest.mark.parametrize(
    ("layers", "shape", "error", "message"),
    [
        ([{**LINEAR, "name": "fc", "weights": 1}], (2,), UnsupportedError, "layer fc linear: the field weights"),
        ([{**SQUARE, "name": 5}], (2,), InvalidTypeError, "layer 0: its name 5"),
        ([{"type": "tanh", "name": "act"}], (2,), UnsupportedLayerError, "layer act tanh .*pycrcnn.nn.Square"),
        ([{"type": "softmax"}, SQUARE], (2,), UnsupportedLayerError, "0 softmax can only be the last"),
        ([{"type": "argmax"}, {"type": "softmax"}], (2,), UnsupportedError, "1 softmax comes after an argmax"),
        ([{"type": "softmax", "axis": 1}], (2,), ShapeError, r"axis 1, which an answer of shape \[2\] has not"),
        ([{"type": "softmax", "axis": 0.5}], (2,), InvalidValueError, "axis 0.5"),
        ([{"type": "softmax", "keepdims": True}], (2,), UnsupportedError, "keepdims is not known"),
        ([{"type": "argmax", "keepdims": 1}], (2,), InvalidTypeError, "True or False"),
        ([{"type": "residual"}], (2,), InvalidValueError, "body is missing"),
        ([{"type": "residual", "body": 5}], (2,), InvalidTypeError, "its body is no list of layers"),
        (
            [{"type": "residual", "name": "r", "body": [{"type": "relu"}]}],
            (2,),
            UnsupportedLayerError,
            "layer r residual, body: 0 relu .*Square",
        ),
        (
            [{"type": "residual", "body": [{"type": "linear", "weight": np.ones((3, 2))}]}],
            (2,),
            ShapeError,
            r"layer 0 residual adds values of shape \[3\] to values of shape \[2\]",
        ),
        ([{"type": "reshape", "shape": (3, -1)}], (2, 2), ShapeError, r"\[2, 2\] cannot be seen as \[3, -1\]"),
        ([{"type": "reshape", "shape": (-1, -1)}], (2, 2), ShapeError, "cannot be seen"),
        ([{"type": "reshape", "shape": (0, -1)}], (2, 2), ShapeError, "cannot be seen"),
        ([{"type": "reshape", "shape": 4}], (2, 2), InvalidTypeError, "sequence of lengths"),
        ([{"type": "pad", "padding": ((1, 1), (1, 1))}], (2, 2), ShapeError, "pads 2 axes of values of shape"),
        ([{"type": "pad", "padding": 1}], (2,), ShapeError, "0 pad pads"),
        ([{"type": "pad", "padding": -1}], (1, 2), InvalidValueError, "padding = -1"),
        ([{"type": "scale", "weight": [1, 2, 3]}], (2,), ShapeError, r"its weight of shape \[3\] does not fit"),
        ([{"type": "scale", "bias": [[1], [2]]}], (2,), ShapeError, "does not fit"),
        ([{"type": "polynomial", "coefficients": [1, np.inf, 2]}], (2,), InvalidValueError, "layer|coefficient of x"),
        ([{"type": "polynomial", "coefficients": [1, np.nan]}], (2,), InvalidValueError, "0 polynomial: .*NaN"),
        ([{**POOL, "padding": 2, "count_include_pad": False}], (1, 6, 6), InvalidValueError, "more than half of the"),
        ([{**POOL, "ceil_mode": True, "kernel": 7}], (1, 6, 6), ShapeError, "kernel 7 is larger"),
        ([{**POOL, "ceil_mode": 1}], (1, 6, 6), InvalidTypeError, "ceil_mode: True or False"),
        ([{"type": "adaptive_avg_pool2d", "output": (1, 2, 3)}], (1, 6, 6), InvalidValueError, "each of 2 axes"),
        ([{"type": "adaptive_avg_pool2d", "output": 0}], (1, 6, 6), InvalidValueError, "output = 0"),
        (
            [{"type": "conv1d", "weight": np.ones((1, 1, 2)), "padding": "same", "stride": 2}],
            (1, 4),
            InvalidValueError,
            "'same' needs a stride of 1",
        ),
        ([{"type": "conv1d", "weight": np.ones((1, 1, 2)), "padding": "full"}], (1, 4), InvalidTypeError, "padding"),
        (
            [{"type": "batch_norm", "mean": [0.0], "variance": [-1.0]}],
            (1, 4),
            InvalidValueError,
            "layer 0 batch_norm: .*not positive",
        ),
        (
            [{"type": "batch_norm", "mean": [0.0], "variance": [1.0]}],
            (2, 4),
            ShapeError,
            "0 batch_norm: .*one a channel",
        ),
    ],
)
def test_layers_that_do_not_fit(layers: Any, shape: Any, error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        describe(layers, shape)


def test_residual_layers_in_one_another_without_end() -> None:
    layer: Any = {"type": "residual", "body": [SQUARE]}
    for _ in range(5000):
        layer = {"type": "residual", "body": [layer]}
    with pytest.raises(UnsupportedError, match="deep"):
        describe([layer], (2,))


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        ({"type": "square"}, (2,), InvalidTypeError, r"models\.load.*not dict"),
        (b"net.onnx", (2,), InvalidTypeError, "not bytes"),
        (len, (2,), InvalidTypeError, "not builtin_function"),
        ("net.h5", (2,), InvalidValueError, r"'net\.h5' is no \.onnx or \.safetensors file"),
        (models.load("mnist-cryptonets"), (1, 28, 27), ShapeError, r"\[1, 28, 28\], got \[1, 28, 27\]"),
        (models.load("fashion-5layer-plain"), None, UnsupportedLayerError, r"0|1 relu .*Square"),
    ],
)
def test_what_is_no_model(model: Any, shape: Any, error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        describe(model, shape)
