"""Random small networks: encrypted, simulated and clear answers agree in every layout, within the predicted error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import pycrcnn
from pycrcnn.nn import Polynomial
from pycrcnn.program import FractionalParameters, Program
from random_networks import Array, Layers, images_for, networks, seeds, some


def check(program: Program, images: Array) -> Array:
    """The encrypted answers, once they and the simulated ones are where they are expected."""
    clear = program.predict(images)
    encrypted, simulated = (program.predict(images, mode=mode) for mode in ("encrypted", "simulate"))
    assert np.abs(encrypted - clear).max() <= program.error
    assert np.abs(simulated - clear).max() <= program.error
    return encrypted


@some(12)
@given(networks())
def test_layouts_agree_within_what_they_predict(case: tuple[Layers, tuple[int, int, int], int]) -> None:
    layers, shape, seed = case
    images = images_for(shape, seed)
    packed = pycrcnn.compile(layers, shape, layout="packed", calibration=images)
    batched = pycrcnn.compile(layers, shape, layout="batched", calibration=images)
    difference = np.abs(check(packed, images) - check(batched, images)).max()
    assert difference <= packed.error + batched.error


@some(12)
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


@some(12)
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


@some(12)
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
