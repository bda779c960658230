"""Random small networks: encrypted, simulated and clear answers agree in every layout, within the predicted error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pycrcnn
from pycrcnn.nn import Polynomial
from pycrcnn.program import FractionalParameters, Program

Layers = list[dict[str, Any]]
Array = NDArray[np.float64]

some = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def convolution(rng: np.random.Generator, channels: tuple[int, int], kernel: int, stride: int, padding: int) -> Any:
    weight = rng.normal(size=(channels[1], channels[0], kernel, kernel)) / math.sqrt(channels[0] * kernel**2)
    return {"type": "conv2d", "weight": weight, "bias": rng.normal(size=channels[1]) / 4, "stride": stride,
            "padding": padding}  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> tuple[Layers, tuple[int, int, int], int]:
    """Layers, the shape of an image, and a seed: a convolution, perhaps pooling, squares, one or two linear layers."""
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    shape = draw(st.integers(1, 3)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    filters, kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, kernel // 2))
    layers: Layers = [convolution(rng, (shape[0], filters), kernel, stride, padding)]
    size = [(length + 2 * padding - kernel) // stride + 1 for length in shape[1:]]
    layers += [{"type": "square"}] if draw(st.booleans()) else []
    if draw(st.booleans()) and min(size) >= 2:
        layers.append({"type": "avg_pool2d", "kernel": 2})
        size = [length // 2 for length in size]
    layers.append({"type": "flatten"})
    values = filters * size[0] * size[1]
    for width in draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)):
        weight = rng.normal(size=(width, values)) / math.sqrt(values)
        layers.append({"type": "linear", "weight": weight, "bias": rng.normal(size=width) / 4})
        layers += [{"type": "square"}] if draw(st.booleans()) and len(layers) < 6 else []
        values = width
    return layers, shape, seed


def images_for(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed + 1).uniform(-1, 1, (8, *shape))


def check(program: Program, images: Array) -> Array:
    """The encrypted answers, once they and the simulated ones are where they are expected."""
    clear = program.predict(images)
    encrypted, simulated = (program.predict(images, mode=mode) for mode in ("encrypted", "simulate"))
    assert np.abs(encrypted - clear).max() <= program.error
    assert np.abs(simulated - clear).max() <= program.error
    return encrypted


@some
@given(networks())
def test_layouts_agree_within_what_they_predict(case: tuple[Layers, tuple[int, int, int], int]) -> None:
    layers, shape, seed = case
    images = images_for(shape, seed)
    packed = pycrcnn.compile(layers, shape, layout="packed", calibration=images)
    batched = pycrcnn.compile(layers, shape, layout="batched", calibration=images)
    difference = np.abs(check(packed, images) - check(batched, images)).max()
    assert difference <= packed.error + batched.error


@some
@given(networks())
def test_per_value_answers_are_the_simulated_ones(case: tuple[Layers, tuple[int, int, int], int]) -> None:
    layers, shape, seed = case
    layers = [
        {name: np.round(value * 16) / 16 if isinstance(value, np.ndarray) else value for name, value in layer.items()}
        for layer in layers
    ]
    assume(sum(layer["type"] == "square" for layer in layers) <= 1)
    image = np.round(images_for(shape, seed)[:1] * 16) / 16
    parameters = FractionalParameters(p=2**40 + 1)
    program = pycrcnn.compile(layers, shape, layout="per-value", parameters=parameters, calibration=image)
    encrypted = check(program, image)
    np.testing.assert_array_equal(encrypted, program.predict(image, mode="simulate"))


@some
@given(case=networks(), precision=st.integers(8, 16), exponent=st.integers(-6, 6))
def test_neither_precision_nor_images_in_a_ciphertext_change_answers(
    case: tuple[Layers, tuple[int, int, int], int], precision: int, exponent: int
) -> None:
    layers, shape, seed = case
    images = images_for(shape, seed) * 2.0**exponent
    one = pycrcnn.compile(layers, shape, layout="packed", calibration=images)
    other = pycrcnn.compile(layers, shape, layout="packed", calibration=images, precision=precision, batch=4)
    difference = np.abs(check(one, images) - check(other, images)).max()
    assert difference <= one.error + other.error


@some
@given(degree=st.integers(2, 4), residual=st.booleans(), seed=seeds)
def test_polynomials_and_residual_blocks(degree: int, residual: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.Conv2d(2, 2, 3, padding=1), torch.nn.Linear(32, 3)
            self.activation = Polynomial(tuple(rng.uniform(-0.5, 0.5, degree + 1)))

        def forward(self, x: Any) -> Any:
            y = self.activation(self.first(x))
            return self.last((x + y if residual else y).flatten(1))

    torch.manual_seed(seed % 2**31)
    block, images = Block().eval(), images_for((2, 4, 4), seed)
    packed = pycrcnn.compile(block, (2, 4, 4), layout="packed", calibration=images)
    batched = pycrcnn.compile(block, (2, 4, 4), layout="batched", calibration=images)
    assert np.abs(check(packed, images) - check(batched, images)).max() <= packed.error + batched.error
