"""PyTorch modules as models: they compute what PyTorch computes, and what cannot be is named."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pycrcnn
import pycrcnn.nn
from pycrcnn import models
from pycrcnn.errors import (
    InvalidTypeError,
    InvalidValueError,
    PyCrCNNError,
    ShapeError,
    UnsupportedError,
    UnsupportedLayerError,
)
from pycrcnn.frontends import Described, describe


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


def evaluated(described: Described, images: Any) -> Any:
    network = described.network
    answers = network.evaluate(images.reshape(-1)).reshape(len(images), *network.output_shape)
    for layer in described.client_head:
        answers = layer(answers)
    return answers


def assert_same(module: nn.Module, shape: tuple[int, ...], count: int = 3) -> Described:
    """The described module computes what PyTorch does, in double precision; it comes back as it was."""
    module = module.double()
    described = describe(module, shape)
    images = torch.randn(count, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = module.eval()(images).numpy()
    np.testing.assert_allclose(evaluated(described, images.numpy()), expected, rtol=1e-9, atol=1e-9)
    return described


def lively(module: nn.Module) -> nn.Module:
    """The module with statistics and scales of batch normalisation that are not those of a new one."""
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm1d | nn.BatchNorm2d):
            inner.running_mean.uniform_(-1, 1)
            inner.running_var.uniform_(0.5, 2)
            if inner.affine:
                nn.init.uniform_(inner.weight, 0.5, 2)
                nn.init.uniform_(inner.bias, -1, 1)
    return module


def forward(function: Callable[..., Any], **parts: Any) -> nn.Module:
    """A module whose forward is a function of itself and its input."""

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x: Any) -> Any:
            return function(self, x)

    return Module()


class Square(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * x


# What is computed.


@pytest.mark.parametrize("name", ["fashion-5layer", "fashion-6layer", "mnist-cryptonets"])
def test_shipped_networks(name: str) -> None:
    model = models.load(name)
    make: dict[str, Callable[[Any], nn.Module]] = {
        "conv2d": lambda x: nn.Conv2d(
            x["weight"].shape[1], len(x["weight"]), x["weight"].shape[2:], x["stride"], x["padding"]
        ),
        "linear": lambda x: nn.Linear(*x["weight"].shape[::-1]),
        "avg_pool2d": lambda x: nn.AvgPool2d(x["kernel"], x["stride"]),
        "flatten": lambda _: nn.Flatten(),
        "square": lambda _: Square(),
    }
    layers = [make[layer["type"]](layer) for layer in model.layers]
    with torch.no_grad():
        for module, layer in zip(layers, model.layers, strict=True):
            for field in ("weight", "bias"):
                if field in layer:
                    getattr(module, field).copy_(torch.from_numpy(layer[field].copy()))
    assert_same(nn.Sequential(*layers), model.input_shape)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), (2, 7, 8)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), (4, 5, 5)),
        (nn.Conv2d(1, 2, 4, padding="same"), (1, 6, 5)),
        (nn.Conv2d(1, 2, (2, 3), padding="same", dilation=(3, 2)), (1, 6, 7)),
        (nn.Conv2d(1, 2, 3, padding="valid"), (1, 6, 5)),
        (nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), (2, 11)),
        (nn.Conv1d(2, 3, 4, padding="same"), (2, 9)),
        (nn.AvgPool2d(3, 2, 1), (2, 7, 8)),
        (nn.AvgPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True), (2, 8, 9)),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 6, 6)),
        (nn.AvgPool2d(2, 2, 1, ceil_mode=True), (1, 5, 5)),
        (nn.AvgPool1d(3, 2, 1, ceil_mode=True), (2, 8)),
        (nn.AvgPool1d(2), (3, 8)),
        (nn.AdaptiveAvgPool2d((3, None)), (2, 7, 5)),
        (nn.AdaptiveAvgPool2d(4), (1, 3, 9)),
        (nn.AdaptiveAvgPool1d(3), (2, 7)),
        (lively(nn.BatchNorm2d(3)), (3, 2, 4)),
        (lively(nn.BatchNorm2d(3, affine=False, eps=0.1)), (3, 2, 4)),
        (lively(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))), (4,)),
        (lively(nn.BatchNorm1d(3)), (3, 5)),
        (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Flatten()), (1, 3, 2)),
        (nn.Sequential(nn.ConstantPad1d((1, 2), 0.0), nn.Conv1d(2, 1, 3)), (2, 4)),
        (nn.Sequential(nn.Dropout(), nn.Identity(), nn.Conv2d(1, 1, 1), nn.Dropout2d()), (1, 2, 2)),
        (nn.Sequential(nn.Sequential(nn.Flatten(), Square()), nn.Linear(4, 2)), (1, 2, 2)),
        (nn.Sequential(pycrcnn.nn.Square(), pycrcnn.nn.Polynomial([0.5, -1.0, 0.25, 2.0])), (3,)),
        (pycrcnn.nn.Polynomial([0.5, -1.0, 0.25], trainable=True), (3,)),
        (pycrcnn.nn.Polynomial([0.5, 2.0]), (2, 2)),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1)), (3,)),
        (nn.Sequential(nn.Conv2d(1, 3, 2), nn.LogSoftmax(dim=1)), (1, 3, 3)),
        (nn.Sequential(nn.Conv2d(1, 3, 2), nn.Softmax2d()), (1, 3, 3)),
        (nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), (3,)),
        (nn.Identity(), (3,)),
        (nn.Sequential(nn.Dropout(), nn.Softmax(-1)), (3,)),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (3,)),
    ],
    ids=lambda value: str(value).replace("\n", "") if isinstance(value, nn.Module) else "",
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_modules(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert_same(module, shape)


CONVOLUTION = torch.randn(2, 1, 3, 3)
SLOPE = nn.Parameter(torch.tensor(0.3))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda m, x: F.conv2d(x, m.weight, torch.tensor([1.0, -1.0]).double(), padding=1).flatten(1), (1, 3, 4)),
        (lambda m, x: F.conv1d(input=x, weight=m.weight[:, :, 0], stride=(2,)), (1, 7)),
        (lambda m, x: F.linear(x, m.weight[0, 0]), (3,)),
        (lambda m, x: F.avg_pool2d(x, 2, count_include_pad=False), (1, 4, 5)),
        (lambda m, x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(2), (2, 4, 5)),
        (lambda m, x: F.dropout(F.pad(x, (1, 0, 2, 1)), training=m.training), (1, 2, 2)),
        (lambda m, x: F.batch_norm(x, torch.ones(2).double(), torch.full((2,), 4.0).double()), (2, 3)),
        (lambda m, x: torch.flatten(x, start_dim=1), (2, 3, 4)),
        (lambda m, x: x.flatten(2), (2, 3, 4)),
        (lambda m, x: x.view(x.size(0), -1), (2, 3)),
        (lambda m, x: x.view(x.shape[0], x.shape[1] * x.size(2)), (2, 3)),
        (lambda m, x: x.reshape(-1, 6), (2, 3)),
        (lambda m, x: x.reshape((-1, 3, 2)), (2, 3)),
        (lambda m, x: x.unsqueeze(1) * 2, (3,)),
        (lambda m, x: x.mean((2, 3)), (3, 2, 4)),
        (lambda m, x: x.mean(dim=-1, keepdim=True), (3, 5)),
        (lambda m, x: torch.relu(torch.ones(3)).sum() * x, (3,)),  # of constants anything is allowed
        (lambda m, x: (x - m.weight[0]) / (m.weight[1].abs() + 1), (1, 3, 3)),  # one constant a value
        (lambda m, x: x.double().contiguous().to(torch.float64) - 1, (2,)),
        (lambda m, x: F.log_softmax(x * 2, dim=-1), (4,)),
        (lambda m, x: torch.softmax(x, 1).argmax(1), (4,)),
        (lambda m, x: x.argmax(dim=1, keepdim=True), (4, 2)),
        (lambda m, x: torch.sigmoid(-x), (4,)),
        # Polynomials, however they are written.
        (lambda m, x: x * x, (3,)),
        (lambda m, x: x**2, (3,)),
        (lambda m, x: torch.square(x), (3,)),
        (lambda m, x: x.pow(3), (3,)),
        (lambda m, x: torch.mul(x, x), (3,)),
        (lambda m, x: 0.5 * x**2 + m.slope * x - 3, (3,)),
        (lambda m, x: (1 - x) * (x + 2) / 4, (3,)),
        (lambda m, x: torch.rsub(x, 1, alpha=2).square().add(x, alpha=0.5), (3,)),
        (lambda m, x: (x**2) ** 2 - 3 * x**2, (3,)),
        (lambda m, x: -(x * 0) + x**2 - x.mul(x), (3,)),
        (lambda m, x: x.clone().mul_(x).add_(1), (3,)),
    ],
)
def test_functions(function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    assert_same(forward(function, weight=nn.Parameter(CONVOLUTION.clone()), slope=SLOPE), shape)


class Residual(nn.Module):
    """A block as in ResNet, with a projection where the shape changes."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), Square(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters),
        )  # fmt: skip
        projection = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
        self.shortcut = projection if stride > 1 or channels != filters else nn.Identity()

    def forward(self, x: Any) -> Any:
        out = self.body(x)
        out += self.shortcut(x)
        return out


