"""Networks made fit for encryption: what has to be replaced is, and the rest stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn import datasets, models
from pycrcnn.errors import InvalidTypeError, InvalidValueError, UnsupportedError, UnsupportedLayerError

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional

IMAGES = np.random.default_rng(5).normal(size=(64, 1, 12, 12))


class Functional(nn.Module):  # type: ignore[misc]
    """Activations and pooling as calls, one module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.tanh = nn.Tanh()
        self.last = nn.Linear(27, 4)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.leaky_relu(self.conv(x), 0.1), 2)
        x = x + self.tanh(self.second(x))
        return self.last(torch.flatten(functional.adaptive_max_pool2d(self.tanh(x).relu(), 3), 1))


def sequential() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2, padding=1), nn.Flatten(),
        nn.Dropout(), nn.Linear(144, 8), nn.GELU(), nn.Linear(8, 3), nn.Sigmoid(),
    )  # fmt: skip


def test_modules_are_replaced_where_they_stand() -> None:
    net = sequential()
    before = [type(layer).__name__ for layer in net]
    approximation = pycrcnn.approximate(net)
    assert [type(layer).__name__ for layer in net] == before
    assert type(approximation.model) is nn.Sequential
    after = [type(layer).__name__ for layer in approximation.model]
    assert after == [{"ReLU": "Square", "GELU": "Square", "MaxPool2d": "AvgPool2d"}.get(name, name) for name in before]
    assert [change.layer for change in approximation.changes] == ["2", "3", "7"]
    program = pycrcnn.compile(approximation.model, (1, 12, 12), calibration=IMAGES)
    assert [layer.kind for layer in program.client_head] == ["sigmoid"]


def test_calls_and_shared_modules_are_replaced_one_by_one() -> None:
    torch.manual_seed(2)
    approximation = pycrcnn.approximate(Functional(), "polynomial", 4, IMAGES)
    assert [change.original for change in approximation.changes] == [
        "leaky_relu", "max_pool2d", "Tanh", "Tanh", "relu", "adaptive_max_pool2d",
    ]  # fmt: skip
    # Two uses of one module see other values, so they become two polynomials.
    first, second = (change for change in approximation.changes if change.original == "Tanh")
    assert first.range != second.range
    program = pycrcnn.compile(approximation.model, (1, 12, 12), calibration=IMAGES)
    with torch.no_grad():
        expected = approximation.model(torch.from_numpy(IMAGES).float()).numpy()
    np.testing.assert_allclose(program.predict(IMAGES), expected, atol=1e-4 * np.abs(expected).max())


def test_polynomials_are_the_least_squares_of_what_was_seen() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(144, 2))
    errors = []
    for degree in (1, 3, 5):
        change = pycrcnn.approximate(net, "polynomial", degree, IMAGES).changes[0]
        assert change.range == (float(np.float32(IMAGES.min())), float(np.float32(IMAGES.max())))
        assert change.error is not None
        errors.append(change.error)
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    best = np.polynomial.Polynomial.fit(IMAGES.ravel(), np.tanh(IMAGES.ravel()), 3)
    least = np.sqrt(np.mean(np.square(best(IMAGES.ravel()) - np.tanh(IMAGES.ravel()))))
    assert least <= errors[1] < 1.5 * least


def test_coefficients_are_trained_with_the_network() -> None:
    model = pycrcnn.approximate(sequential(), "polynomial", 2, IMAGES).model
    assert model[2].coefficients.requires_grad
    model(torch.from_numpy(IMAGES).float()).sum().backward()
    assert model[2].coefficients.grad is not None


def test_a_trained_network_is_followed_more_closely_with_every_degree() -> None:
    plain = models.load("fashion-5layer-plain")
    conv, _, _, _, hidden, last = plain.layers
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, 3), nn.ReLU(), nn.AvgPool2d(3, 3), nn.Flatten(), nn.Linear(144, 72), nn.Linear(72, 10)
    )
    with torch.no_grad():
        for layer, weights in ((net[0], conv), (net[4], hidden), (net[5], last)):
            layer.weight.copy_(torch.tensor(weights["weight"]))
            layer.bias.copy_(torch.tensor(weights["bias"]))
    training = plain.normalise(datasets.load("fashion-mnist", "train")[0][:500])
    images = torch.from_numpy(plain.normalise(datasets.load("fashion-mnist", "test")[0][:1000])).float()
    errors, agreements = [], []
    with torch.no_grad():
        logits = net(images)
        for kind, degree in (("square", 2), ("polynomial", 2), ("polynomial", 4), ("polynomial", 8)):
            approximated = pycrcnn.approximate(net, kind, degree, training).model(images)  # type: ignore[arg-type]
            errors.append(float((approximated - logits).square().mean().sqrt() / logits.std()))
            agreements.append(float((approximated.argmax(1) == logits.argmax(1)).double().mean()))
    assert errors == sorted(errors, reverse=True)
    assert agreements == sorted(agreements)
    assert errors[-1] < 0.2
    assert agreements[-1] > 0.8


def test_what_cannot_be_replaced_is_said() -> None:
    class Shared(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x + functional.relu(x, inplace=True)

    dilated = nn.Sequential(nn.MaxPool2d(2, dilation=2))
    with pytest.raises(UnsupportedLayerError, match="dilated"):
        pycrcnn.approximate(dilated)
    with pytest.raises(UnsupportedError, match="inplace=False"):
        pycrcnn.approximate(Shared())
    for arguments, error in (
        ((sequential(), "cubic"), InvalidValueError),
        ((sequential(), "polynomial"), InvalidValueError),
        ((sequential(), "polynomial", 16, IMAGES), InvalidValueError),
        ((sequential(), "polynomial", 2, IMAGES[:, 0]), InvalidValueError),
        (("model",), InvalidTypeError),
    ):
        with pytest.raises(error):
            pycrcnn.approximate(*arguments)


def test_nothing_to_replace() -> None:
    approximation = pycrcnn.approximate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    assert str(approximation) == "nothing had to be replaced"
