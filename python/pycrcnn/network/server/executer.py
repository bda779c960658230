"""Layers of a network on encrypted images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester._setup import chosen_layers

__all__ = ["perform_computation"]


def perform_computation(HE: Any, enc_images: Any, net: Any, layers: Sequence[int] | None) -> Any:
    """Evaluates layers of a network, from the smallest to the largest number given, inclusive.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters, and evaluation keys where the scheme needs them; no secret key.
    enc_images : numpy.ndarray
        Ciphertexts, ``[n, channels, y, x]`` or ``[n, values]``.
    net : torch.nn.Sequential, Model or sequence of layers
        The network.
    layers : sequence of int or None
        Numbers of layers, from 0; all for none.

    Returns
    -------
    numpy.ndarray
        Ciphertexts: what the last layer gives.
    """
    for layer in build_from_pytorch(HE, chosen_layers(net, layers)):
        enc_images = layer(enc_images)
    return enc_images
