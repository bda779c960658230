"""Images in random order, moved and mirrored a little."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from pycrcnn.train.options import Options

__all__ = ["batches"]


def batches(
    images: Tensor, labels: Tensor, options: Options, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images once, with their labels."""
    for batch in torch.randperm(len(images), generator=generator).split(options.batch):
        x = images[batch]
        if options.flip:
            mirrored = torch.rand(len(x), generator=generator) < 0.5
            x = torch.where(mirrored.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
        if options.shift:
            x = _shifted(x, options.shift, generator)
        yield x, labels[batch]


def _shifted(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Every image moved by up to `most` pixels along both axes, its own way."""
    height, width = x.shape[-2:]
    padded = functional.pad(x, (most, most, most, most))
    dy, dx = torch.randint(0, 2 * most + 1, (2, len(x)), generator=generator)
    rows = (dy[:, None] + torch.arange(height))[:, :, None]
    columns = (dx[:, None] + torch.arange(width))[:, None, :]
    # Indices on either side of the channels put these last.
    return padded.movedim(-3, -1)[torch.arange(len(x))[:, None, None], rows, columns].movedim(-1, -3)
