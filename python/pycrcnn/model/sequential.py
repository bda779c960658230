"""A network of encoded layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch

__all__ = ["Sequential"]


class Sequential:
    """A PyTorch network on encrypted images.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys.
    model : torch.nn.Sequential
        See :func:`pycrcnn.net_builder.encoded_net_builder.build_from_pytorch`.

    Attributes
    ----------
    layers : list
        The encoded layers.
    """

    def __init__(self, HE: Any, model: Any) -> None:
        self.HE = HE
        self.layers = build_from_pytorch(HE, model)

    def __call__(self, x: Any, debug: bool = False) -> Any:
        """Calls the layers one after the other.

        Parameters
        ----------
        x : array_like
            Encrypted images.
        debug : bool, optional
            Print each layer's name and the noise budget of a value that it gave.

        Returns
        -------
        numpy.ndarray
            What the last layer gave.
        """
        for layer in self.layers:
            x = layer(x)
            if debug:
                print(f"Passed layer: {type(layer).__name__}")
                budget = getattr(self.HE, "noise_budget", None) or self.HE.noiseLevel
                print(f"Noise Budget: {budget(np.asarray(x).flat[0])}")
        return x
