"""The error that a program states, by simulated answers to calibration images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native

__all__ = ["error_of", "expected_error", "repeated"]

#: Calibration images by which errors are predicted, at most, and simulated answers, at least.
_EXAMPLES = 512


def repeated(examples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last of some images, again and again until there are enough: noise is another one each time. Flattened."""
    some = examples[-_EXAMPLES:]
    return np.tile(some.reshape(-1), -(-_EXAMPLES // len(some)))


def error_of(
    differences: NDArray[np.float64],
    examples: NDArray[np.float64],
    squares: int,
    native: _native.Program,
    network: _native.Network,
) -> float:
    """What is stated where simulated answers of a program differ from the exact ones by so much.

    Parameters
    ----------
    differences : ndarray, shape [m * outputs]
        Of the answers to :func:`repeated` `examples`.
    examples : ndarray, shape [n, *input_shape]
    squares : int
        One after the other, up to these answers.
    native : _native.Program
    network : _native.Network
        That it was compiled from.
    """
    answers = differences.reshape(-1, math.prod(network.output_shape))
    return _native.expected_error(answers, min(len(examples), _EXAMPLES), squares, native.client().capacity)


def expected_error(
    native: _native.Program, network: _native.Network, examples: NDArray[np.float64], threads: int
) -> float:
    """The largest error of an answer that is to be expected, of a thousand answers or of a batch.

    Parameters
    ----------
    native : _native.Program
        CKKS, or packed BFV.
    network : _native.Network
        That it was compiled from.
    examples : ndarray, shape [n, *input_shape]
    threads : int
    """
    images = repeated(examples)
    exact = network.evaluate(images, threads)
    differences = native.simulate(images, threads=threads) - exact
    stated = error_of(differences, examples, native.squares(), native, network)
    # Where integers represent the network's numbers exactly, what is left is the rounding of the clear network.
    return max(stated, float(np.finfo(float).eps * np.abs(exact).max()))