def test_a_small_resnet() -> None:
    blocks = [Residual(2, 2, 1), Square(), Residual(2, 3, 2), Residual(3, 3, 1)]
    module = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    described = assert_same(lively(module), (2, 6, 5))
    residual = [layer for layer in described.layers if layer["type"] == "residual"]
    assert [(len(layer["body"]), len(layer["shortcut"])) for layer in residual] == [(5, 0), (5, 2), (5, 0)]


PARTS = {"f": lambda: nn.Linear(3, 3), "g": lambda: nn.Linear(3, 3), "square": Square}


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x + m.f(x),
        lambda m, x: torch.add(m.f(x), m.g(x), alpha=-0.5),
        lambda m, x: m.f(x) - x,
        lambda m, x: 0.1 * m.g(m.square(m.f(x))) + x / 2,
        lambda m, x: m.f(x) + m.g(x) + x,
        lambda m, x: m.f(m.square(x)) + m.square(x),
        lambda m, x: m.g(m.f(x) + x) + m.f(x),  # branches that cross
        lambda m, x: m.square(m.f(x) + x).mul(2) + m.f(x) * 3,
        lambda m, x: (m.f(x) + x) ** 2 - (m.f(x) + 1) * 2,
        lambda m, x: x + m.f(torch.zeros(1, 3).double()),  # a constant
    ],
)
def test_residual_sums(function: Callable[..., Any]) -> None:
    assert_same(forward(function, **{name: make() for name, make in PARTS.items()}), (3,))


