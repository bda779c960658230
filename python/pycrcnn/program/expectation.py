"""The error that a program states, by simulated answers to calibration images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native

__all__ = ["different", "expected_error", "repeated"]

#: Calibration images by which errors are predicted, at most, and simulated answers, at least.
_EXAMPLES = 512


def different(examples: NDArray[np.float64]) -> int:
    """How many of some images errors are predicted by."""
    return min(len(examples), _EXAMPLES)


def repeated(examples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last of some images, again and again until there are enough: noise is another one each time. Flattened."""
    some = examples[-_EXAMPLES:]
    return np.tile(some.reshape(-1), -(-_EXAMPLES // len(some)))


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
    differences = (native.simulate(images, threads=threads) - exact).reshape(-1, math.prod(network.output_shape))
    stated = _native.expected_error(differences, different(examples), native.squares(), native.client().capacity)
    # Where integers represent the network's numbers exactly, what is left is the rounding of the clear network.
    return max(stated, float(np.finfo(float).eps * np.abs(exact).max()))
