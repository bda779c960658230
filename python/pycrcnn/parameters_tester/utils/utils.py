"""Errors and noise of encrypted results against plain ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pycrcnn._arrays import as_numbers
from pycrcnn._engine import Engine, engine_of
from pycrcnn.errors import InvalidTypeError, NoiseBudgetError, ShapeError
from pycrcnn.functional.flatten_layer import FlattenLayer
from pycrcnn.functional.rencryption_layer import RencryptionLayer
from pycrcnn.he.HE import MockHE
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch

__all__ = ["get_max_error", "get_min_noise", "run_both", "test_net"]


def get_max_error(HE: Any, p_matrix: Any, c_matrix: Any) -> tuple[float, tuple[int, ...]]:
    """The largest difference between plain and encrypted numbers, and where it is.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys, the secret key among them.
    p_matrix : array_like
        Plain numbers.
    c_matrix : numpy.ndarray
        Ciphertexts of the same shape.

    Returns
    -------
    error : float
    index : tuple of int
        The first position with that difference.
    """
    plain, decrypted = as_numbers(p_matrix, "p_matrix"), np.asarray(engine_of(HE).decrypt(c_matrix))
    if plain.shape != decrypted.shape:
        raise ShapeError(f"plain numbers of shape {plain.shape} and ciphertexts of shape {decrypted.shape} differ")
    differences = np.abs(plain - decrypted)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(differences)), plain.shape))
    return float(differences[index]), index


def get_min_noise(HE: Any, matrix: Any) -> int:
    """The smallest noise budget, in bits, of an array of ciphertexts."""
    engine = engine_of(HE)
    if not isinstance(engine, Engine):
        raise InvalidTypeError("plain numbers have no noise budget")
    return int(np.min(engine.noise_budget(matrix)))


def run_both(HE: Any, net: Any, encoded_layers: Any, images: Any, after: Callable[[str, Any, Any], None]) -> float:
    """Runs a network on encrypted and on plain images side by side.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys, the secret key among them.
    net : torch.nn.Sequential
        The plain network.
    encoded_layers : list
        What ``build_from_pytorch`` made of it, re-encryption layers included.
    images : array_like
        Plain images, the first axis the batch.
    after : callable
        Called with a layer's name, the plain and the encrypted values behind it; first with ``"start"``.

    Returns
    -------
    float
        The largest error of the result; infinity where the noise has drowned it.
    """
    plain = as_numbers(images, "images")
    encrypted = engine_of(HE).encrypt(plain)
    plain_layers = iter(build_from_pytorch(MockHE(), net))
    after("start", plain, encrypted)
    try:
        for layer in encoded_layers:
            encrypted = layer(encrypted)
            if not isinstance(layer, RencryptionLayer):
                plain = next(plain_layers)(plain)
            after(type(layer).__name__, plain, encrypted)
        return get_max_error(HE, plain, encrypted)[0]
    except NoiseBudgetError:
        return math.inf


def test_net(HE: Any, net: Any, encoded_layers: Any, images: Any, verbose: bool) -> float:
    """The largest error of an encrypted network's answer; prints each layer's where verbose.

    Parameters
    ----------
    HE, net, encoded_layers, images
        See :func:`run_both`.
    verbose : bool
        Print error and noise behind each layer.

    Returns
    -------
    float
        The largest error; infinity where the noise has drowned the answer.
    """

    def report(layer: str, plain: Any, encrypted: Any) -> None:
        if not verbose or layer in (FlattenLayer.__name__, RencryptionLayer.__name__):
            return
        noise = get_min_noise(HE, encrypted)
        print(f"---- {layer}: min noise {noise}")
        if noise:
            error, index = get_max_error(HE, plain, encrypted)
            print(f"max error {error} at {index}, plain value {plain[index]}, mean {np.mean(plain)}")

    return run_both(HE, net, encoded_layers, images, report)


test_net.__test__ = False  # type: ignore[attr-defined]  # a helper by PyCrCNN's name, not a test of pytest's
