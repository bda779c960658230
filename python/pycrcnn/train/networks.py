"""The architectures of the networks that come with the package."""

from __future__ import annotations

from torch import nn

from pycrcnn.nn import Polynomial, Recurrent, Square

__all__ = [
    "cryptonets",
    "five_layer",
    "lenet_1",
    "lenet_5",
    "recurrent",
    "six_layer",
    "three_convolutions",
    "two_convolutions",
]


def five_layer() -> nn.Sequential:
    """The paper's 5-layer network, before approximation."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, stride=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=3),
        nn.Flatten(),
        nn.Linear(144, 72),
        nn.Linear(72, 10),
    )


def six_layer() -> nn.Sequential:
    """The paper's 6-layer network, before approximation; it has no activation."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3),
        nn.MaxPool2d(kernel_size=2, stride=3),
        nn.Conv2d(8, 16, kernel_size=3, stride=2),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(64, 16),
        nn.Linear(16, 10),
    )


def cryptonets() -> nn.Sequential:
    """The network of CryptoNets (Gilad-Bachrach et al., ICML 2016), in its form for inference."""
    return nn.Sequential(
        nn.Conv2d(1, 5, kernel_size=5, stride=2, padding=1),
        Square(),
        nn.Flatten(),
        nn.Linear(845, 100),
        Square(),
        nn.Linear(100, 10),
    )


def lenet_1() -> nn.Sequential:
    """LeNet-1 (LeCun et al., 1989) with one square; everything behind that is one matrix."""
    return nn.Sequential(
        nn.Conv2d(1, 4, kernel_size=5),
        nn.BatchNorm2d(4),
        Square(),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(4, 12, kernel_size=5),
        nn.AvgPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(192, 10),
    )


def lenet_5() -> nn.Sequential:
    """Two convolutions and two squares, after LeNet-5 (LeCun et al., 1998); strides in place of pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(8),
        Square(),
        nn.Conv2d(8, 16, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Flatten(),
        nn.Linear(576, 10),
    )


def three_convolutions() -> nn.Sequential:
    """A network in the shape of CIFAR-10: three channels of 32 x 32, three convolutions, three squares."""
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        Square(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def two_convolutions() -> nn.Sequential:
    """A network designed for encryption: strides in place of pooling, two learnt polynomials, one matrix behind them.

    Wide rather than deep: a channel more costs diagonals, an activation more costs two levels and with them larger
    rings and keys. All values of the first convolution fit the slots of one ciphertext of N = 8192.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Polynomial((0.0, 0.5, 0.25), trainable=True),
        nn.Conv2d(16, 64, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(64),
        Polynomial((0.0, 0.5, 0.25), trainable=True),
        nn.Flatten(),
        nn.Linear(2304, 10),
    )


def recurrent() -> nn.Sequential:
    """Rows of an image of 30 x 28 as time steps, six a step, and a polynomial cell.

    Five steps are what the levels of N = 16384 allow; the paper leaves recurrent networks to future work.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Unflatten(1, (5, 168)),
        Recurrent(168, 32),
        nn.Linear(32, 10),
    )