def test_what_shares_work_is_not_written_out_without_end() -> None:
    def function(m: Any, x: Any) -> Any:
        before, now = x, m.f(x)
        for _ in range(40):
            before, now = now, m.f(now) + before
        return now

    with pytest.raises(UnsupportedLayerError, match="more than 4096 layers"):
        describe(forward(function, f=nn.Linear(3, 3)), (3,))


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda m, x: x * x, ["square"]),
        (lambda m, x: 2 * x * x - x, ["polynomial"]),
        (lambda m, x: m.square(m.square(x)), ["square", "square"]),  # not a polynomial of degree 4
        (lambda m, x: x + m.square(x), ["polynomial"]),
        (lambda m, x: m.square(x) + x.flatten(1), ["residual"]),
        (lambda m, x: (m.square(x) * 2 + x.flatten(1)) * 3, ["residual", "polynomial"]),
        (lambda m, x: x * 3, ["polynomial"]),
        (lambda m, x: x.softmax(1), ["softmax"]),
    ],
)
def test_what_functions_are_seen_as(function: Callable[..., Any], kinds: list[str]) -> None:
    from pycrcnn.frontends.torch_module import layers_of

    layers = layers_of(forward(function, square=Square()), (3,))
    assert [layer["type"] for layer in layers] == kinds


