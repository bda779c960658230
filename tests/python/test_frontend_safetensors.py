"""safetensors files as models, with each way to describe their layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pycrcnn import models
from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError, PyCrCNNError, ShapeError
from pycrcnn.frontends import describe

RNG = np.random.default_rng(5)
TENSORS = {
    "conv.weight": RNG.normal(size=(2, 1, 2, 2)),
    "norm.weight": RNG.normal(size=2),
    "norm.bias": RNG.normal(size=2),
    "norm.running_mean": RNG.normal(size=2),
    "norm.running_var": RNG.uniform(1, 2, 2),
    "matrix": RNG.normal(size=(3, 8)),
}
#: As somebody would write it beside the state of a PyTorch network.
LAYERS = [
    {"type": "conv2d", "name": "conv"},
    {"type": "batch_norm", "name": "norm"},
    {"type": "residual", "body": [{"type": "polynomial", "coefficients": [0.5, 0, 1]}], "shortcut": []},
    {"type": "flatten"},
    {"type": "linear", "weight": "matrix"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def expected(images: Any) -> Any:
    t = TENSORS
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (2, 2), axis=(1, 2))
    x = np.einsum("nyxij,oij->noyx", windows, t["conv.weight"][:, 0])
    mean, deviation = t["norm.running_mean"], np.sqrt(t["norm.running_var"] + 1e-5)
    weight, bias = t["norm.weight"], t["norm.bias"]
    x = (x - mean[:, None, None]) / deviation[:, None, None] * weight[:, None, None] + bias[:, None, None]
    return (0.5 + x**2 + x).reshape(len(x), -1) @ t["matrix"].T


@pytest.mark.parametrize("where", ["argument", "file", "beside", "metadata", "object"])
def test_every_place_of_a_description(where: str, path: Path) -> None:
    whole = {"input_shape": [1, 3, 3], "layers": LAYERS}
    architecture: Any = None
    shape: Any = None
    match where:
        case "argument":
            architecture, shape = LAYERS, (1, 3, 3)
        case "object":
            architecture = whole
        case "file":
            architecture = path.with_name("other.json")
            architecture.write_text(json.dumps(whole))
        case "beside":
            path.with_suffix(".json").write_text(json.dumps(whole))
        case "metadata":
            metadata = {"architecture": json.dumps(LAYERS), "input_shape": "[1, 3, 3]"}
            save_file(TENSORS, path, metadata=metadata)
    images = RNG.normal(size=(2, 1, 3, 3))
    answers = describe(path, shape, architecture).network.evaluate(images.reshape(-1)).reshape(2, 3)
    np.testing.assert_allclose(answers, expected(images), rtol=1e-12)


@pytest.mark.parametrize("name", ["fashion-5layer", "mnist-cryptonets"])
def test_the_files_of_shipped_networks(name: str) -> None:
    path = Path(models.__file__).with_name(f"{name}.safetensors")
    image = RNG.uniform(size=784)
    np.testing.assert_array_equal(
        describe(str(path)).network.evaluate(image), describe(models.load(name)).network.evaluate(image)
    )


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "I16", "U8"])
def test_every_type_of_numbers(dtype: str, tmp_path: Path) -> None:
    values = np.array([[1.5, -2.25, 3.0]], np.float32)
    values = np.abs(values).astype(int).astype(np.float32) if dtype in ("I16", "U8") else values
    raw = {
        "F16": values.astype(np.float16),
        "BF16": (values.view(np.uint32) >> 16).astype(np.uint16),
        "F32": values,
        "I16": values.astype(np.int16),
        "U8": values.astype(np.uint8),
    }[dtype]
    header = {"w": {"dtype": dtype, "shape": [1, 3], "data_offsets": [0, raw.nbytes]}}
    text = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw.tobytes())
    layers: Any = [{"type": "linear", "weight": "w"}]
    answers = describe(path, (3,), layers).network.evaluate(np.eye(3).reshape(-1))
    np.testing.assert_array_equal(answers, values[0])


@pytest.mark.parametrize(
    ("architecture", "error", "message"),
    [
        (None, InvalidValueError, r"describe its layers by architecture=\[...\] or in net.json"),
        (5, InvalidTypeError, "architecture: .*not 5"),
        ([5], FormatError, "5 in the architecture is no layer"),
        ({"layers": 5}, FormatError, "no list of layers"),
        ([{"type": "linear", "weight": "lost"}], FormatError, "no tensor 'lost'"),
        ([{"type": "linear", "name": "lost"}], InvalidValueError, "lost linear: its weight is missing"),
        ([{"type": "linear", "weight": "matrix"}], ShapeError, r"takes values of shape \[8\]"),
        ({"layers": LAYERS, "input_shape": [1, 4, 4]}, ShapeError, r"images of shape \[1, 4, 4\], got \[1, 3, 3\]"),
        ({"layers": LAYERS, "input_shape": "1"}, InvalidTypeError, "input_shape"),
    ],
)
def test_descriptions_that_do_not_fit(architecture: Any, error: type[PyCrCNNError], message: str, path: Path) -> None:
    with pytest.raises(error, match=message):
        describe(path, (1, 3, 3), architecture)


def test_files_that_are_none(path: Path) -> None:
    layers: Any = [{"type": "square"}]
    with pytest.raises(FileNotFoundError):
        describe(path.with_name("lost.safetensors"), (2,), layers)
    with pytest.raises(FileNotFoundError):
        describe(path, (2,), path.with_name("lost.json"))
    path.with_suffix(".json").write_text("[{")
    with pytest.raises(FormatError, match=r"net\.json is not JSON"):
        describe(path, (2,))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="not a safetensors file"):
        describe(path, (2,), layers)
    save_file({"w": np.array([True])}, path)
    with pytest.raises(FormatError, match="'w' is of BOOL"):
        describe(path, (2,), layers)


def test_an_architecture_goes_with_tensors() -> None:
    layers: Any = [{"type": "square"}]
    with pytest.raises(InvalidValueError, match="safetensors"):
        describe(layers, (2,), layers)
