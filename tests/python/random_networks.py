"""Random small networks, for tests that hold for every network."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Layers = list[dict[str, Any]]
Array = NDArray[np.float64]

seeds = st.integers(0, 2**32 - 1)


#: So many times as many networks, for whoever has the time.
_TIMES = int(os.environ.get("PYCRCNN_TIMES", "1"))


def some(examples: int) -> settings:
    """So many networks, the same ones in every run."""
    return settings(
        max_examples=examples * _TIMES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )


def convolution(rng: np.random.Generator, channels: tuple[int, int], kernel: int, stride: int, padding: int) -> Any:
    weight = rng.normal(size=(channels[1], channels[0], kernel, kernel)) / math.sqrt(channels[0] * kernel**2)
    return {"type": "conv2d", "weight": weight, "bias": rng.normal(size=channels[1]) / 4, "stride": stride,
            "padding": padding}  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> tuple[Layers, tuple[int, int, int], int]:
    """Layers, the shape of an image, and a seed: a convolution, perhaps pooling, squares, one or two linear layers."""
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    shape = draw(st.integers(1, 3)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    filters, kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, kernel // 2))
    layers: Layers = [convolution(rng, (shape[0], filters), kernel, stride, padding)]
    size = [(length + 2 * padding - kernel) // stride + 1 for length in shape[1:]]
    layers += [{"type": "square"}] if draw(st.booleans()) else []
    if draw(st.booleans()) and min(size) >= 2:
        layers.append({"type": "avg_pool2d", "kernel": 2})
        size = [length // 2 for length in size]
    layers.append({"type": "flatten"})
    values = filters * size[0] * size[1]
    for width in draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)):
        weight = rng.normal(size=(width, values)) / math.sqrt(values)
        layers.append({"type": "linear", "weight": weight, "bias": rng.normal(size=width) / 4})
        layers += [{"type": "square"}] if draw(st.booleans()) and len(layers) < 6 else []
        values = width
    return layers, shape, seed


def images_for(shape: tuple[int, ...], seed: int, count: int = 8) -> Array:
    return np.random.default_rng(seed + 1).uniform(-1, 1, (count, *shape))
