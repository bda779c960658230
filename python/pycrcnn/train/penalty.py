"""The price of values that activations would blow up."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pycrcnn.nn import Polynomial, Square

__all__ = ["RangePenalty"]


class RangePenalty:
    """Watches what enters the polynomial activations of a network while it is open.

    Parameters
    ----------
    network : torch.nn.Module
    calm_range : float
        Magnitudes up to this are free.
    """

    def __init__(self, network: nn.Module, calm_range: float) -> None:
        self._calm_range = calm_range
        self._sum: Any = 0.0
        activations = [module for module in network.modules() if isinstance(module, Square | Polynomial)]
        self._hooks = [module.register_forward_pre_hook(self._watch) for module in activations]

    def _watch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        self._sum = self._sum + functional.relu(x.abs() - self._calm_range).square().sum() / len(x)

    def take(self) -> Any:
        """The squared excess since the last call, summed over the values of an image; a tensor, or 0."""
        taken, self._sum = self._sum, 0.0
        return taken

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()
