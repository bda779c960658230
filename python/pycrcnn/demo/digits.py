"""A small network for scikit-learn's 8 x 8 digits, trained when it is needed: linear, square, linear.

Full-batch gradient descent with Adam (Kingma and Ba, 2015) on the cross entropy, in NumPy, from a fixed seed. Weights
end as multiples of 1/64, so that their fractional encodings are short, and the accuracy is measured after that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pycrcnn.models import Layer, Model

__all__ = ["TrainedDigits", "train"]

_Array = NDArray[np.float64]

_SEED = 8
_HIDDEN = 32
_TEST_IMAGES = 500
_EPOCHS = 60
_LEARNING_RATE = 0.03
_DECAY = 1e-4
_FRACTION_BITS = 6
_LARGEST_PIXEL = 16


@dataclass(frozen=True)
class TrainedDigits:
    """The network, its test images, the training images as the network takes them, and the seconds of training."""

    model: Model
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    examples: _Array
    seconds: float


def train() -> TrainedDigits:
    """Train on 1297 of the 1797 digits; the same weights every time on one machine.

    Raises
    ------
    ImportError
        scikit-learn, which holds the images, is not installed.
    """
    from sklearn.datasets import load_digits

    start = time.perf_counter()
    data = load_digits()
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(data.target))
    pixels, labels = data.images.astype(np.uint8)[order], data.target.astype(np.uint8)[order]
    images = pixels[:, None] / _LARGEST_PIXEL
    examples = images[_TEST_IMAGES:]
    weights = _descend(examples.reshape(len(examples), -1), labels[_TEST_IMAGES:], rng)
    weights = [np.round(w * 2**_FRACTION_BITS) / 2**_FRACTION_BITS for w in weights]
    flat = images.reshape(len(images), -1)
    hidden, logits = _forward(flat, weights)
    magnitudes = [np.abs(values[_TEST_IMAGES:]).max() for values in (flat, flat, hidden, hidden**2, logits)]
    correct = logits[:_TEST_IMAGES].argmax(1) == labels[:_TEST_IMAGES]
    model = Model(
        name="digits",
        input_shape=(1, 8, 8),
        layers=(
            Layer(type="flatten"),
            Layer(type="linear", weight=weights[0], bias=weights[1]),
            Layer(type="square"),
            Layer(type="linear", weight=weights[2], bias=weights[3]),
        ),
        dataset="digits",
        accuracy=float(correct.mean()),
        scale=1 / _LARGEST_PIXEL,
        offset=0.0,
        fraction_bits=_FRACTION_BITS,
        largest_magnitudes=tuple(map(float, magnitudes)),
        training={"command": "pycrcnn demo"},
    )
    return TrainedDigits(model, pixels[:_TEST_IMAGES], labels[:_TEST_IMAGES], examples, time.perf_counter() - start)


def _forward(images: _Array, weights: list[_Array]) -> tuple[_Array, _Array]:
    """What enters the square, and the logits."""
    hidden = images @ weights[0].T + weights[1]
    return hidden, hidden**2 @ weights[2].T + weights[3]


def _descend(images: _Array, labels: NDArray[np.uint8], rng: np.random.Generator) -> list[_Array]:
    """Weight and bias of both layers after training."""
    weights = [
        rng.normal(0, images.shape[1] ** -0.5, (_HIDDEN, images.shape[1])),
        np.zeros(_HIDDEN),
        rng.normal(0, _HIDDEN**-0.5, (10, _HIDDEN)),
        np.zeros(10),
    ]
    wanted = np.eye(10)[labels]
    means, squares = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for epoch in range(1, _EPOCHS + 1):
        for i, gradient in enumerate(_gradients(images, wanted, weights)):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient**2
            step = means[i] / (1 - 0.9**epoch) / (np.sqrt(squares[i] / (1 - 0.999**epoch)) + 1e-8)
            weights[i] = weights[i] - _LEARNING_RATE * (step + _DECAY * weights[i])
    return weights


def _gradients(images: _Array, wanted: _Array, weights: list[_Array]) -> list[_Array]:
    """Of the mean cross entropy, by each of the weights."""
    hidden, logits = _forward(images, weights)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    by_logits = (exponentials / exponentials.sum(1, keepdims=True) - wanted) / len(images)
    by_hidden = 2 * hidden * (by_logits @ weights[2])
    return [by_hidden.T @ images, by_hidden.sum(0), by_logits.T @ hidden**2, by_logits.sum(0)]
