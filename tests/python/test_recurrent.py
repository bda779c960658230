"""Recurrent layers and parts of tensors: what they compute, in clear and encrypted, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pycrcnn
from pycrcnn.errors import PyCrCNNError, ShapeError, UnsupportedError, UnsupportedLayerError
from pycrcnn.frontends import describe
from pycrcnn.nn import Recurrent, Square

RNG = np.random.default_rng(9)


def states(layer: dict[str, Any], x: Any) -> Any:
    """The definition, step by step, on [n, steps, inputs]."""
    state = np.zeros((len(x), len(layer["weight"])))
    for step in range(x.shape[1]):
        inner = x[:, step] @ layer["weight"].T + layer.get("bias", 0) + state @ layer["recurrent"].T
        state = np.polynomial.Polynomial(layer.get("coefficients", (0, 0, 1)))(inner)
    return state


def recurrent(inputs: int, hidden: int, **fields: Any) -> dict[str, Any]:
    weights = {"weight": RNG.normal(size=(hidden, inputs)), "recurrent": RNG.normal(size=(hidden, hidden))}
    return {"type": "recurrent", **{name: each / 4 for name, each in weights.items()}, **fields}


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    "fields", [{}, {"bias": np.ones(3), "coefficients": [0.1, 0.5, 0.25]}, {"coefficients": [1, 2]}]
)
def test_the_definition(steps: int, fields: Any) -> None:
    layer: Any = recurrent(4, 3, **fields)
    x = RNG.normal(size=(6, steps, 4))
    answers = describe([layer], (steps, 4)).network.evaluate(x.reshape(-1)).reshape(6, 3)
    np.testing.assert_allclose(answers, states(layer, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_encrypted(layout: Any) -> None:
    layers: Any = [recurrent(3, 2, bias=np.array([0.1, -0.2])), {"type": "linear", "weight": RNG.normal(size=(2, 2))}]
    x = RNG.uniform(-1, 1, (8, 3, 3))
    program = pycrcnn.compile(layers, (3, 3), layout=layout, calibration=x)
    expected = states(layers[0], x) @ layers[1]["weight"].T
    np.testing.assert_allclose(program.predict(x), expected, rtol=1e-9, atol=1e-9)
    encrypted = program.predict(x[:2], mode="encrypted")
    np.testing.assert_allclose(encrypted, expected[:2], atol=2 * program.error)


class Looped(nn.Module):
    """The same cell as somebody would write it in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Recurrent(4, 3)
        self.square = Square()

    def forward(self, x: Any) -> Any:
        state = self.cell.activation(self.cell.input(x[:, 0, 0]))
        for step in range(1, 4):
            state = self.cell.activation(self.cell.input(x[:, 0, step]) + self.cell.recurrent(state))
        return self.square(state)


def test_the_module_and_a_loop_are_the_same() -> None:
    torch.manual_seed(3)
    looped = Looped().double()
    module = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 4)), looped.cell, looped.square)
    x = RNG.normal(size=(5, 1, 4, 4))
    with torch.no_grad():
        expected = looped(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, rtol=1e-12)
    for network in (looped, module):
        answers = describe(network, (1, 4, 4)).network.evaluate(x.reshape(-1)).reshape(5, 3)
        np.testing.assert_allclose(answers, expected, rtol=1e-9, atol=1e-12)


class Part(nn.Module):
    def __init__(self, take: Callable[[Any], Any]) -> None:
        super().__init__()
        self.take = take

    def forward(self, x: Any) -> Any:
        return self.take(x) * 1.0


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[:, 1],
        lambda x: x[:, -1, 2:],
        lambda x: x[:, :, 1:4:2, ::3],
        lambda x: x[..., 0],
        lambda x: x[:, 0, ..., -2],
        lambda x: x[:],
        lambda x: x.select(2, 3),
        lambda x: torch.narrow(x, -1, 1, 3),
        lambda x: x.flatten(1).unflatten(1, (5, 8))[:, 2:4],
    ],
)
def test_parts_of_tensors(take: Callable[[Any], Any]) -> None:
    x = RNG.normal(size=(3, 2, 4, 5))
    expected = take(torch.from_numpy(x)).numpy()
    network = describe(Part(take), (2, 4, 5)).network
    assert tuple(network.output_shape) == expected.shape[1:]
    np.testing.assert_array_equal(network.evaluate(x.reshape(-1)).reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "take", [lambda x: x[0], lambda x: x[:, None], lambda x: x[:, 5], lambda x: x[:, :, 2:2], lambda x: x[:, [0, 1]]]
)
def test_parts_that_are_refused(take: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedLayerError, match="takes the part"):
        describe(Part(take), (2, 4, 5))


@pytest.mark.parametrize(
    ("layer", "shape", "error", "message"),
    [
        (recurrent(4, 3), (2, 5), ShapeError, r"shape \[steps, 4\], got \[2, 5\]"),
        (recurrent(4, 3, recurrent=np.ones((3, 4))), (2, 4), ShapeError, r"\[3, 3\] is needed"),
        (recurrent(4, 3), (28, 4), UnsupportedError, "has 28 steps, more than 17: let each take more values"),
        ({"type": "slice", "axis": 1, "start": 4}, (2, 4), ShapeError, "takes nothing of the 4 values along axis 1"),
        ({"type": "slice", "axis": 2}, (2, 4), PyCrCNNError, "axis"),
    ],
)
def test_layers_that_do_not_fit(layer: Any, shape: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        describe([layer], shape)