OPERATIONS: dict[str, Callable[[Any, Any, float], Any]] = {
    "add": lambda x, y, c: x + y * c,
    "sub": lambda x, y, c: x * c - y,
    "mul": lambda x, y, c: x * y if c > 0 else x * c,
    "square": lambda x, y, c: (x + c) ** 2 / 4,
    "shift": lambda x, y, c: c - x,
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.floats(-1, 1)), min_size=1, max_size=4))
def test_arithmetic_on_one_tensor(steps: list[tuple[str, float]]) -> None:
    def function(_: Any, x: Any) -> Any:
        y = x
        for name, constant in steps:
            x, y = OPERATIONS[name](x, y, constant), x
        return x

    assert_same(forward(function), (5,))


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Sequences of layers whose shapes fit."""
    channels, height, width = shape = draw(st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)))
    layers: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(["conv", "pool", "norm", "square", "pad", "drop"]), max_size=4)):
        small = min(height, width)
        kernel, stride = draw(st.integers(1, max(1, min(3, small)))), draw(st.integers(1, 2))
        if kind == "conv":
            filters, padding = channels * draw(st.integers(1, 2)), draw(st.integers(0, 2))
            groups = draw(st.sampled_from([1, channels]))
            layers.append(nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups))
            channels = filters
        elif kind == "pool":
            padding = draw(st.integers(0, kernel // 2))
            layers.append(nn.AvgPool2d(kernel, stride, padding, draw(st.booleans()), draw(st.booleans())))
        elif kind == "pad":
            layers.append(nn.ZeroPad2d(draw(st.tuples(*[st.integers(0, 2)] * 4))))
        else:
            layers.append({"norm": nn.BatchNorm2d(channels), "square": Square(), "drop": nn.Dropout()}[kind])
        height, width = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).shape[2:]
    layers += [nn.Flatten(), nn.Linear(channels * height * width, draw(st.integers(1, 4)))]
    return lively(nn.Sequential(*layers)), shape


@settings(max_examples=40, deadline=None)
@given(networks())
def test_random_networks(network: tuple[nn.Module, tuple[int, ...]]) -> None:
    module, shape = network
    # Squares of squares grow: what matters are relative errors.
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    assert_same(module, shape)


def test_a_network_is_evaluated_as_in_evaluation_mode_and_left_as_it_was() -> None:
    module = lively(nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Dropout(0.9), Square()))
    module[2].eval()
    before = [inner.training for inner in module.modules()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    describe(module, (1, 3, 3))
    assert [inner.training for inner in module.modules()] == before
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_of_any_precision_are_taken_as_they_are(dtype: torch.dtype) -> None:
    module = nn.Linear(3, 2).to(dtype)
    answers = evaluated(describe(module, (3,)), np.eye(3))
    np.testing.assert_array_equal(answers, np.asarray((module.weight.double().T + module.bias.double()).detach()))


def test_encrypted_with_a_head() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), Square(), nn.Linear(3, 2), nn.Softmax(dim=1)).double()
    images = torch.rand(5, 1, 2, 2, dtype=torch.float64)
    program = pycrcnn.compile(module, (1, 2, 2), calibration=images)
    assert [(layer.kind, layer.axis) for layer in program.client_head] == [("softmax", 0)]
    expected = module(images).detach().numpy()
    np.testing.assert_allclose(program.predict(images), expected, atol=1e-12)
    np.testing.assert_allclose(program.predict(images, mode="encrypted"), expected, atol=2**-8)


# What cannot be.


class Block(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 1, 1), inner)

    def forward(self, x: Any) -> Any:
        return self.features(x)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (nn.ReLU(), r"features\.1 \(ReLU\).*pycrcnn\.nn\.Square.*Polynomial.*retrain"),
        (nn.LeakyReLU(), "LeakyReLU.*pycrcnn.nn.Square"),
        (nn.Tanh(), "Tanh.*pycrcnn.nn.Square"),
        (nn.MaxPool2d(2), r"features\.1 \(MaxPool2d\).*average pooling, and retrain"),
        (nn.GroupNorm(1, 1), "batch normalisation"),
        (nn.ConvTranspose2d(1, 1, 2), "ConvTranspose2d"),
        (nn.BatchNorm2d(1, track_running_stats=False), "no running statistics.*track_running_stats=True"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "padding_mode='reflect'.*zeros"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
        (nn.ConstantPad2d(1, 2.0), "zeros"),
        (nn.Sequential(nn.Softmax(dim=1), nn.Conv2d(1, 1, 1)), "features.1.0 softmax can only be the last"),
        (nn.Softmax(dim=0), "dim=0"),
        (nn.Flatten(0), "stays the batch|shape"),
        (forward(lambda m, x: F.relu(x)), r"features\.1\.relu \(relu\).*Square"),
        (forward(lambda m, x: x.clamp(0, 6)), "clamp.*Square"),
        (forward(lambda m, x: torch.max(x, dim=1)), "max.*average pooling"),
        (forward(lambda m, x: x * m.conv(x), conv=nn.Conv2d(1, 1, 1)), "multiplies two values"),
        (forward(lambda m, x: 1 / x), "divides by a value"),
        (forward(lambda m, x: 2**x), "exponent"),
        (forward(lambda m, x: x**0.5), "an exponent of 0.5"),
        (forward(lambda m, x: x**-1), "an exponent of -1"),
        (forward(lambda m, x: x**1e9), "degree 1000000000"),
        (forward(lambda m, x: x.view(1, -1)), "first axis stays the batch"),
        (forward(lambda m, x: x.reshape(x.size(0) * 2, -1)), "batch size"),
        (forward(lambda m, x: x[0]), "takes the part 0 of a tensor"),
        (forward(lambda m, x: F.linear(x, x)), "weight depends on the input"),
        (forward(lambda m, x: x.argmax(1, wrong=1)), "argmax with these arguments.*wrong"),
        (forward(lambda m, x: torch.cat([x, x])), "cat"),
    ],
    ids=lambda value: str(value).split("(")[0] if isinstance(value, nn.Module) else "",
)
def test_layers_that_cannot_be_evaluated(inner: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        describe(Block(inner), (1, 4, 4))
    assert caught.value.layer.startswith("features.1")
    assert caught.value.replacement in str(caught.value)
    assert (caught.value.code, isinstance(caught.value, UnsupportedError)) == ("unsupported-layer", True)


def two_inputs() -> nn.Module:
    class Two(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x + y

    return Two()


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (forward(lambda m, x: x if x.sum() > 0 else -x), UnsupportedError, "straight line"),
        (forward(lambda m, x: (x, x)), UnsupportedError, "return one tensor, not 2 values"),
        (forward(lambda m, x: m.w, w=nn.Parameter(torch.ones(1))), UnsupportedError, "return one tensor"),
        (forward(lambda m, x: x.T), UnsupportedLayerError, "attribute T"),
        (two_inputs(), UnsupportedError, r"more than one tensor \(y\)"),
        (hooked(), UnsupportedLayerError, "layer 0: it has forward hooks"),
    ],
)
def test_modules_that_cannot_be_followed(module: nn.Module, error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        describe(module, (2,))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: float) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[1].weight[0, 1] = value
    with pytest.raises(InvalidValueError, match=r"layer 1 linear: .*at flat index 1 is not a finite number"):
        describe(module, (4,))


def test_weights_without_values_or_of_complex_numbers() -> None:
    with pytest.raises(InvalidTypeError, match="layer 0: weight: .*without values"):
        describe(nn.Linear(2, 2, device="meta"), (2,))
    with pytest.raises(InvalidTypeError, match="complex64"):
        describe(nn.Linear(2, 2, dtype=torch.complex64), (2,))


def test_quantised_modules() -> None:
    class Linear(nn.Linear):
        pass

    Linear.__module__ = "torch.ao.nn.quantized.modules.linear"
    with pytest.raises(UnsupportedLayerError, match="layer 0 .*quantised.*floating-point original"):
        describe(nn.Sequential(Linear(2, 2)), (2,))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), r"layer body.0 conv2d: .*1 channels"),
        ((1, 8), r"layer body.0 conv2d takes images \[channels, height, width\], got values of shape \[1, 8\]"),
        ((1, 2, 2), "layer body.0 conv2d: .*reaches the kernel"),
        ((1, 9, 8), r"layer head linear takes values of shape \[36\], got \[42\]"),
    ],
)
def test_a_wrong_shape_names_the_layer(shape: tuple[int, ...], message: str) -> None:
    function = lambda m, x: m.head(m.body(x).flatten(1))  # noqa: E731
    module = forward(function, body=nn.Sequential(nn.Conv2d(1, 1, 3), Square()), head=nn.Linear(36, 2))
    assert describe(module, (1, 8, 8)).network.output_shape == [2]
    with pytest.raises(ShapeError, match=message):
        describe(module, shape)


def test_a_module_needs_its_input_shape() -> None:
    with pytest.raises(InvalidValueError, match=r"such as \(1, 28, 28\)"):
        describe(nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["net.pt", "net.PTH", "net.pkl", "pytorch_model.bin"])
def test_pickled_files_are_never_opened(name: str, tmp_path: Any) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (sys.exit, (3,))

    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    for path in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(UnsupportedError, match=r"unpickling runs code.*weights_only=True.*safetensors or ONNX"):
            describe(path, (2,))


# pycrcnn.nn.


def test_importing_and_compiling_without_torch_modules_leaves_torch_alone() -> None:
    script = (
        "import sys, pycrcnn, pycrcnn.nn, pycrcnn.frontends as f\n"
        "f.describe([{'type': 'square'}], (2,))\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"
        "try: pycrcnn.nn.Square\n"
        "except ImportError as error: print(error.code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "missing-package pycrcnn.nn needs PyTorch: pip install 'pycrcnn[torch]'\n"


def test_activations_train_and_are_pickled() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Relu'"):
        _ = pycrcnn.nn.Relu
    with pytest.raises(InvalidValueError, match="finite numbers"):
        pycrcnn.nn.Polynomial([float("nan")])
    polynomial = pycrcnn.nn.Polynomial((1.0, 2.0, 3.0), trainable=True)
    polynomial(torch.tensor([2.0])).backward()
    assert polynomial.coefficients.grad.tolist() == [1.0, 2.0, 4.0]
    assert not list(pycrcnn.nn.Polynomial((1.0, 2.0)).parameters())
    assert "1.0, 2.0, 3.0" in repr(pickle.loads(pickle.dumps(polynomial)))
    assert pickle.loads(pickle.dumps(pycrcnn.nn.Square()))(torch.tensor(3.0)) == 9
