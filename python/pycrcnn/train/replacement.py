"""Layers that are replaced little by little."""

from __future__ import annotations

from torch import nn

from pycrcnn.nn import Blend

__all__ = ["Replacement"]


class Replacement:
    """Leads the blends of a network from the original layers to their replacements.

    Parameters
    ----------
    network : torch.nn.Module
    steps : int
        After which only the replacements count; 0 for at once.
    """

    def __init__(self, network: nn.Module, steps: int) -> None:
        self._network = network
        self._blends = {name: module for name, module in network.named_modules() if isinstance(module, Blend)}
        self._steps = steps
        self._made = 0

    def step(self) -> None:
        """Set the blends for the next step."""
        share = self._made / self._steps if self._made < self._steps else 1.0
        for blend in self._blends.values():
            blend.share = share
        self._made += 1

    def finish(self) -> None:
        """Put the replacements in the place of the blends."""
        for name, blend in self._blends.items():
            parent, _, child = name.rpartition(".")
            setattr(self._network.get_submodule(parent), child, blend.replacement)
