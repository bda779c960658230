"""Client and server in one process: encrypt, evaluate, decrypt."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pycrcnn._arrays import Numbers
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.errors import FormatError
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester._setup import chosen_layers, load_model, pyfhel_from

__all__ = ["local_execution"]

_LOGGER = logging.getLogger("pycrcnn")


def local_execution(data: Any, parameters: Mapping[str, Any], debug: bool = False, *, net: Any = None) -> Numbers:
    """Runs layers of a network on encrypted images and returns the plain result.

    Parameters
    ----------
    data : array_like
        Plain images, ``[n, channels, y, x]`` (or ``[n, values]``).
    parameters : mapping
        ``{"encryption_parameters": [{"m", "p", "sec", "base"}], "layers": [ints], "max_threads": n}``; layers run
        from min to max, inclusive. ``"model_path"`` names the network's file, ``./model.pt`` unless given.
    debug : bool, optional
        Print each layer and the noise budget behind it.
    net : torch.nn.Sequential or Model, optional
        The network, in place of the file.

    Returns
    -------
    numpy.ndarray
        What the last layer gives, decrypted.
    """
    cases = parameters.get("encryption_parameters")
    if not isinstance(cases, list) or not cases:
        raise FormatError('parameters: a list "encryption_parameters" is needed')
    if net is None:
        net = load_model(parameters.get("model_path", "./model.pt"))
    net = chosen_layers(net, parameters.get("layers"))
    HE = pyfhel_from(cases[0], parameters.get("max_threads", 0))
    encoded_net = build_from_pytorch(HE, net)

    encrypted = encrypt_matrix(HE, data)
    for layer in encoded_net:
        start = time.perf_counter()
        encrypted = layer(encrypted)
        _LOGGER.info("%s took %.3f s", type(layer).__name__, time.perf_counter() - start)
        if debug:
            print(f"Passed layer: {type(layer).__name__}")
            print(f"Noise Budget: {HE.noiseLevel(encrypted.flat[0])}")
    return decrypt_matrix(HE, encrypted)  # type: ignore[no-any-return]
