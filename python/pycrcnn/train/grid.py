"""Weights with few binary digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["on_grid"]


class _Grid(nn.Module):
    """Rounds to multiples of 2^-bits; gradients pass as if nothing had been rounded (Bengio et al. 2013)."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self._step = 2.0**-bits

    def forward(self, x: Tensor) -> Tensor:
        return x + (torch.round(x / self._step) * self._step - x).detach()


@contextmanager
def on_grid(network: nn.Module, bits: int | None) -> Iterator[None]:
    """Keep every parameter a multiple of 2^-bits, during and after; None leaves them free."""
    if bits is None:
        yield
        return
    parameters = [(layer, name) for layer in network.modules() for name, _ in layer.named_parameters(recurse=False)]
    for layer, name in parameters:
        parametrize.register_parametrization(layer, name, _Grid(bits))
    try:
        yield
    finally:
        for layer, name in parameters:
            parametrize.remove_parametrizations(layer, name)
